//! `print-config`: the settings and the configuration that would be in force, and where each value comes from. Neither
//! holds a secret: those are files that the configuration only names.

use std::net::SocketAddr;
use std::path::PathBuf;

use modelgate_api::v1alpha1::{DEFAULT_HTTP_PORT, DEFAULT_METRICS_PORT};
use serde::Serialize;

use super::{Given, misuse};
use crate::args::{Args, Settings, Source};
use crate::config;
use crate::environment::Origin;
use crate::legacy::{self, Parts};
use crate::telemetry::sink::Destination;

/// Arguments of `print-config`: those of serving, whose effect it shows.
#[derive(Debug, clap::Args)]
pub struct PrintConfig {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serve: Args,
}

#[derive(Serialize)]
struct Printed<'a> {
    settings: Vec<Setting>,
    configuration: Option<&'a modelgate_api::contract::GatewayConfig>,
    warnings: &'a [String],
    problems: &'a [String],
}

/// One value and its origin.
#[derive(Debug, Serialize)]
struct Setting {
    name: &'static str,
    value: String,
    origin: String,
}

impl PrintConfig {
    /// 0 when the gateway would start, 2 otherwise; what is known is printed in both cases.
    pub(super) fn run(self, given: &Given) -> u8 {
        let environment = &given.environment;
        let settings = match self.serve.into_settings(&|name| environment.get(name)) {
            Ok(mut settings) => {
                settings.warnings.extend(legacy::unknown(environment.names()));
                settings
            }
            Err(faults) => return misuse(&faults),
        };
        let (config, problems) = match config::load(&settings) {
            Ok(loaded) => (Some(loaded.config), Vec::new()),
            Err(problems) => (None, problems),
        };
        let ports = config.as_ref().map(|config| (config.http_port, config.metrics_port));
        let printed = Printed {
            settings: listed(&settings, given, ports),
            configuration: config.as_ref(),
            warnings: &settings.warnings,
            problems: &problems,
        };
        let text = if self.json { serde_json::to_string_pretty(&printed).ok() } else { text(&printed) };
        println!("{}", text.unwrap_or_default().trim_end());
        if problems.is_empty() { 0 } else { misuse(&problems) }
    }
}

fn text(printed: &Printed<'_>) -> Option<String> {
    let width = |of: fn(&Setting) -> usize| printed.settings.iter().map(of).max().unwrap_or_default();
    let (names, values) = (width(|setting| setting.name.len()), width(|setting| setting.value.len()));
    let mut text = String::from("# Settings: value, then where it comes from\n");
    for Setting { name, value, origin } in &printed.settings {
        text += &format!("{name:names$}  {value:values$}  {origin}\n");
    }
    for warning in printed.warnings {
        text += &format!("# warning: {warning}\n");
    }
    if let Some(config) = printed.configuration {
        text += "\n# Configuration in the form that the gateway loads\n";
        text += &config.to_yaml().ok()?;
    }
    Some(text)
}

/// Makes rows of values and their origins.
struct Rows<'a> {
    given: &'a Given,
    rows: Vec<Setting>,
}

impl Rows<'_> {
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over what they made for this row")]
    fn add(&mut self, name: &'static str, value: impl ToString, origin: impl ToString) {
        self.rows.push(Setting { name, value: value.to_string(), origin: origin.to_string() });
    }

    /// A value of a flag or its variable.
    fn flag(&mut self, flag: &'static str, value: impl ToString) {
        self.or(flag, value, &[]);
    }

    /// A value of a flag or its variable, else of the first of the names of 2023.
    fn or(&mut self, flag: &'static str, value: impl ToString, names: &[&str]) {
        let origin = match self.given.origin(flag) {
            Origin::Default => self.first(names).unwrap_or(Origin::Default),
            origin => origin,
        };
        self.add(flag.trim_start_matches('-'), value, origin);
    }

    fn first(&self, names: &[&str]) -> Option<Origin> {
        names.iter().find_map(|name| self.given.environment.origin(name))
    }

    /// An address that may be put together from a host and a port.
    fn address(
        &mut self,
        flag: &'static str,
        value: SocketAddr,
        parts: Parts,
        names: [&[&str]; 2],
        field: &'static str,
    ) {
        let origin = match self.given.origin(flag) {
            Origin::Default => {
                let [hosts, ports] = names;
                let both = [parts.0.and_then(|_| self.first(hosts)), parts.1.and_then(|_| self.first(ports))];
                let both: Vec<String> = both.into_iter().flatten().map(|origin| origin.to_string()).collect();
                if both.is_empty() { Origin::Configuration(field).to_string() } else { both.join(", ") }
            }
            origin => origin.to_string(),
        };
        self.add(flag.trim_start_matches('-'), value, origin);
    }
}

