//! What the names of 2023 ask for → the same resources that a user would write, compiled in the same way.

use modelgate_api::compile::{Place, Problem, compile};
use modelgate_api::contract::GatewayConfig;
use modelgate_api::manifest::{DEFAULT_NAMESPACE, Object};
use modelgate_api::v1alpha1::{
    Admission, Auth, Compat, Completion, DataBoundary, ExternalProtocol, ExternalServer, FakeServer,
    GitlabAuth, ModelBackendSpec, ModelGatewaySpec, ModelSpec, ProjectMatch, Protocol, Route, RouteBackend,
    RouteMatch, Vertex,
};

use super::{Legacy, Models};

/// What the canned models of 2023 answered, and their name.
const FAKE_TEXT: &str = "fake code suggestion from PaLM Text";
const FAKE_MODEL: &str = "fake-palm-model";
/// Models of Vertex AI that requests of 2023 could name.
const VERTEX_MODELS: [&str; 3] = ["text-bison", "code-bison", "code-gecko"];

impl Legacy {
    /// The configuration, compiled as a manifest would be.
    ///
    /// # Errors
    /// Every mistake, naming the variable.
    pub fn compile(&self, reachable: bool) -> Result<GatewayConfig, Vec<String>> {
        let mut faults = Vec::new();
        let auth = self.auth(reachable, &mut faults);
        let backends = self.backends();
        let routes = self.routes(&backends, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let spec = ModelGatewaySpec {
            protocols: Some(vec![Protocol::GitLab, Protocol::OpenAI]),
            auth: Some(auth),
            routes,
            completion: Some(Completion { compat: Compat::Strict, ..Completion::default() }),
            ..ModelGatewaySpec::default()
        };
        let place = Place::Standalone { endpoints: Default::default(), reachable };
        compile(&object("environment", spec), &backends, &place)
            .map_err(|problems| problems.iter().map(Problem::to_string).collect())
    }

    fn auth(&self, reachable: bool, faults: &mut Vec<String>) -> Auth {
        if self.anonymous {
            if reachable {
                faults.push("AUTH_BYPASS_EXTERNAL lets everybody in who reaches the gateway; listen on loopback (FASTAPI_API_HOST=127.0.0.1), or write a configuration with spec.auth.anonymousExposed: true and give it by --config".into());
            }
            return Auth { anonymous: true, ..Auth::default() };
        }
        let [instance_ids, namespace_ids, subjects] = self.bound.clone();
        let Some(url) = self.gitlab_url.clone() else {
            faults.push("nobody could use this gateway: set GITLAB_URL to the GitLab that signs tokens, or AUTH_BYPASS_EXTERNAL=true for local use".into());
            return Auth::default();
        };
        let narrowed = !namespace_ids.is_empty() || !subjects.is_empty();
        if self.portal.is_some() && !narrowed && instance_ids.is_empty() {
            faults.push("CUSTOMER_PORTAL_BASE_URL: the Customers Portal signs for every customer of GitLab; say whose tokens count by MODELGATE_GITLAB_INSTANCE_IDS (or …_NAMESPACE_IDS, …_SUBJECTS), or leave it out".into());
        }
        if url.trim_end_matches('/') == "https://gitlab.com" && !narrowed {
            faults.push("GITLAB_URL: gitlab.com signs for every user of it; say whose tokens count by MODELGATE_GITLAB_NAMESPACE_IDS or MODELGATE_GITLAB_SUBJECTS, or name your own GitLab".into());
        }
        let gitlab = GitlabAuth {
            url,
            customers_url: self.portal.clone(),
            instance_ids,
            namespace_ids,
            subjects,
            ..GitlabAuth::default()
        };
        Auth { gitlab: Some(gitlab), ..Auth::default() }
    }

    /// The canned models, or one backend for each model of Vertex AI.
    fn backends(&self) -> Vec<Object<ModelBackendSpec>> {
        let Models::Vertex { names, project, location, endpoint } = &self.models else {
            let fake = FakeServer { text: Some(FAKE_TEXT.into()), ..FakeServer::default() };
            let aliases = VERTEX_MODELS.map(str::to_owned).into();
            let spec = backend(FAKE_MODEL, aliases);
            return vec![object("fake", ModelBackendSpec { fake: Some(fake), ..spec })];
        };
        let of = |name: &String| {
            let url = endpoint.as_ref().map(|host| match host.contains("://") {
                true => host.clone(),
                false => format!("https://{host}"),
            });
            let vertex = Vertex {
                project: project.clone(),
                location: location.clone(),
                publisher_model: Some(name.clone()),
            };
            let external = ExternalServer {
                protocol: ExternalProtocol::VertexAI,
                url,
                auth_secret_ref: None,
                ca_secret_ref: None,
                h2c: false,
                boundary: None,
                probe: Default::default(),
                vertex: Some(vertex),
            };
            let plain = name.split('@').next().unwrap_or(name);
            let aliases = if plain == name { Vec::new() } else { vec![plain.to_owned()] };
            let limit = self.limits.get(name).or_else(|| self.limits.get(plain));
            let admission = limit.map(|most| Admission {
                max_concurrent: Some((*most).max(1)),
                queue_depth: None,
                queue_timeout: None,
                cold_start: None,
            });
            object(
                &slug(name),
                ModelBackendSpec { external: Some(external), admission, ..backend(name, aliases) },
            )
        };
        names.iter().map(of).collect()
    }

    /// The flags of the rollout, as routes: the projects listed, then the share of all others, the first model for
    /// completions that name none.
    fn routes(&self, backends: &[Object<ModelBackendSpec>], faults: &mut Vec<String>) -> Vec<Route> {
        let rollout = &self.rollout;
        let third_party = self.models != Models::Fake;
        let to = |object: &Object<ModelBackendSpec>, kind: &str, conditions: RouteMatch| Route {
            name: format!("{kind}-{}", object.name),
            matches: (conditions != RouteMatch::default()).then_some(conditions),
            data_boundary: if third_party { DataBoundary::External } else { DataBoundary::Cluster },
            backends: vec![RouteBackend { name: object.name.clone(), ..RouteBackend::default() }],
            ..Route::default()
        };
        let mut routes = Vec::new();
        if third_party && !rollout.projects.is_empty() {
            let list = ProjectMatch { list: Some(rollout.projects.clone()), ..ProjectMatch::default() };
            let listed = RouteMatch { projects: Some(list), ..RouteMatch::default() };
            routes.extend(backends.iter().map(|backend| to(backend, "listed", listed.clone())));
        }
        let unflagged = rollout.default.is_none() && rollout.projects.is_empty();
        if !third_party || unflagged || rollout.default == Some(true) {
            let percent = rollout.percentage.filter(|percent| third_party && *percent < 100);
            let share = RouteMatch { percent: percent.map(f64::from), ..RouteMatch::default() };
            routes.extend(backends.iter().map(|backend| to(backend, "all", share.clone())));
        }
        if routes.is_empty() {
            faults.push("F_IS_THIRD_PARTY_AI_DEFAULT is false and no project is listed: no request would reach a model; set it to true, or name a list by F_THIRD_PARTY_AI_LIMITED_ACCESS".into());
        }
        routes
    }
}

fn backend(name: &str, aliases: Vec<String>) -> ModelBackendSpec {
    ModelBackendSpec {
        model: ModelSpec { name: name.into(), aliases, ..ModelSpec::default() },
        ..ModelBackendSpec::default()
    }
}

/// A name that an object may have.
fn slug(name: &str) -> String {
    let kept = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let text: String = name.chars().map(kept).collect();
    text.trim_matches('-').to_owned()
}

fn object<S>(name: &str, spec: S) -> Object<S> {
    Object { name: name.into(), namespace: DEFAULT_NAMESPACE.into(), uid: String::new(), generation: 0, spec }
}

#[cfg(test)]
mod tests {
    use modelgate_api::contract::Target;

