//! Touching an annotation of gateway pods that run an older configuration: the kubelet remounts a pod's ConfigMap when
//! the pod changes, instead of within a minute. [I/O]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use modelgate_api::names::NUDGE_ANNOTATION;
use serde_json::json;
use tokio::time::Instant;

use super::dereference::References;
use super::validate::ValidatedGateway;
use crate::acknowledge::PodState;
use crate::context::Ctx;
use crate::error::Error;
use crate::k8s::apply::within;
use crate::k8s::child::Owner;

/// Field manager of nudges.
const NUDGE_MANAGER: &str = "modelgate-operator/nudge";
/// A pod that has not acknowledged is nudged again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// Nudges of one pod for one configuration. A pod that runs none of them has another problem, which it tells itself.
const MOST: u32 = 6;

/// Nudges by UID of the pod.
#[derive(Default)]
pub struct Nudges(Mutex<HashMap<String, Nudge>>);

#[derive(Clone)]
struct Nudge {
    hash: String,
    count: u32,
    at: Instant,
}

impl Nudges {
    /// Whether a pod is nudged now, and when it may be again.
    fn plan(&self, uid: &str, hash: &str, now: Instant) -> (Option<u32>, Option<Duration>) {
        let mut nudges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Entries of pods that are gone have long been quiet.
        nudges.retain(|_, nudge| now.duration_since(nudge.at) < Duration::from_secs(3600));
        let before = nudges.get(uid).filter(|nudge| nudge.hash == hash).cloned();
        let count = match &before {
            None => 1,
            Some(before) if before.count >= MOST => return (None, None),
            Some(before) if now.duration_since(before.at) < AGAIN => {
                return (None, Some(AGAIN.saturating_sub(now.duration_since(before.at))));
            }
            Some(before) => before.count.saturating_add(1),
        };
        nudges.insert(uid.to_owned(), Nudge { hash: hash.to_owned(), count, at: now });
        (Some(count), Some(AGAIN))
    }
}

/// Nudges the pods that answered with another configuration; when to look again if any did.
///
/// # Errors
/// [`Error::LeaseLost`]. A nudge that fails is logged: the kubelet remounts by itself too.
pub async fn nudge(
    ctx: &Ctx,
    owner: &Owner,
    gateway: &ValidatedGateway,
    references: &References,
) -> Result<Option<Duration>, Error> {
    let mut again: Option<Duration> = None;
    let states = ctx.acknowledgements.of(&owner.namespace, &owner.name);
    for state in states.iter().filter(|state| is_behind(state, &gateway.hash)) {
        let (count, next) = ctx.nudges.plan(&state.uid, &gateway.hash, Instant::now());
        again = [again, next].into_iter().flatten().min();
        let exists = references.pods.iter().any(|pod| pod.metadata.uid.as_deref() == Some(&state.uid));
        if let (Some(count), true) = (count, exists) {
            ctx.leadership.ensure()?;
            let outcome = touch(ctx, owner, state, &gateway.hash, count).await;
            ctx.metrics.nudged(outcome.is_ok());
            if let Err(error) = outcome {
                tracing::warn!(%error, pod = state.pod, "nudge");
            }
        }
    }
    Ok(again)
}

fn is_behind(state: &PodState, hash: &str) -> bool {
    state.state.as_ref().is_ok_and(|state| state.config_hash != hash && !state.draining)
}

async fn touch(ctx: &Ctx, owner: &Owner, state: &PodState, hash: &str, count: u32) -> Result<(), Error> {
    let short: String = hash.chars().take(12).collect();
    let value = format!("{short}.{count}");
    let patch = json!({"metadata": {"uid": state.uid, "annotations": {NUDGE_ANNOTATION: value}}});
    let params = PatchParams { field_manager: Some(NUDGE_MANAGER.into()), ..PatchParams::default() };
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let action = format!("nudge pod {}/{}", owner.namespace, state.pod);
    within(&action, api.patch(&state.pod, &params, &Patch::Merge(patch))).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pod_is_nudged_at_once_then_every_five_seconds_and_not_for_ever() {
        let nudges = Nudges::default();
        assert_eq!(nudges.plan("u", "h", Instant::now()).0, Some(1));
        assert_eq!(nudges.plan("u", "h", Instant::now()).0, None);
        for count in 2..=MOST {
            tokio::time::advance(AGAIN).await;
            assert_eq!(nudges.plan("u", "h", Instant::now()).0, Some(count));
        }
        tokio::time::advance(AGAIN).await;
        assert_eq!(nudges.plan("u", "h", Instant::now()), (None, None));
        assert_eq!(nudges.plan("u", "newer", Instant::now()).0, Some(1));
    }
}
