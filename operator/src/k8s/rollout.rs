//! How far a Deployment is, and what keeps its pods from starting. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;

use super::child::{Applied, Child};

/// A Deployment's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Pods wanted.
    pub desired: i32,
    /// Pods there are.
    pub total: i32,
    /// Pods ready.
    pub ready: i32,
    /// Pods of the current template.
    pub updated: i32,
    /// Every wanted pod is ready and of the current template, and no other is left.
    pub complete: bool,
    /// What the Deployment says after its progress deadline.
    pub overdue: Option<String>,
    /// Identifies the pod template that this is about: UID and generation.
    pub revision: String,
}

impl Rollout {
    /// Reads a live Deployment.
    #[must_use]
    pub fn of(deployment: &Child<Applied>) -> Self {
        Self::read(&deployment.body)
    }

    /// Reads a live Deployment's JSON.
    #[must_use]
    pub fn read(deployment: &Value) -> Self {
        let long = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let number = |pointer: &str| i32::try_from(long(pointer)).unwrap_or(i32::MAX);
        let (desired, total) = (number("/spec/replicas"), number("/status/replicas"));
        let (ready, updated) = (number("/status/readyReplicas"), number("/status/updatedReplicas"));
        let generation = long("/metadata/generation");
        let observed = long("/status/observedGeneration") >= generation;
        let uid = deployment.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        Self {
            desired,
            total,
            ready,
            updated,
            complete: observed && updated == desired && total == desired && ready == desired,
            overdue: observed.then(|| overdue(deployment)).flatten(),
            revision: format!("{uid}/{generation}"),
        }
    }

    /// `ready/desired`, as `kubectl get` prints it.
    #[must_use]
    pub fn ratio(&self) -> String {
        format!("{}/{}", self.ready, self.desired)
    }
}

fn overdue(body: &Value) -> Option<String> {
    let conditions = body.pointer("/status/conditions")?.as_array()?;
    let text = |condition: &Value, field: &str| {
        condition.get(field).and_then(Value::as_str).unwrap_or("").to_owned()
    };
    let late = conditions.iter().find(|condition| text(condition, "reason") == "ProgressDeadlineExceeded")?;
    Some(text(late, "message"))
}

/// What keeps a pod from serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No node takes it.
    Unschedulable(String),
    /// Its container does not start or does not stay.
    Container(String),
}

/// The first trouble among pods, unschedulable ones before others.
#[must_use]
pub fn trouble(pods: &[Arc<Pod>]) -> Option<Trouble> {
    let unschedulable = pods.iter().find_map(|pod| unschedulable(pod)).map(Trouble::Unschedulable);
    unschedulable.or_else(|| pods.iter().find_map(|pod| container(pod)).map(Trouble::Container))
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    Some(format!("pod {}: {}", pod_name(pod), condition.message.clone().unwrap_or_default()))
}

fn container(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let (reason, message) = all.filter_map(container_trouble).next()?;
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    Some(format!("pod {}: {reason}{message}", pod_name(pod)))
}

/// Reason and message of a container that waits for something other than its turn.
fn container_trouble(status: &ContainerStatus) -> Option<(String, String)> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().unwrap_or_default();
    if matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing") {
        return None;
    }
    // CrashLoopBackOff says only that it waits; how it ended says why.
    let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = ended.map(|ended| {
        let reason = ended.reason.clone().unwrap_or_default();
        format!("last exit {} ({reason}) {}", ended.exit_code, ended.message.clone().unwrap_or_default())
    });
    let message = ended.or_else(|| waiting.message.clone()).unwrap_or_default();
    // A pull that failed and the wait before the next one take turns for ever; both say the same, so the status stands still.
    if let Some((_, why)) = message.split_once("ErrImagePull: ").filter(|_| reason == "ImagePullBackOff") {
        return Some(("ErrImagePull".into(), why.trim().to_owned()));
    }
    Some((reason, message.trim().to_owned()))
}

fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Whether a pod takes requests.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &Value) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap())
    }

    #[test]
    fn a_pod_without_a_node_is_told_before_one_that_crashes() {
        let crashing =
            pod(&json!({"containerStatuses": [{"name": "e", "image": "", "imageID": "", "ready": false,
            "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no such file"}}}]}));
        let waiting = pod(&json!({"conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}]}));
        let fresh =
            pod(&json!({"containerStatuses": [{"name": "e", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}]}));
        assert_eq!(trouble(&[fresh]), None);
        let Some(Trouble::Container(text)) = trouble(&[Arc::clone(&crashing)]) else { panic!("container") };
        assert!(text.contains("CrashLoopBackOff") && text.contains("no such file"), "{text}");
        let Some(Trouble::Unschedulable(text)) = trouble(&[crashing, waiting]) else {
            panic!("unschedulable")
        };
        assert!(text.contains("Insufficient nvidia.com/gpu"), "{text}");
    }

    #[test]
    fn a_failed_pull_reads_the_same_while_it_fails_and_while_it_waits() {
        let waiting = |reason: &str, message: &str| {
            pod(&json!({"containerStatuses": [{"name": "e", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]}))
        };
        let text = |pod| match trouble(&[pod]) {
            Some(Trouble::Container(text)) => text,
            other => panic!("{other:?}"),
        };
        let fails = text(waiting("ErrImagePull", "registry.example/x:1: not found"));
        let waits = "Back-off pulling image \"x\": ErrImagePull: registry.example/x:1: not found";
        assert_eq!(text(waiting("ImagePullBackOff", waits)), fails);
        assert!(fails.contains("ErrImagePull: registry.example/x:1: not found"), "{fails}");
    }
}
