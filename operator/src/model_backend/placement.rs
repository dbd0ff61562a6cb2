//! Whether a backend's pods have a node, in the words of the status. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use modelgate_api::conditions::reasons;
use modelgate_api::v1alpha1::Blocked;

use crate::conditions::Truth;
use crate::fleet::fit::Fit;
use crate::k8s::rollout::{Trouble, trouble};

/// Why pods find no node: the arithmetic where it explains what the scheduler says, else the scheduler's own words. A model
/// that is too large for its devices is told even when the scheduler, which does not know its size, found a node.
#[must_use]
pub fn blocked(pods: &[Arc<Pod>], fit: Option<Fit>) -> Option<Blocked> {
    let said = match trouble(pods) {
        Some(Trouble::Unschedulable(said)) => Some(said),
        Some(Trouble::Container(_)) | None => None,
    };
    let other = |by: &str, detail: String, suggestion: &str| Blocked {
        by: by.into(),
        detail,
        suggestion: suggestion.into(),
        need: None,
        have: None,
    };
    match (said, fit) {
        (None, Some(Fit::Blocked(blocked))) if blocked.by == "ModelTooLarge" => Some(blocked),
        (None, _) => None,
        (Some(_), Some(Fit::Blocked(blocked))) => Some(blocked),
        (Some(said), Some(Fit::Unknown(why))) => {
            let suggestion =
                "free or add what is missing; let the operator list nodes and pods to have it reckoned";
            Some(other("Uncounted", format!("{said} ({why})"), suggestion))
        }
        (Some(said), Some(Fit::Room(place))) => {
            let suggestion =
                "lower spec.server.resources or change spec.placement; devices are not what is missing";
            Some(other("Scheduler", format!("{said} ({place})"), suggestion))
        }
        (Some(said), None) => {
            Some(other("Scheduler", said, "free or add what is missing, or lower the demand"))
        }
    }
}

/// The trouble that a summary tells, with the arithmetic in place of the scheduler's words.
#[must_use]
pub fn told(trouble: Option<Trouble>, blocked: Option<&Blocked>) -> Option<Trouble> {
    match (trouble, blocked) {
        (Some(Trouble::Unschedulable(_)), Some(blocked)) => {
            Some(Trouble::Unschedulable(format!("{}: {}", blocked.detail, blocked.suggestion)))
        }
        (Some(Trouble::Container(why)), Some(blocked)) => {
            Some(Trouble::Container(format!("{why} ({}: {})", blocked.detail, blocked.suggestion)))
        }
        (trouble, _) => trouble,
    }
}

/// The condition `Scheduled`.
#[must_use]
pub fn scheduled(pods: &[Arc<Pod>], blocked: Option<&Blocked>) -> (Truth, &'static str, String) {
    let with_node = |pod: &&Arc<Pod>| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|found| found.type_ == "PodScheduled" && found.status == "True")
    };
    let count = pods.iter().filter(with_node).count();
    let ratio = format!("{count} of {} pods have a node", pods.len());
    match blocked {
        Some(blocked) => (
            Truth::False,
            reasons::UNSCHEDULABLE,
            format!("{ratio}; {}; {}", blocked.detail, blocked.suggestion),
        ),
        None if !pods.is_empty() && count == pods.len() => (Truth::True, reasons::SCHEDULED, ratio),
        None => (Truth::Unknown, reasons::PENDING, ratio),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(scheduled: bool) -> Arc<Pod> {
        let (status, reason) = if scheduled { ("True", "") } else { ("False", "Unschedulable") };
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"conditions": [
                {"type": "PodScheduled", "status": status, "reason": reason, "message": "0/3 nodes are available."}]}}))
            .unwrap(),
        )
    }

    fn taken(by: &str) -> Option<Fit> {
        Some(Fit::Blocked(Blocked { by: by.into(), detail: "needs 2".into(), ..Blocked::default() }))
    }

    #[test]
    fn the_arithmetic_explains_what_the_scheduler_says_and_never_contradicts_it() {
        let by = |pods: &[Arc<Pod>], fit| blocked(pods, fit).map(|blocked| blocked.by);
        let (waits, runs) = (pod(false), pod(true));
        assert_eq!(by(&[Arc::clone(&waits)], taken("Taken")).as_deref(), Some("Taken"));
        assert_eq!(by(&[Arc::clone(&waits)], Some(Fit::Room("node a".into()))).as_deref(), Some("Scheduler"));
        assert_eq!(by(&[Arc::clone(&waits)], Some(Fit::Unknown("no".into()))).as_deref(), Some("Uncounted"));
        assert_eq!(by(&[Arc::clone(&waits)], None).as_deref(), Some("Scheduler"));
        assert_eq!(by(&[Arc::clone(&runs)], taken("Taken")), None, "its own pod holds the devices");
        assert_eq!(by(&[Arc::clone(&runs)], taken("ModelTooLarge")).as_deref(), Some("ModelTooLarge"));
        assert_eq!(scheduled(&[Arc::clone(&runs)], None).0, Truth::True);
        assert_eq!(
            scheduled(&[runs, waits], blocked(&[pod(false)], taken("Taken")).as_ref()).0,
            Truth::False
        );
        assert_eq!(scheduled(&[], None).0, Truth::Unknown);
    }
}