fn listed(settings: &Settings, given: &Given, ports: Option<(u16, u16)>) -> Vec<Setting> {
    let mut rows = Rows { given, rows: Vec::new() };
    let (http, metrics) = ports.unwrap_or((DEFAULT_HTTP_PORT, DEFAULT_METRICS_PORT));
    match &settings.source {
        Source::Path(path) => rows.flag("--config", path.display()),
        Source::Legacy(_) => {
            rows.or("--config", "made from the environment", &["USE_FAKE_MODELS", "PALM_TEXT_PROJECT"]);
        }
    }
    let (address, names) = (settings.http_address(http), [&legacy::HTTP_HOST[..], &legacy::HTTP_PORT[..]]);
    rows.address("--listen", address, settings.listen_parts, names, "listeners.http.port");
    let (address, names) =
        (settings.metrics_address(metrics), [&legacy::METRICS_HOST[..], &legacy::METRICS_PORT[..]]);
    rows.address("--metrics-listen", address, settings.metrics_parts, names, "listeners.metrics.port");
    rows.flag("--control-listen", settings.control_listen);
    rows.flag("--debug-listen", settings.debug_listen);
    rows.flag("--debug-profile", settings.debug_profile);
    rows.flag("--secrets", settings.secrets.display());
    rows.flag("--models", path(settings.models.as_ref()));
    rows.flag("--engine-bin", path(settings.engine_bin.as_ref()));
    if matches!(settings.source, Source::Legacy(_)) {
        for (field, name, value) in legacy::configured(&|name| given.environment.get(name)) {
            rows.add(field, value, given.environment.origin(name).unwrap_or(Origin::Default));
        }
    }
    for (name, url) in &settings.endpoints {
        rows.flag("--endpoint", format!("{name}={}", without_password(url)));
    }
    for (name, file) in &settings.model {
        rows.flag("--model", format!("{name}={}", file.display()));
    }
    telemetry(settings, &mut rows);
    rows.or("--docs-url", page(settings.docs.docs.as_deref()), &["FASTAPI_DOCS_URL"]);
    rows.or("--redoc-url", page(settings.docs.redoc.as_deref()), &["FASTAPI_REDOC_URL"]);
    rows.or("--openapi-url", page(settings.docs.openapi.as_deref()), &["FASTAPI_OPENAPI_URL"]);
    rows.flag("--drain-grace", format!("{:?}", settings.drain_grace));
    rows.flag("--drain-timeout", format!("{:?}", settings.drain_timeout));
    rows.rows
}

fn telemetry(settings: &Settings, rows: &mut Rows<'_>) {
    rows.or("--log-format", format!("{:?}", settings.log_format).to_lowercase(), &["LOG_FORMAT_JSON"]);
    rows.or("--log-level", &settings.log_level, &["LOG_LEVEL"]);
    rows.or("--log-file", path(settings.log_file.as_ref()), &["LOG_TO_FILE"]);
    match settings.log_content {
        true => rows.or("--log-content", "steps", &["LOG_CONTENT", "LOG_TO_FILE"]),
        false => rows.or("--log-content", "none", &["LOG_CONTENT"]),
    }
    rows.flag("--usage-log", usage_log(settings));
    let traces =
        settings.otlp.as_ref().and_then(|otlp| otlp.traces.as_deref()).map_or("-".into(), without_password);
    let names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    let origin = rows.first(&names).unwrap_or(Origin::Default);
    rows.add("otlp-traces", traces, origin);
}

fn path(path: Option<&PathBuf>) -> String {
    path.map_or_else(|| "-".into(), |path| path.display().to_string())
}

fn page(path: Option<&str>) -> &str {
    path.unwrap_or("None")
}

/// An address without the user and password that it may hold.
fn without_password(address: &str) -> String {
    let Ok(mut url) = url::Url::parse(address) else { return address.to_owned() };
    if url.username().is_empty() && url.password().is_none() {
        return address.to_owned();
    }
    // An address that can have no user has none.
    let _cannot = (url.set_username("***"), url.set_password(None));
    url.to_string()
}

fn usage_log(settings: &Settings) -> String {
    match &settings.usage_log {
        None => "-".into(),
        Some(Destination::File(path)) => path.display().to_string(),
        Some(_) => "standard output".into(),
    }
}
