//! OpenTelemetry's environment names → what to export, where. Nothing is exported unless an endpoint is named.

use std::time::Duration;

/// What is sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Share of the traces that begin here.
    pub ratio: f64,
    /// Whether a caller's decision counts more.
    pub parent_based: bool,
}

/// What is exported and where.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpSettings {
    /// Where traces go.
    pub traces: Option<String>,
    /// Where usage records go as log records.
    pub logs: Option<String>,
    /// Headers of each export; may hold a credential, so never shown.
    pub headers: Vec<(String, String)>,
    /// For one export.
    pub timeout: Duration,
    /// Attributes of the resource, `service.name` first.
    pub resource: Vec<(String, String)>,
    /// Which requests are traced.
    pub sampler: Sampler,
}

impl OtlpSettings {
    /// Reads the names; `None` when nothing is to be exported.
    pub fn from_env(
        env: &dyn Fn(&str) -> Option<String>,
        faults: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let get =
            |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let base = get("OTEL_EXPORTER_OTLP_ENDPOINT");
        let under = |path: &str| base.as_ref().map(|base| format!("{}{path}", base.trim_end_matches('/')));
        let is = |name: &str, value: &str| get(name).is_some_and(|given| given.eq_ignore_ascii_case(value));
        let traces = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| under("/v1/traces"));
        let traces = traces.filter(|_| !is("OTEL_TRACES_EXPORTER", "none"));
        let logs = get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT").or_else(|| under("/v1/logs"));
        let logs = logs.filter(|_| is("OTEL_LOGS_EXPORTER", "otlp"));
        if traces.is_none() && logs.is_none() {
            return None;
        }
        for address in traces.iter().chain(&logs) {
            if !address.starts_with("http://") && !address.starts_with("https://") {
                faults
                    .push(format!("OTEL_EXPORTER_OTLP_ENDPOINT: {address}: begin with http:// or https://"));
            }
        }
        match get("OTEL_EXPORTER_OTLP_PROTOCOL").as_deref() {
            None | Some("http/json") => {}
            Some("http/protobuf") => warnings.push("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf: http/json is sent, which collectors take at the same address".into()),
            Some(other) => faults.push(format!("OTEL_EXPORTER_OTLP_PROTOCOL={other}: only http/json is spoken; collectors take it on port 4318")),
        }
        let timeout = match get("OTEL_EXPORTER_OTLP_TIMEOUT").map(|value| value.parse()) {
            None => 10_000,
            Some(Ok(milliseconds)) => milliseconds,
            Some(Err(_)) => {
                faults.push("OTEL_EXPORTER_OTLP_TIMEOUT: a number of milliseconds".into());
                0
            }
        };
        let name = get("OTEL_SERVICE_NAME").unwrap_or_else(|| "modelgate-gateway".into());
        let mut resource = vec![
            ("service.name".to_owned(), name),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ];
        resource.extend(
            pairs(get("OTEL_RESOURCE_ATTRIBUTES")).into_iter().filter(|(name, _)| name != "service.name"),
        );
        let sampler = sampler(get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"), faults);
        let headers = pairs(get("OTEL_EXPORTER_OTLP_HEADERS"));
        Some(Self { traces, logs, headers, timeout: Duration::from_millis(timeout), resource, sampler })
    }
}

fn sampler(name: Option<String>, argument: Option<String>, faults: &mut Vec<String>) -> Sampler {
    let name = name.unwrap_or_else(|| "parentbased_always_on".into());
    let (parent_based, rest) = match name.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, name.as_str()),
    };
    let ratio = match rest {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => match argument.map_or(Ok(1.0), |argument| argument.parse::<f64>()) {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                faults.push("OTEL_TRACES_SAMPLER_ARG: a share from 0 to 1".into());
                0.0
            }
        },
        _ => {
            faults.push(format!("OTEL_TRACES_SAMPLER={name}: one of always_on, always_off, traceidratio, each also with parentbased_ before it"));
            0.0
        }
    };
    Sampler { ratio, parent_based }
}

/// `name=value,name=value` with percent-encoded values.
fn pairs(text: Option<String>) -> Vec<(String, String)> {
    let text = text.unwrap_or_default();
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let decoded =
            url::form_urlencoded::parse(value.replace('+', "%2B").as_bytes()).next()?.0.into_owned();
        Some((name.trim().to_owned(), decoded.trim().to_owned()))
    };
    text.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> (Option<OtlpSettings>, Vec<String>) {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let env =
            |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        (OtlpSettings::from_env(&env, &mut faults, &mut warnings), faults)
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        assert_eq!(read(&[("OTEL_SERVICE_NAME", "x")]).0, None);
        assert_eq!(
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_SDK_DISABLED", "true")]).0,
            None
        );
        assert_eq!(
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_TRACES_EXPORTER", "none")]).0,
            None
        );
    }

    #[test]
    fn names_mean_what_opentelemetry_says() {
        let (settings, faults) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x+y, a=b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod,service.name=ignored"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        assert_eq!(faults, Vec::<String>::new());
        let settings = settings.unwrap();
        assert_eq!(settings.traces.as_deref(), Some("http://c:4318/v1/traces"));
        assert_eq!(settings.logs.as_deref(), Some("http://c:4318/v1/logs"));
        assert_eq!(settings.headers[0], ("authorization".into(), "Bearer x+y".into()));
        assert_eq!(settings.resource[0], ("service.name".into(), "modelgate-gateway".into()));
        assert_eq!(settings.resource[2], ("deployment.environment".into(), "prod".into()));
        assert_eq!(settings.sampler, Sampler { ratio: 0.25, parent_based: true });
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let faults = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
        ])
        .1;
        for needle in [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            "OTEL_TRACES_SAMPLER=sometimes",
        ] {
            assert!(faults.iter().any(|fault| fault.contains(needle)), "{needle}: {faults:?}");
        }
    }
}
