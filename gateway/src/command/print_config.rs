//! `print-config`: the settings and the configuration that would be in force, and where each value comes from. Neither
//! holds a secret: those are files that the configuration only names.

use serde::Serialize;

use super::{Given, misuse};
use crate::args::{Args, Settings, Source};
use crate::config;
use crate::environment::Origin;
use crate::legacy;
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

fn listed(settings: &Settings, given: &Given, ports: Option<(u16, u16)>) -> Vec<Setting> {
    let environment = &given.environment;
    let first = |names: &[&str]| names.iter().find_map(|name| environment.origin(name));
    let row = |name: &'static str, value: String, origin: Origin| Setting {
        name,
        value,
        origin: origin.to_string(),
    };
    // A flag or its variable, then the names of 2023.
    let or = |flag: &'static str, names: &[&str], otherwise: Origin| match given.origin(flag) {
        Origin::Default => first(names).unwrap_or(otherwise),
        origin => origin,
    };
    let (http, metrics) = ports.unwrap_or((
        modelgate_api::v1alpha1::DEFAULT_HTTP_PORT,
        modelgate_api::v1alpha1::DEFAULT_METRICS_PORT,
    ));
    let source = match &settings.source {
        Source::Path(path) => row("config", path.display().to_string(), given.origin("--config")),
        Source::Legacy(_) => row(
            "config",
            "made from the environment".into(),
            first(&["USE_FAKE_MODELS", "PALM_TEXT_PROJECT"]).unwrap_or(Origin::Default),
        ),
    };
    let address =
        |parts: (Option<std::net::IpAddr>, Option<u16>), hosts: &[&str], numbers: &[&str], field| {
            let both: Vec<String> =
                [parts.0.and_then(|_| first(hosts)), parts.1.and_then(|_| first(numbers))]
                    .into_iter()
                    .flatten()
                    .map(|origin| origin.to_string())
                    .collect();
            if both.is_empty() { Origin::Configuration(field).to_string() } else { both.join(", ") }
        };
    let listen = match given.origin("--listen") {
        Origin::Default => {
            address(settings.listen_parts, &legacy::HTTP_HOST, &legacy::HTTP_PORT, "listeners.http.port")
        }
        origin => origin.to_string(),
    };
    let metrics_listen = match given.origin("--metrics-listen") {
        Origin::Default => address(
            settings.metrics_parts,
            &legacy::METRICS_HOST,
            &legacy::METRICS_PORT,
            "listeners.metrics.port",
        ),
        origin => origin.to_string(),
    };
    let optional = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(|| "-".into(), |path| path.display().to_string())
    };
    let mut rows = vec![
        source,
        Setting { name: "listen", value: settings.http_address(http).to_string(), origin: listen },
        Setting {
            name: "metrics-listen",
            value: settings.metrics_address(metrics).to_string(),
            origin: metrics_listen,
        },
        row("control-listen", settings.control_listen.to_string(), given.origin("--control-listen")),
        row("debug-listen", settings.debug_listen.to_string(), given.origin("--debug-listen")),
        row("secrets", settings.secrets.display().to_string(), given.origin("--secrets")),
        row("models", optional(&settings.models), given.origin("--models")),
        row("engine-bin", optional(&settings.engine_bin), given.origin("--engine-bin")),
        row(
            "log-format",
            format!("{:?}", settings.log_format).to_lowercase(),
            or("--log-format", &["LOG_FORMAT_JSON"], Origin::Default),
        ),
        row("log-level", settings.log_level.clone(), or("--log-level", &["LOG_LEVEL"], Origin::Default)),
        row("log-file", optional(&settings.log_file), or("--log-file", &["LOG_TO_FILE"], Origin::Default)),
        row(
            "log-content",
            if settings.log_content { "steps" } else { "none" }.into(),
            or(
                "--log-content",
                if settings.log_content { &["LOG_CONTENT", "LOG_TO_FILE"] } else { &["LOG_CONTENT"] },
                Origin::Default,
            ),
        ),
        row(
            "otlp-traces",
            settings.otlp.as_ref().and_then(|otlp| otlp.traces.clone()).unwrap_or_else(|| "-".into()),
            first(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
                .unwrap_or(Origin::Default),
        ),
        row("usage-log", usage_log(settings), given.origin("--usage-log")),
        row("drain-grace", format!("{:?}", settings.drain_grace), given.origin("--drain-grace")),
        row("drain-timeout", format!("{:?}", settings.drain_timeout), given.origin("--drain-timeout")),
    ];
    if matches!(settings.source, Source::Legacy(_)) {
        let given = legacy::configured(&|name| environment.get(name));
        rows.extend(given.into_iter().map(|(field, name, value)| {
            row(field, value, environment.origin(name).unwrap_or(Origin::Default))
        }));
    }
    rows.extend(
        settings
            .endpoints
            .iter()
            .map(|(name, url)| row("endpoint", format!("{name}={url}"), given.origin("--endpoint"))),
    );
    rows.extend(
        settings
            .model
            .iter()
            .map(|(name, file)| row("model", format!("{name}={}", file.display()), given.origin("--model"))),
    );
    rows
}

fn usage_log(settings: &Settings) -> String {
    match &settings.usage_log {
        None => "-".into(),
        Some(Destination::File(path)) => path.display().to_string(),
        Some(_) => "standard output".into(),
    }
}
