//! The environment names of GitLab's gateway of 2023, so that its deployments start with this one unchanged.

mod configuration;
mod variables;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

pub use variables::{configured, not_applicable, unknown};

pub(crate) const HTTP_PORT: [&str; 2] = ["MODELGATE_PORT", "FASTAPI_API_PORT"];
pub(crate) const METRICS_PORT: [&str; 4] =
    ["MODELGATE_METRICS_PORT", "METRICS_PORT", "FASTAPI_METRICS_PORT", "FASTAPI_API_METRICS_PORT"];
pub(crate) const HTTP_HOST: [&str; 1] = ["FASTAPI_API_HOST"];
pub(crate) const METRICS_HOST: [&str; 2] = ["FASTAPI_METRICS_HOST", "FASTAPI_API_METRICS_HOST"];
/// Host and port, where given.
pub type Parts = (Option<IpAddr>, Option<u16>);

/// Addresses that the environment gives.
pub struct Addresses {
    /// For clients.
    pub http: Parts,
    /// For Prometheus.
    pub metrics: Parts,
}

/// Reads hosts and ports.
pub fn addresses(
    env: &dyn Fn(&str) -> Option<String>,
    faults: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Addresses {
    let mut first = |names: &[&str]| -> Option<(String, String)> {
        names.iter().find_map(|name| {
            let value = env(name).filter(|value| !value.is_empty())?;
            if value.starts_with("tcp://") {
                warnings.push(format!(
                    "{name}={value} is ignored: it is the address of a Kubernetes Service, set by the kubelet"
                ));
                return None;
            }
            Some(((*name).to_owned(), value))
        })
    };
    let (http_host, http_port) = (first(&HTTP_HOST), first(&HTTP_PORT));
    let (metrics_host, metrics_port) = (first(&METRICS_HOST), first(&METRICS_PORT));
    let mut host = |given: Option<(String, String)>| {
        let (name, value) = given?;
        let value = if value == "localhost" { "127.0.0.1".into() } else { value };
        value.parse().map_err(|_| faults.push(format!("{name}={value}: not an IP address"))).ok()
    };
    let (http_host, metrics_host) = (host(http_host), host(metrics_host));
    let mut port = |given: Option<(String, String)>| {
        let (name, value) = given?;
        value.parse().map_err(|_| faults.push(format!("{name}={value}: not a port (0 to 65535)"))).ok()
    };
    Addresses { http: (http_host, port(http_port)), metrics: (metrics_host, port(metrics_port)) }
}

/// Tells which names do nothing because `--config` is given.
pub fn warn_ignored(env: &dyn Fn(&str) -> Option<String>, warnings: &mut Vec<String>) {
    for (_, name, _) in configured(env) {
        warnings.push(format!(
            "{name} is ignored: --config decides who may use the gateway and which models answer"
        ));
    }
}

/// How the seed's names ask for logs.
pub struct Logging {
    /// `LOG_FORMAT_JSON`.
    pub json: bool,
    /// `LOG_LEVEL`, in our spelling.
    pub level: Option<String>,
    /// `LOG_TO_FILE`.
    pub file: Option<PathBuf>,
    /// `LOG_LEVEL=debug` together with `LOG_TO_FILE`, which the seed documents for texts between its steps, or
    /// `LOG_CONTENT=steps`.
    pub content: bool,
}

impl Logging {
    /// Reads the three names.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let level = env("LOG_LEVEL").map(|level| match level.to_ascii_lowercase().as_str() {
            "warning" => "warn".into(),
            "critical" | "fatal" => "error".into(),
            other => other.to_owned(),
        });
        let file = env("LOG_TO_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let steps = env("LOG_CONTENT").is_some_and(|content| content.eq_ignore_ascii_case("steps"));
        Self {
            content: steps || (file.is_some() && level.as_deref() == Some("debug")),
            json: env("LOG_FORMAT_JSON").and_then(|value| truth(&value)).unwrap_or_default(),
            level,
            file,
        }
    }
}

/// A configuration made of the names of 2023 alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    /// `AUTH_BYPASS_EXTERNAL`: everybody is let in.
    pub anonymous: bool,
    /// `GITLAB_URL`: issuer of tokens.
    pub gitlab_url: Option<String>,
    /// `CUSTOMER_PORTAL_BASE_URL`: another issuer.
    pub portal: Option<String>,
    /// Whose tokens count: instances, namespaces, subjects.
    pub bound: [Vec<String>; 3],
    /// `USE_FAKE_MODELS`, or `PALM_TEXT_PROJECT` and what goes with it.
    pub models: Models,
    /// `F_…`: which projects the models of Vertex AI answer.
    pub rollout: Rollout,
    /// `MODEL_ENGINE_CONCURRENCY_LIMITS`, by model.
    pub limits: BTreeMap<String, u32>,
}

/// Which models answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Models {
    /// Canned answers.
    #[default]
    Fake,
    /// Models of Vertex AI.
    Vertex {
        /// `PALM_TEXT_MODEL_NAME`, the first of which is the default.
        names: Vec<String>,
        /// `PALM_TEXT_PROJECT`.
        project: String,
        /// `PALM_TEXT_LOCATION`.
        location: String,
        /// `VERTEX_API_ENDPOINT`.
        endpoint: Option<String>,
    },
}

/// Which projects the models answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// `F_IS_THIRD_PARTY_AI_DEFAULT`, where given.
    pub default: Option<bool>,
    /// `F_THIRD_PARTY_ROLLOUT_PERCENTAGE`, where given.
    pub percentage: Option<u8>,
    /// Lines of the file that `F_THIRD_PARTY_AI_LIMITED_ACCESS` names: `<id>,<full path>`.
    pub projects: Vec<String>,
}

