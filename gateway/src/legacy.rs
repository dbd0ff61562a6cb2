//! The environment names of GitLab's gateway of 2023, so that its deployments start with this one unchanged.

use std::net::IpAddr;
use std::path::PathBuf;

use modelgate_api::compile::{Place, Problem, compile};
use modelgate_api::contract::GatewayConfig;
use modelgate_api::manifest::{DEFAULT_NAMESPACE, Object};
use modelgate_api::v1alpha1::{
    Auth, Compat, Completion, FakeServer, ModelBackendSpec, ModelGatewaySpec, ModelSpec, Oidc, Protocol,
    Route, RouteBackend,
};

/// Audience of the tokens that GitLab signs for code suggestions.
const GITLAB_AUDIENCE: &str = "gitlab-code-suggestions";
pub(crate) const HTTP_PORT: [&str; 2] = ["MODELGATE_PORT", "FASTAPI_API_PORT"];
pub(crate) const METRICS_PORT: [&str; 4] =
    ["MODELGATE_METRICS_PORT", "METRICS_PORT", "FASTAPI_METRICS_PORT", "FASTAPI_API_METRICS_PORT"];
pub(crate) const HTTP_HOST: [&str; 1] = ["FASTAPI_API_HOST"];
pub(crate) const METRICS_HOST: [&str; 2] = ["FASTAPI_METRICS_HOST", "FASTAPI_API_METRICS_HOST"];
/// Names that make a configuration of their own and therefore do nothing beside `--config`.
const CONFIGURING: [&str; 3] = ["USE_FAKE_MODELS", "AUTH_BYPASS_EXTERNAL", "GITLAB_URL"];

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
    for name in CONFIGURING.iter().filter(|name| env(name).is_some()) {
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
            json: truthy(env("LOG_FORMAT_JSON")),
            level,
            file,
        }
    }
}

/// A configuration made of the seed's names alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// `AUTH_BYPASS_EXTERNAL`: everybody is let in.
    pub anonymous: bool,
    /// `GITLAB_URL`: issuer of tokens.
    pub gitlab_url: Option<String>,
}

impl Legacy {
    /// The configuration, when the environment asks for one: `USE_FAKE_MODELS` names the only models it can have.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        truthy(env("USE_FAKE_MODELS")).then(|| Self {
            anonymous: truthy(env("AUTH_BYPASS_EXTERNAL")),
            gitlab_url: env("GITLAB_URL").filter(|url| !url.is_empty()),
        })
    }

    /// The configuration, compiled as a manifest would be.
    ///
    /// # Errors
    /// Every mistake, naming the variable.
    pub fn compile(&self, reachable: bool) -> Result<GatewayConfig, Vec<String>> {
        if self.anonymous && reachable {
            return Err(vec!["AUTH_BYPASS_EXTERNAL lets everybody in who reaches the gateway; listen on loopback (FASTAPI_API_HOST=127.0.0.1), or write a configuration with spec.auth.anonymousExposed: true and give it by --config".into()]);
        }
        if !self.anonymous && self.gitlab_url.is_none() {
            return Err(vec!["nobody could use this gateway: set GITLAB_URL to the GitLab that signs tokens, or AUTH_BYPASS_EXTERNAL=true for local use".into()]);
        }
        let oidc = self.gitlab_url.iter().map(|url| Oidc {
            issuer: url.trim_end_matches('/').into(),
            audiences: vec![GITLAB_AUDIENCE.into()],
            ..Oidc::default()
        });
        let spec = ModelGatewaySpec {
            protocols: Some(vec![Protocol::GitLab, Protocol::OpenAI]),
            auth: Some(Auth { oidc: oidc.collect(), anonymous: self.anonymous, ..Auth::default() }),
            routes: vec![Route {
                name: "default".into(),
                backends: vec![RouteBackend { name: "fake".into(), ..RouteBackend::default() }],
                ..Route::default()
            }],
            completion: Some(Completion { compat: Compat::Strict, ..Completion::default() }),
            ..ModelGatewaySpec::default()
        };
        let place = Place::Standalone { endpoints: Default::default(), reachable };
        compile(&object("environment", spec), &[object("fake", fake_backend())], &place)
            .map_err(|problems| problems.iter().map(Problem::to_string).collect())
    }
}

fn fake_backend() -> ModelBackendSpec {
    ModelBackendSpec {
        model: ModelSpec {
            name: "fake".into(),
            aliases: Vec::new(),
            context_length: None,
            fim: None,
            source: None,
        },
        server: None,
        external: None,
        fake: Some(FakeServer::default()),
        accelerator: None,
        replicas: None,
        admission: None,
        placement: None,
        monitoring: None,
    }
}

fn object<S>(name: &str, spec: S) -> Object<S> {
    Object { name: name.into(), namespace: DEFAULT_NAMESPACE.into(), uid: String::new(), generation: 0, spec }
}

fn truthy(value: Option<String>) -> bool {
    value.is_some_and(|value| {
        matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on" | "t" | "y")
    })
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

    #[test]
    fn fake_models_need_a_decision_about_who_may_use_them() {
        let nobody = Legacy { anonymous: false, gitlab_url: None };
        assert!(nobody.compile(false).unwrap_err()[0].contains("GITLAB_URL"));
        let everybody = Legacy { anonymous: true, gitlab_url: None };
        assert!(everybody.compile(true).unwrap_err()[0].contains("AUTH_BYPASS_EXTERNAL"));
        let config = everybody.compile(false).unwrap();
        assert_eq!(config.compat, Compat::Strict);
        let gitlab = Legacy { anonymous: false, gitlab_url: Some("https://gitlab.example/".into()) };
        assert_eq!(gitlab.compile(true).unwrap().auth.oidc[0].issuer, "https://gitlab.example");
    }
}
