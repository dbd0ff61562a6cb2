//! One `ModelBackend` → how a gateway reaches it.

use url::Url;

use super::{Place, Problem, Problems, Reason, boundary, check, completion, secret_file};
use crate::contract::{BackendConfig, ChildModel, Target, VertexTarget};
use crate::manifest::Object;
use crate::names::{
    DEFAULT_CA_KEY, DEFAULT_ENGINE_PORT, DEFAULT_GOOGLE_KEY, DEFAULT_TOKEN_KEY, backend_headless,
    service_fqdn,
};
use crate::v1alpha1::{
    Boundary, Engine, ExternalProtocol, ExternalServer, FakeServer, ModelBackendSpec, Server,
};

/// What a fake backend answers when its spec names no text. It reads as code in most languages' comments.
const FAKE_TEXT: &str = "# a canned completion: this backend is fake";

pub(super) fn compile(
    object: &Object<ModelBackendSpec>,
    place: &Place,
) -> Result<BackendConfig, Vec<Problem>> {
    let mut problems = Problems::of("ModelBackend", &object.name);
    check::backend(&object.spec, &mut problems);
    for problem in &mut problems.list {
        problem.reason = Reason::BackendInvalid;
    }
    if !problems.list.is_empty() {
        return Err(problems.into_list());
    }
    let spec = &object.spec;
    let reached = match (&spec.server, &spec.external, &spec.fake) {
        (Some(server), _, _) => of_server(object, server, place, &mut problems),
        (_, Some(external), _) => of_external(&spec.model.name, external, place, &mut problems),
        (_, _, fake) => Some(of_fake(fake.clone().unwrap_or_default())),
    };
    match reached {
        Some((target, (boundary, boundary_reason))) if problems.list.is_empty() => Ok(BackendConfig {
            model: spec.model.name.clone(),
            aliases: spec.model.aliases.clone(),
            context_length: spec.model.context_length,
            admission: completion::compile_admission(spec.admission.as_ref()),
            fim_family: spec.model.fim.clone().unwrap_or_default().family,
            boundary,
            boundary_reason,
            target,
        }),
        _ => Err(problems.into_list()),
    }
}

type Reached = (Target, (Boundary, String));

fn of_server(
    object: &Object<ModelBackendSpec>,
    server: &Server,
    place: &Place,
    problems: &mut Problems,
) -> Option<Reached> {
    let inside = |why: &str| (Boundary::Inside, why.to_owned());
    match place {
        Place::Cluster { domain } => Some((
            Target::Pods {
                host: service_fqdn(&backend_headless(&object.name), &object.namespace, domain),
                port: server.port.unwrap_or(DEFAULT_ENGINE_PORT),
                protocol: protocol_of(server.engine),
            },
            inside("its pods run in this cluster"),
        )),
        Place::Standalone { endpoints, .. } => match (endpoints.get(&object.name), server.engine) {
            (Some(url), engine) => of_endpoint(&object.name, url, protocol_of(engine), problems),
            (None, Engine::Embedded) => {
                let model = child_model(&object.spec, problems)?;
                Some((Target::Child { model, args: server.args.clone() }, inside("it is a child process")))
            }
            (None, engine) => {
                problems.add(
                    Reason::NoEndpoint,
                    "spec.server.engine",
                    format!(
                        "{} is not started without Kubernetes; start it yourself and give `--endpoint {}=URL`",
                        engine.as_str(),
                        object.name
                    ),
                );
                None
            }
        },
    }
}

/// What an engine speaks: OpenAI's protocol, all but one.
fn protocol_of(engine: Engine) -> ExternalProtocol {
    match engine {
        Engine::Triton => ExternalProtocol::Triton,
        _ => ExternalProtocol::OpenAI,
    }
}

/// A server backend for which `--endpoint NAME=URL` names an address: whoever gave the flag vouches for it.
fn of_endpoint(
    name: &str,
    url: &str,
    protocol: ExternalProtocol,
    problems: &mut Problems,
) -> Option<Reached> {
    match check::http_url(url) {
        Ok(_) => Some((
            Target::External {
                protocol,
                url: url.trim_end_matches('/').into(),
                credential: None,
                ca: None,
                h2c: false,
                vertex: None,
                probe: Default::default(),
            },
            (Boundary::Inside, "its address was given by --endpoint".into()),
        )),
        Err(why) => {
            problems.add(Reason::NoEndpoint, "--endpoint", format!("{name}={url}: {why}"));
            None
        }
    }
}

fn child_model(spec: &ModelBackendSpec, problems: &mut Problems) -> Option<ChildModel> {
    let source = spec.model.source.clone().unwrap_or_default();
    match (source.pvc, source.http) {
        (Some(pvc), _) => Some(ChildModel::Claim { claim: pvc.claim, path: pvc.path }),
        (None, Some(http)) => Some(ChildModel::Http { url: http.url, sha256: http.sha256 }),
        (None, None) => {
            problems.add(
                Reason::BackendInvalid,
                "spec.model.source",
                "the Embedded engine needs pvc or http",
            );
            None
        }
    }
}

fn of_external(
    model: &str,
    external: &ExternalServer,
    place: &Place,
    problems: &mut Problems,
) -> Option<Reached> {
    let base = external.base_url();
    let checked = check::http_url(&base).and_then(|url| match check::refused_host(&url, place) {
        None => Ok(url),
        Some(why) => Err(why),
    });
    let url: Url = match checked {
        Ok(url) => url,
        Err(why) => {
            problems.add(Reason::BackendInvalid, "spec.external.url", why);
            return None;
        }
    };
    let domain = match place {
        Place::Cluster { domain } => Some(domain.as_str()),
        Place::Standalone { .. } => None,
    };
    let credential_key = match external.protocol {
        ExternalProtocol::VertexAI => DEFAULT_GOOGLE_KEY,
        _ => DEFAULT_TOKEN_KEY,
    };
    let target = Target::External {
        protocol: external.protocol,
        url: base,
        credential: external.auth_secret_ref.clone().map(|reference| secret_file(reference, credential_key)),
        ca: external.ca_secret_ref.clone().map(|reference| secret_file(reference, DEFAULT_CA_KEY)),
        h2c: external.h2c,
        vertex: external.vertex.as_ref().map(|vertex| {
            let named = vertex.publisher_model.as_deref().unwrap_or(model);
            let (publisher, model) = named.split_once('/').unwrap_or(("google", named));
            VertexTarget {
                project: vertex.project.clone(),
                location: vertex.location.clone(),
                publisher: publisher.into(),
                model: model.into(),
            }
        }),
        probe: external.probe,
    };
    Some((target, boundary::of(&url, external.boundary, domain)))
}

fn of_fake(fake: FakeServer) -> Reached {
    let delay = fake.delay.and_then(|delay| delay.parse().ok()).unwrap_or_default();
    let target = Target::Fake {
        text: fake.text.unwrap_or_else(|| FAKE_TEXT.into()),
        chunks: fake.chunks.unwrap_or(4),
        delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        fail_rate: fake.fail_rate.unwrap_or(0.0),
    };
    (target, (Boundary::Inside, "it answers from memory".into()))
}
