//! How pods are replaced: as the spec says, or as what is free allows. Pure.

use modelgate_api::v1alpha1::RolloutStrategy;
use serde_json::{Value, json};

use super::Situation;
use crate::fleet::fit::Fit;
use crate::k8s::rollout::Rollout;
use crate::model_backend::validate::ValidatedServer;

/// A way to replace pods, chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// New before old.
    Surge,
    /// Old before new, pod by pod.
    DrainThenReplace,
    /// All old before any new.
    Recreate,
}

impl Chosen {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Surge => RolloutStrategy::Surge.as_str(),
            Self::DrainThenReplace => RolloutStrategy::DrainThenReplace.as_str(),
            Self::Recreate => RolloutStrategy::Recreate.as_str(),
        }
    }

    /// A Deployment's `strategy`.
    #[must_use]
    pub fn as_json(self) -> Value {
        let rolling = |unavailable: u32, surge: u32| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}});
        match self {
            Self::Surge => rolling(0, 1),
            Self::DrainThenReplace => rolling(1, 0),
            Self::Recreate => json!({"type": "Recreate"}),
        }
    }

    /// Reads a Deployment's `strategy`; `None` when it is none of ours.
    #[must_use]
    pub fn of(deployment: &Value) -> Option<Self> {
        let strategy = deployment.pointer("/spec/strategy")?;
        [Self::Surge, Self::DrainThenReplace, Self::Recreate]
            .into_iter()
            .find(|chosen| crate::k8s::satisfied::differences(&chosen.as_json(), strategy).is_empty())
    }
}

/// A way and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The way.
    pub strategy: Chosen,
    /// Why, in words.
    pub why: String,
}

impl Choice {
    fn new(strategy: Chosen, why: impl Into<String>) -> Self {
        Self { strategy, why: why.into() }
    }
}

/// Whether one pod more would find its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// It would; where, in words.
    Free(String),
    /// It would not; why, in words.
    Taken(String),
    /// It cannot be told; why, in words.
    Unknown(String),
}

impl From<Fit> for Room {
    fn from(fit: Fit) -> Self {
        match fit {
            Fit::Room(place) => Self::Free(place),
            Fit::Blocked(blocked) => Self::Taken(blocked.detail),
            Fit::Unknown(why) => Self::Unknown(why),
        }
    }
}

/// Chooses. `changes`: the template that goes out is not the one that was applied last.
pub(super) fn choose(
    server: &ValidatedServer,
    situation: &Situation<'_>,
    progress: Option<&Rollout>,
    changes: bool,
) -> Choice {
    let said = |strategy| Choice::new(strategy, "spec.rollout.strategy says so");
    match server.rollout.strategy {
        RolloutStrategy::Surge => return said(Chosen::Surge),
        RolloutStrategy::DrainThenReplace => return said(Chosen::DrainThenReplace),
        RolloutStrategy::Recreate => return said(Chosen::Recreate),
        RolloutStrategy::Auto => {}
    }
    if server.accelerator.is_none() {
        return Choice::new(Chosen::Surge, "the pods need no device, so a new one finds room beside the old");
    }
    let under_way = progress.is_some_and(|progress| !progress.complete);
    match situation.live.and_then(Chosen::of) {
        // Room that was there when the rollout began is gone: waiting would never end.
        Some(Chosen::Surge) if under_way && situation.unschedulable => Choice::new(
            Chosen::DrainThenReplace,
            "the pod that was to come first finds no free device, so an old one goes before it",
        ),
        // Nothing to choose before the template changes: a choice that followed every device that becomes free would
        // write the Deployment without need.
        Some(standing) if !changes => {
            let before = situation.before.filter(|before| before.strategy == standing.as_str());
            let why = before.map_or_else(
                || "chosen before; looked at again when the pod template changes".to_owned(),
                |before| before.why.clone(),
            );
            Choice::new(standing, why)
        }
        _ => match (situation.room)() {
            Room::Free(place) => Choice::new(Chosen::Surge, place),
            Room::Taken(why) | Room::Unknown(why) => Choice::new(Chosen::DrainThenReplace, why),
        },
    }
}
