//! Flags and environment → [`Settings`]. Flags win over `MODELGATE_*`, those over the names of GitLab's gateway of 2023.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use modelgate_api::v1alpha1::GoDuration;

use crate::legacy::{self, Legacy};
use crate::outbound::proxy::Proxies;
use crate::server::docs::Paths;
use crate::telemetry::sink::Destination;
use crate::trace::settings::OtlpSettings;

/// Serves code completions from the backends that a configuration names. Runs with or without Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "modelgate-gateway", version, disable_help_subcommand = true)]
pub struct Args {
    /// Configuration: a file that the operator rendered, or a file or folder with ModelGateway and ModelBackend manifests. Watched for changes
    #[arg(long, env = "MODELGATE_CONFIG", value_name = "FILE|DIR")]
    pub config: Option<PathBuf>,
    /// Address for clients [default: 127.0.0.1 and the port of the configuration, 5000]
    #[arg(long, env = "MODELGATE_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address for Prometheus, path /metrics [default: 127.0.0.1 and the port of the configuration, 8082]
    #[arg(long, env = "MODELGATE_METRICS_LISTEN", value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Address for /livez, /readyz and /v1/state
    #[arg(
        long,
        env = "MODELGATE_CONTROL_LISTEN",
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8083"
    )]
    pub control_listen: SocketAddr,
    /// Loopback address for /debug/requests, /debug/config and, if asked for, /debug/pprof/profile
    #[arg(long, env = "MODELGATE_DEBUG_LISTEN", value_name = "ADDR:PORT", default_value = "127.0.0.1:8084")]
    pub debug_listen: SocketAddr,
    /// Serve /debug/pprof/profile there
    #[arg(long, env = "MODELGATE_DEBUG_PROFILE")]
    pub debug_profile: bool,
    /// Folder with one folder for each Secret and one file for each of its keys
    #[arg(long, env = "MODELGATE_SECRETS", value_name = "DIR", default_value = modelgate_api::names::SECRETS_DIR)]
    pub secrets: PathBuf,
    /// Folder with one folder for each ConfigMap that a route names and one file for each of its keys
    #[arg(long, env = "MODELGATE_CONFIG_MAPS", value_name = "DIR", default_value = modelgate_api::names::CONFIG_MAPS_DIR)]
    pub config_maps: PathBuf,
    /// Folder with one folder for each claim that a model's source names; fetched models are kept there too
    #[arg(long, env = "MODELGATE_MODELS", value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Model file of an Embedded backend, instead of the source in its manifest; may be repeated
    #[arg(long, env = "MODELGATE_MODEL", value_name = "NAME=FILE", value_delimiter = ',')]
    pub model: Vec<String>,
    /// Address of a server backend that something else runs; may be repeated
    #[arg(long, env = "MODELGATE_ENDPOINT", value_name = "NAME=URL", value_delimiter = ',')]
    pub endpoint: Vec<String>,
    /// The modelgate-engine program [default: beside this program, else found by PATH]
    #[arg(long, env = "MODELGATE_ENGINE_BIN", value_name = "PATH")]
    pub engine_bin: Option<PathBuf>,
    /// Form of the log on standard error [default: text]
    #[arg(long, env = "MODELGATE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or filters such as info,modelgate_gateway=debug [default: info]
    #[arg(long, env = "MODELGATE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// File that the log is written to instead of standard error; opened anew after a rotation or SIGHUP
    #[arg(long, env = "MODELGATE_LOG_FILE", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Whether texts of prompts and answers are logged: `steps` logs them before and after each step. They are users' source code [default: none]
    #[arg(long, env = "MODELGATE_LOG_CONTENT", value_name = "WHAT")]
    pub log_content: Option<LogContent>,
    /// Where one JSON line for each request for a model goes, with ids and counts and no text: a file, or - for standard output
    #[arg(long, env = "MODELGATE_USAGE_LOG", value_name = "FILE|-")]
    pub usage_log: Option<PathBuf>,
    /// Path of the page that documents the API, with a form to try it; None switches it off [default: /docs]
    #[arg(long, env = "MODELGATE_DOCS_URL", value_name = "PATH|None")]
    pub docs_url: Option<String>,
    /// Path of the page that documents the API to be read; None switches it off [default: /redoc]
    #[arg(long, env = "MODELGATE_REDOC_URL", value_name = "PATH|None")]
    pub redoc_url: Option<String>,
    /// Path of the OpenAPI document; None switches it off, and both pages with it [default: /openapi.json]
    #[arg(long, env = "MODELGATE_OPENAPI_URL", value_name = "PATH|None")]
    pub openapi_url: Option<String>,
    /// On SIGTERM: how long to go on accepting while unready, so that load balancers notice
    #[arg(long, env = "MODELGATE_DRAIN_GRACE", value_name = "DURATION", default_value = "5s")]
    pub drain_grace: String,
    /// After that: how long requests under way may take to finish
    #[arg(long, env = "MODELGATE_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub drain_timeout: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which texts are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogContent {
    /// None.
    None,
    /// Those of prompts and answers, before and after each step.
    Steps,
}