/// The spelling of truth values that the gateway of 2023 read; `None` for any other word, at which it did not start.
#[must_use]
pub fn truth(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Reads values, and notes what is wrong with them.
struct Reader<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    faults: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.text(name)?;
        let read = truth(&value);
        if read.is_none() {
            self.faults.push(format!("{name}={value}: write true or false"));
        }
        read
    }

    fn projects(&mut self, name: &str) -> Vec<String> {
        let Some(path) = self.text(name) else { return Vec::new() };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
            }
            Err(error) => {
                self.faults.push(format!("{name}={path}: the list of projects cannot be read: {error}"));
                Vec::new()
            }
        }
    }

    fn limits(&mut self, name: &str) -> BTreeMap<String, u32> {
        let Some(text) = self.text(name) else { return BTreeMap::new() };
        match serde_json::from_str::<BTreeMap<String, BTreeMap<String, u32>>>(&text) {
            Ok(engines) => engines.into_values().flatten().collect(),
            Err(error) => {
                self.faults
                    .push(format!("{name}: write {{\"<engine>\":{{\"<model>\":<number>}}}} ({error})"));
                BTreeMap::new()
            }
        }
    }

    fn percentage(&mut self, name: &str) -> Option<u8> {
        let value = self.text(name)?;
        let read = value.parse().ok().filter(|percent| *percent <= 100);
        if read.is_none() {
            self.faults.push(format!("{name}={value}: write a whole number from 0 to 100"));
        }
        read
    }
}

impl Legacy {
    /// The configuration, when the environment asks for one: by canned models, or by a project of Vertex AI.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>, faults: &mut Vec<String>) -> Option<Self> {
        let mut reader = Reader { env, faults };
        let fake = reader.boolean("USE_FAKE_MODELS").unwrap_or_default();
        let models = match (fake, reader.text("PALM_TEXT_PROJECT")) {
            (true, _) => Models::Fake,
            (false, Some(project)) => Models::Vertex {
                names: Some(reader.list("PALM_TEXT_MODEL_NAME"))
                    .filter(|names| !names.is_empty())
                    .unwrap_or_else(|| vec!["text-bison".into(), "code-gecko".into()]),
                project,
                location: reader.text("PALM_TEXT_LOCATION").unwrap_or_else(|| "us-central1".into()),
                endpoint: reader.text("VERTEX_API_ENDPOINT"),
            },
            (false, None) => return None,
        };
        Some(Self {
            anonymous: reader.boolean("AUTH_BYPASS_EXTERNAL").unwrap_or_default(),
            gitlab_url: reader.text("GITLAB_URL"),
            portal: reader.text("CUSTOMER_PORTAL_BASE_URL"),
            bound: [
                "MODELGATE_GITLAB_INSTANCE_IDS",
                "MODELGATE_GITLAB_NAMESPACE_IDS",
                "MODELGATE_GITLAB_SUBJECTS",
            ]
            .map(|name| reader.list(name)),
            models,
            rollout: Rollout {
                default: reader.boolean("F_IS_THIRD_PARTY_AI_DEFAULT"),
                percentage: reader.percentage("F_THIRD_PARTY_ROLLOUT_PERCENTAGE"),
                projects: reader.projects("F_THIRD_PARTY_AI_LIMITED_ACCESS"),
            },
            limits: reader.limits("MODEL_ENGINE_CONCURRENCY_LIMITS"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_of_kubernetes_are_not_taken_for_ports() {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let env = |name: &str| match name {
            "MODELGATE_METRICS_PORT" => Some("tcp://10.0.0.1:8082".to_owned()),
            "FASTAPI_METRICS_PORT" => Some("9100".to_owned()),
            _ => None,
        };
        let addresses = addresses(&env, &mut faults, &mut warnings);
        assert_eq!(addresses.metrics.1, Some(9100));
        assert_eq!(faults, Vec::<String>::new());
        assert!(warnings[0].contains("MODELGATE_METRICS_PORT"), "{warnings:?}");
    }

    fn read(pairs: &[(&str, &str)]) -> (Option<Legacy>, Vec<String>) {
        let mut faults = Vec::new();
        let env =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        (Legacy::from_env(&env, &mut faults), faults)
    }

    #[test]
    fn what_is_no_truth_value_number_or_file_is_named() {
        let (_, faults) = read(&[
            ("USE_FAKE_MODELS", "on"),
            ("AUTH_BYPASS_EXTERNAL", "perhaps"),
            ("F_THIRD_PARTY_ROLLOUT_PERCENTAGE", "150"),
            ("F_THIRD_PARTY_AI_LIMITED_ACCESS", "/nonexistent/list.txt"),
            ("MODEL_ENGINE_CONCURRENCY_LIMITS", "7"),
        ]);
        for name in ["AUTH_BYPASS", "PERCENTAGE", "LIMITED_ACCESS", "CONCURRENCY"] {
            assert!(faults.iter().any(|fault| fault.contains(name)), "{name}: {faults:?}");
        }
        assert_eq!(read(&[("GITLAB_URL", "https://gitlab.example.com")]).0, None, "no model is named");
    }

    #[test]
    fn names_of_vertex_are_a_list_with_defaults_of_2023() {
        let (legacy, faults) = read(&[("PALM_TEXT_PROJECT", "p"), ("USE_FAKE_MODELS", "False")]);
        assert!(faults.is_empty());
        let Models::Vertex { names, location, .. } = legacy.unwrap().models else { panic!("Vertex") };
        assert_eq!((names.join(","), location.as_str()), ("text-bison,code-gecko".into(), "us-central1"));
    }
}