    use super::*;
    use crate::legacy::Rollout;

    fn vertex(rollout: Rollout) -> Legacy {
        Legacy {
            anonymous: true,
            models: Models::Vertex {
                names: vec!["text-bison".into(), "code-gecko@001".into()],
                project: "p".into(),
                location: "europe-west4".into(),
                endpoint: Some("vertex.example.com".into()),
            },
            rollout,
            limits: [("code-gecko".into(), 7)].into(),
            ..Legacy::default()
        }
    }

    #[test]
    fn fake_models_need_a_decision_about_who_may_use_them() {
        let nobody = Legacy::default();
        assert!(nobody.compile(false).unwrap_err()[0].contains("GITLAB_URL"));
        let everybody = Legacy { anonymous: true, ..Legacy::default() };
        assert!(everybody.compile(true).unwrap_err()[0].contains("AUTH_BYPASS_EXTERNAL"));
        let config = everybody.compile(false).unwrap();
        assert_eq!((config.compat, config.backends["fake"].model.as_str()), (Compat::Strict, FAKE_MODEL));
        let own = Legacy { gitlab_url: Some("https://gitlab.example/".into()), ..Legacy::default() };
        assert_eq!(own.compile(true).unwrap().auth.oidc[0].issuer, "https://gitlab.example");
    }