/// Flags and environment, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the configuration comes from.
    pub source: Source,
    /// Address for clients, where given.
    pub listen: Option<SocketAddr>,
    /// Host and port for clients where only parts are given.
    pub listen_parts: (Option<IpAddr>, Option<u16>),
    /// Address for Prometheus, where given.
    pub metrics_listen: Option<SocketAddr>,
    /// Host and port for Prometheus where only parts are given.
    pub metrics_parts: (Option<IpAddr>, Option<u16>),
    /// Address for the kubelet and the operator.
    pub control_listen: SocketAddr,
    /// Loopback address for debugging.
    pub debug_listen: SocketAddr,
    /// Whether profiles can be taken there.
    pub debug_profile: bool,
    /// Folder with Secrets.
    pub secrets: PathBuf,
    /// Folder with ConfigMaps.
    pub config_maps: PathBuf,
    /// Folder with models.
    pub models: Option<PathBuf>,
    /// Model files by backend.
    pub model: BTreeMap<String, PathBuf>,
    /// Addresses of server backends by name.
    pub endpoints: BTreeMap<String, String>,
    /// The engine program.
    pub engine_bin: Option<PathBuf>,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Filter of the log.
    pub log_level: String,
    /// File that the log is written to instead of standard error.
    pub log_file: Option<PathBuf>,
    /// Whether texts of prompts and answers are logged.
    pub log_content: bool,
    /// Where usage records go.
    pub usage_log: Option<Destination>,
    /// What is exported by OpenTelemetry's protocol.
    pub otlp: Option<OtlpSettings>,
    /// Where the API's documentation is.
    pub docs: Paths,
    /// Accepting while unready.
    pub drain_grace: Duration,
    /// Finishing.
    pub drain_timeout: Duration,
    /// Proxies of the environment.
    pub proxies: Arc<Proxies>,
    /// Where Google's credentials are looked for.
    pub google: crate::google::Environment,
    /// Things the user should know, logged once logging stands.
    pub warnings: Vec<String>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file or folder, watched.
    Path(PathBuf),
    /// The environment names of GitLab's gateway of 2023.
    Legacy(Box<Legacy>),
}

