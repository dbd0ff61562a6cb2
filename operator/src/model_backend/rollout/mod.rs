//! Between build and apply: how pods are replaced, and which pod template goes out now. Pure.
//!
//! The template that was applied last stands in an annotation of the Deployment, with a digest of the part of the spec that
//! it was made of. So a newer operator whose builders make another template of the same spec sees that nothing but itself
//! changed, holds its template back and lists the difference. While pods are replaced, the template before stands there
//! too: a rollout that fails is taken back to it once, unless it surged and the old pods still serve.

pub mod choice;
pub mod pending;
pub mod template;

use modelgate_api::v1alpha1::{PendingChange, RolloutStatus};
use serde_json::Value;

use self::choice::{Choice, Room};
use self::template::{Going, Kept};
use super::validate::ValidatedServer;
use crate::k8s::child::{Child, Prepared};
use crate::k8s::rollout::Rollout;

/// What is known when a Deployment was built.
pub struct Situation<'a> {
    /// Digest of the part of the spec that the template is made of.
    pub inputs: &'a str,
    /// The Deployment as watched.
    pub live: Option<&'a Value>,
    /// The spec was looked at before (by the status' generation).
    pub handled: bool,
    /// What the status said of rollouts.
    pub before: Option<&'a RolloutStatus>,
    /// What keeps new pods from starting, in words.
    pub trouble: Option<String>,
    /// A pod finds no node.
    pub unschedulable: bool,
    /// Whether there is room for one pod more.
    pub room: &'a dyn Fn() -> Room,
}

/// What goes out, and what is to be said of it.
#[derive(Debug, PartialEq)]
pub struct Settled {
    /// The Deployment.
    pub deployment: Child<Prepared>,
    /// How its pods are replaced.
    pub choice: Choice,
    /// What is held back.
    pub pending: Vec<PendingChange>,
    /// Said when the template before stands again.
    pub restored: Option<String>,
}

/// Decides.
#[must_use]
pub fn settle(
    mut deployment: Child<Prepared>,
    server: &ValidatedServer,
    situation: &Situation<'_>,
) -> Settled {
    let built = deployment.body.pointer("/spec/template").cloned().unwrap_or_default();
    let kept = situation.live.and_then(|live| Kept::of(live, situation.inputs, &built, situation.handled));
    let progress = situation.live.map(Rollout::read);
    let going = template::going(built, kept.as_ref(), progress.as_ref(), situation);
    let Going { template, served, restored, pending } = going;
    let changes = kept.as_ref().is_none_or(|kept| kept.template != template);
    let choice = choice::choose(server, situation, progress.as_ref(), changes);
    if let Some(spec) = deployment.body.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("strategy".into(), choice.strategy.as_json());
    }
    template::write(&mut deployment.body, template, situation.inputs, served, restored.is_some());
    Settled { deployment, choice, pending, restored }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