    #[test]
    fn issuers_of_everybodys_tokens_need_a_list() {
        let com = Legacy { gitlab_url: Some("https://gitlab.com/".into()), ..Legacy::default() };
        assert!(com.compile(false).unwrap_err()[0].contains("MODELGATE_GITLAB_NAMESPACE_IDS"));
        let portal = Legacy {
            gitlab_url: Some("https://gitlab.example".into()),
            portal: Some("https://customers.gitlab.com".into()),
            ..Legacy::default()
        };
        assert!(portal.compile(false).unwrap_err()[0].contains("MODELGATE_GITLAB_INSTANCE_IDS"));
        let bound = Legacy { bound: [vec!["i".into()], Vec::new(), Vec::new()], ..portal };
        assert_eq!(bound.compile(false).unwrap().auth.oidc.len(), 2);
    }

    #[test]
    fn models_of_vertex_are_backends_and_flags_are_routes() {
        let names = |config: &GatewayConfig| -> Vec<String> {
            config.routes.iter().map(|route| route.name.clone()).collect()
        };
        let plain = vertex(Rollout::default()).compile(false).unwrap();
        assert_eq!(names(&plain), ["all-text-bison", "all-code-gecko-001"]);
        let Target::External { url, vertex: Some(place), .. } = &plain.backends["code-gecko-001"].target
        else {
            panic!("{plain:?}")
        };
        assert_eq!((url.as_str(), place.model.as_str()), ("https://vertex.example.com", "code-gecko@001"));
        assert_eq!(place.location, "europe-west4");
        assert_eq!(plain.backends["code-gecko-001"].aliases, ["code-gecko"]);
        let share =
            vertex(Rollout { default: Some(true), percentage: Some(25), projects: vec!["7,a/b".into()] });
        let share = share.compile(false).unwrap();
        assert_eq!(
            names(&share),
            ["listed-text-bison", "listed-code-gecko-001", "all-text-bison", "all-code-gecko-001"]
        );
        assert_eq!(share.routes[2].matches.millipercent, Some(25_000));
        let listed =
            vertex(Rollout { default: Some(false), percentage: None, projects: vec!["7,a/b".into()] });
        assert_eq!(listed.compile(false).unwrap().routes.len(), 2);
        let nobody = vertex(Rollout { default: Some(false), ..Rollout::default() });
        assert!(nobody.compile(false).unwrap_err()[0].contains("F_THIRD_PARTY_AI_LIMITED_ACCESS"));
    }
}