impl Args {
    /// Checks flags and environment together.
    ///
    /// # Errors
    /// Every mistake, each naming its flag or variable.
    pub fn into_settings(self, env: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Vec<String>> {
        let mut faults = Vec::new();
        let mut warnings = Vec::new();
        let addresses = legacy::addresses(env, &mut faults, &mut warnings);
        legacy::not_applicable(env, &mut warnings);
        let source = source(self.config, env, &mut faults, &mut warnings);
        if !self.debug_listen.ip().is_loopback() {
            faults.push(format!(
                "--debug-listen {}: must be a loopback address; reach it by port-forward",
                self.debug_listen
            ));
        }
        let endpoints = pairs("--endpoint", "URL", &self.endpoint, &mut faults);
        let model = pairs("--model", "FILE", &self.model, &mut faults);
        let drain_grace = duration("--drain-grace", self.drain_grace, &mut faults);
        let drain_timeout = duration("--drain-timeout", self.drain_timeout, &mut faults);
        let pages = [self.docs_url, self.redoc_url, self.openapi_url];
        let docs = docs(pages, env, matches!(source, Source::Path(_)), &mut faults);
        let otlp = OtlpSettings::from_env(env, &mut faults, &mut warnings);
        let proxies = Proxies::from_env(env).unwrap_or_else(|wrong| {
            faults.extend(wrong);
            Proxies::default()
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let log = legacy::Logging::from_env(env);
        Ok(Settings {
            source,
            listen: self.listen,
            listen_parts: addresses.http,
            metrics_listen: self.metrics_listen,
            metrics_parts: addresses.metrics,
            control_listen: self.control_listen,
            debug_listen: self.debug_listen,
            debug_profile: self.debug_profile,
            secrets: self.secrets,
            config_maps: self.config_maps,
            models: self.models,
            model: model.into_iter().map(|(name, file)| (name, PathBuf::from(file))).collect(),
            endpoints,
            engine_bin: self.engine_bin,
            log_format: self.log_format.unwrap_or(if log.json { LogFormat::Json } else { LogFormat::Text }),
            log_level: self.log_level.or(log.level).unwrap_or_else(|| "info".into()),
            log_content: self.log_content.map_or(log.content, |content| content == LogContent::Steps),
            log_file: self.log_file.or(log.file),
            usage_log: self.usage_log.map(|path| match path.as_os_str() == "-" {
                true => Destination::Stdout,
                false => Destination::File(path),
            }),
            otlp,
            docs,
            drain_grace,
            drain_timeout,
            proxies: Arc::new(proxies),
            google: crate::google::Environment::read(env),
            warnings,
        })
    }
}

impl Settings {
    /// Address for clients, with the configuration's port where neither flag nor environment gives one.
    #[must_use]
    pub fn http_address(&self, configured: u16) -> SocketAddr {
        address(self.listen, self.listen_parts, configured)
    }

    /// Address for Prometheus.
    #[must_use]
    pub fn metrics_address(&self, configured: u16) -> SocketAddr {
        address(self.metrics_listen, self.metrics_parts, configured)
    }

    /// Whether others than this machine can reach the client listener.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        !self.http_address(0).ip().is_loopback()
    }
}

fn address(whole: Option<SocketAddr>, parts: (Option<IpAddr>, Option<u16>), configured: u16) -> SocketAddr {
    whole.unwrap_or_else(|| {
        SocketAddr::new(parts.0.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), parts.1.unwrap_or(configured))
    })
}

fn source(
    config: Option<PathBuf>,
    env: &dyn Fn(&str) -> Option<String>,
    faults: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Source {
    if let Some(path) = config {
        legacy::warn_ignored(env, warnings);
        return Source::Path(path);
    }
    if let Some(legacy) = Legacy::from_env(env, faults) {
        return Source::Legacy(Box::new(legacy));
    }
    faults.push("--config is missing: give a configuration file or a folder with manifests (see examples/), or USE_FAKE_MODELS=true with AUTH_BYPASS_EXTERNAL=true to try it, or PALM_TEXT_PROJECT for models of Vertex AI".into());
    Source::Path(PathBuf::new())
}

/// Paths of the documentation. Started by the names of 2023 alone, pages are there only when asked for, as they were then.
fn docs(
    given: [Option<String>; 3],
    env: &dyn Fn(&str) -> Option<String>,
    wanted: bool,
    faults: &mut Vec<String>,
) -> Paths {
    let [docs, redoc, openapi] = given;
    let page = |flag: &'static str, given: Option<String>, name: &'static str, default: &str| {
        let default = if wanted { default } else { "None" };
        match (given, env(name)) {
            (Some(path), _) => (flag, path),
            (None, Some(path)) => (name, path),
            (None, None) => (flag, default.to_owned()),
        }
    };
    let pages = [
        page("--docs-url", docs, "FASTAPI_DOCS_URL", "/docs"),
        page("--redoc-url", redoc, "FASTAPI_REDOC_URL", "/redoc"),
        page("--openapi-url", openapi, "FASTAPI_OPENAPI_URL", "/openapi.json"),
    ];
    Paths::new(pages, faults)
}

fn pairs(flag: &str, what: &str, given: &[String], faults: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for text in given {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                found.insert(name.to_owned(), value.to_owned());
            }
            _ => faults.push(format!("{flag} {text}: write {flag} NAME={what}")),
        }
    }
    found
}

fn duration(flag: &str, text: String, faults: &mut Vec<String>) -> Duration {
    GoDuration(text).parse().unwrap_or_else(|why| {
        faults.push(format!("{flag}: {why}"));
        Duration::ZERO
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let args = Args::try_parse_from(std::iter::once("modelgate-gateway").chain(args.iter().copied()))
            .map_err(|error| vec![error.to_string()])?;
        let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        args.into_settings(&|name| env.get(name).cloned())
    }

    #[test]
    fn the_names_of_the_seed_set_the_addresses() {
        let env = [("FASTAPI_API_HOST", "0.0.0.0"), ("FASTAPI_API_PORT", "5052"), ("METRICS_PORT", "9")];
        let settings = settings(&["--config", "x"], &env).unwrap();
        assert_eq!(settings.http_address(5000).to_string(), "0.0.0.0:5052");
        assert_eq!(settings.metrics_address(8082).to_string(), "127.0.0.1:9");
        assert!(settings.is_reachable());
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_the_configuration_over_the_default() {
        let env = [("FASTAPI_API_PORT", "5052")];
        let settings = settings(&["--config", "x", "--listen", "127.0.0.1:1"], &env).unwrap();
        assert_eq!(settings.http_address(7000).port(), 1);
        assert_eq!(settings.metrics_address(7001).port(), 7001);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let faults = settings(
            &["--endpoint", "x", "--model", "=f", "--drain-grace", "5", "--debug-listen", "0.0.0.0:1"],
            &[("FASTAPI_API_PORT", "many")],
        )
        .unwrap_err();
        for needle in
            ["--config", "--endpoint x", "--model =f", "--drain-grace", "--debug-listen", "FASTAPI_API_PORT"]
        {
            assert!(faults.iter().any(|fault| fault.contains(needle)), "{needle}: {faults:?}");
        }
    }
}
