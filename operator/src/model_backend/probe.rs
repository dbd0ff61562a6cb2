//! Proving that a backend answers: one completion at the engine's own Service, or the model list of an external server.
//! A proof is kept until what it proved changes. [I/O]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use modelgate_api::names::{backend_child, service_fqdn};
use modelgate_api::v1alpha1::{Engine, ExternalProtocol, Probe};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::build::Resources;
use super::validate::{Place, ValidatedBackend};
use crate::context::Ctx;
use crate::k8s::child::Applied;
use crate::k8s::rollout::Rollout;

/// Longest wait for the proving completion; a busy engine queues it.
const COMPLETION: Duration = Duration::from_secs(30);
/// Longest wait for an external server.
const EXTERNAL: Duration = Duration::from_secs(5);
/// A reachable external server is asked again after this.
const EXTERNAL_AGAIN: Duration = Duration::from_secs(60);

/// What is known of a backend's answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The newest proof; absent when there is nothing to prove yet.
    pub outcome: Option<Result<(), String>>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// Proofs by UID of the backend.
#[derive(Default)]
pub struct Proofs(Mutex<HashMap<String, Entry>>);

#[derive(Clone)]
struct Entry {
    /// What was proved.
    subject: String,
    outcome: Result<(), String>,
    at: Instant,
    failures: u32,
}

impl Proofs {
    /// The backend is gone, or has nothing left that was proved.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    fn get(&self, uid: &str) -> Option<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    fn put(&self, uid: &str, entry: Entry) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), entry);
    }
}

/// Proves what can be proved now.
pub async fn prove(ctx: &Ctx, backend: &ValidatedBackend, applied: &Resources<Applied>) -> Proof {
    let uid = &backend.owner.uid;
    match &backend.place {
        Place::Fake => Proof::default(),
        Place::External(external) if external.probe == Probe::None => Proof::default(),
        Place::External(external) => {
            // Without a credential: any answer but a server error says that somebody is there. What needs a credential
            // or costs money (`probe: Completion`) is the gateway's.
            let url = format!("{}{}", external.base_url(), health_path(external.protocol));
            let ask = async {
                match ctx.outbound.get_external(&url, EXTERNAL).await {
                    Ok(answer) if answer.status >= 500 => {
                        Err(format!("GET {url} answered {}", answer.status))
                    }
                    Ok(_) => Ok(()),
                    // Somebody is there; whether the private CA signed its certificate is for the gateway to see, which
                    // mounts the Secret.
                    Err(why) if external.ca_secret_ref.is_some() && why.contains("UnknownIssuer") => Ok(()),
                    Err(why) => Err(why),
                }
            };
            remembered(ctx, uid, url.clone(), Some(EXTERNAL_AGAIN), ask).await
        }
        Place::Server(server) => {
            let rollout = applied.deployment.as_ref().map(Rollout::of).unwrap_or_default();
            if rollout.ready == 0 {
                ctx.proofs.forget(uid);
                return Proof::default();
            }
            // During a rollout an old pod may answer, so what was proved then is proved again afterwards.
            let subject = format!("{} complete={}", rollout.revision, rollout.complete);
            let service = backend_child(&backend.owner.name);
            let host = service_fqdn(&service, &backend.owner.namespace, &ctx.settings.render.cluster_domain);
            let base = format!("http://{host}:{}", server.port);
            match server.server.engine {
                // Its models' inputs have names of their own; the gateway, which knows the form, asks for a completion.
                Engine::Triton => {
                    let url = format!("{base}/v2/health/ready");
                    remembered(ctx, uid, subject, None, ready(ctx, &url)).await
                }
                _ => {
                    let url = format!("{base}/v1/completions");
                    remembered(ctx, uid, subject, None, complete_one(ctx, &url, &backend.model.name)).await
                }
            }
        }
    }
}

/// The outcome for `subject`: remembered when it passed (for `again` at most), asked anew when a failure is old enough.
async fn remembered(
    ctx: &Ctx,
    uid: &str,
    subject: String,
    again: Option<Duration>,
    ask: impl Future<Output = Result<(), String>>,
) -> Proof {
    let known = ctx.proofs.get(uid).filter(|known| known.subject == subject);
    if let Some(known) = &known {
        let due = match &known.outcome {
            Ok(()) => again,
            Err(_) => Some(retry(known.failures)),
        };
        let left = due.map(|due| due.saturating_sub(known.at.elapsed()));
        if left.is_none_or(|left| !left.is_zero()) {
            return Proof { outcome: Some(known.outcome.clone()), again: left };
        }
    }
    let outcome = ask.await;
    let failures =
        if outcome.is_ok() { 0 } else { known.map_or(0, |known| known.failures).saturating_add(1) };
    let due = if outcome.is_ok() { again } else { Some(retry(failures)) };
    ctx.proofs.put(uid, Entry { subject, outcome: outcome.clone(), at: Instant::now(), failures });
    Proof { outcome: Some(outcome), again: due }
}

/// A path that costs nothing and needs no credential to be answered, by what the server speaks.
fn health_path(protocol: ExternalProtocol) -> &'static str {
    match protocol {
        ExternalProtocol::OpenAI | ExternalProtocol::Mistral => "/models",
        ExternalProtocol::TGI | ExternalProtocol::LlamaCpp => "/health",
        ExternalProtocol::Triton => "/v2/health/ready",
        ExternalProtocol::VertexAI => "/",
        ExternalProtocol::GitLab => "/monitoring/healthz",
    }
}

fn retry(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(6)).min(Duration::from_secs(60))
}

async fn ready(ctx: &Ctx, url: &str) -> Result<(), String> {
    match ctx.outbound.get(url, EXTERNAL).await?.status {
        200 => Ok(()),
        status => Err(format!("GET {url} answered {status}")),
    }
}

async fn complete_one(ctx: &Ctx, url: &str, model: &str) -> Result<(), String> {
    let body = json!({"model": model, "prompt": "def add(a, b):", "max_tokens": 1, "temperature": 0});
    let answer =
        ctx.outbound.post(url, &body, COMPLETION).await.map_err(|error| format!("POST {url}: {error}"))?;
    let text: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
    if answer.status != 200 {
        return Err(format!("POST {url} answered {}: {text}", answer.status));
    }
    let completion: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let choices = completion.as_ref().and_then(|answer| answer.get("choices")).and_then(Value::as_array);
    match choices {
        Some(choices) if !choices.is_empty() => Ok(()),
        _ => Err(format!("POST {url} answered 200 without a choice: {text}")),
    }
}
