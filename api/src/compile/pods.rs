//! What a spec may say of pods: how they are replaced, and what may be laid over their template. No schema can look into
//! `podOverrides`, so what would widen a pod's rights is refused here, each by its path.

use std::time::Duration;

use serde_json::{Map, Value};

use super::check::check_duration;
use super::{Problems, Reason};
use crate::names::{BACKEND_LABEL, GATEWAY_LABEL};
use crate::sizing;
use crate::v1alpha1::{
    CacheMode, CacheSpec, GoDuration, ModelSpec, PRESETS, PullSecret, RolloutSpec, Schemaless, preset_named,
};

/// Longest time for a pod to finish its requests.
const MAX_DRAIN: Duration = Duration::from_secs(3600);
/// Bounds of the time without progress.
const DEADLINE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(86_400));
/// Where overrides stand.
const PATH: &str = "spec.podOverrides";

pub(super) fn check_rollout(rollout: &RolloutSpec, problems: &mut Problems) {
    let parsed = |time: &Option<GoDuration>| time.as_ref().and_then(|time| time.parse().ok());
    check_duration("spec.rollout.drainTimeout", rollout.drain_timeout.as_ref(), problems);
    if parsed(&rollout.drain_timeout).is_some_and(|time| time > MAX_DRAIN) {
        problems.add(Reason::Invalid, "spec.rollout.drainTimeout", "must be at most 1h");
    }
    check_duration("spec.rollout.progressDeadline", rollout.progress_deadline.as_ref(), problems);
    if parsed(&rollout.progress_deadline).is_some_and(|time| !(DEADLINE.0..=DEADLINE.1).contains(&time)) {
        problems.add(Reason::Invalid, "spec.rollout.progressDeadline", "must be from 10s to 24h");
    }
}

pub(super) fn check_cache(cache: &CacheSpec, problems: &mut Problems) {
    let (size, claim) = (cache.size.is_some(), cache.existing_claim.is_some());
    let given = match cache.mode {
        CacheMode::Shared => size != claim,
        CacheMode::None => !size && !claim,
    };
    if !given {
        let message = "with mode Shared give size or existingClaim, with mode None neither";
        problems.add(Reason::Invalid, "spec.cache", message);
    }
    if !size && (cache.storage_class.is_some() || cache.access_mode.is_some()) {
        let message = "storageClass and accessMode are of the claim that size asks for; remove them";
        problems.add(Reason::Invalid, "spec.cache", message);
    }
}

pub(super) fn check_model(model: &ModelSpec, problems: &mut Problems) {
    if model.preset.is_some() && model.size.is_some() {
        problems.add(
            Reason::Invalid,
            "spec.model.size",
            "spec.model.preset says the size; remove one of the two",
        );
    }
    if model.preset.as_deref().is_some_and(|name| preset_named(name).is_none()) {
        let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        let message = format!("is none of {}; give spec.model.size instead", names.join(", "));
        problems.add(Reason::Invalid, "spec.model.preset", message);
    }
    if let Some(size) = &model.size
        && sizing::parameters(&size.parameters).is_none()
    {
        problems.add(Reason::Invalid, "spec.model.size.parameters", "write for example 7B or 350M");
    }
}

pub(super) fn check(secrets: &[PullSecret], overrides: Option<&Schemaless>, problems: &mut Problems) {
    for (index, secret) in secrets.iter().enumerate() {
        if secrets.iter().take(index).any(|before| before.name == secret.name) {
            let path = format!("spec.imagePullSecrets[{index}].name");
            problems.add(Reason::Invalid, path, format!("\"{}\" is given twice", secret.name));
        }
    }
    let Some(Schemaless(overrides)) = overrides else { return };
    let mut add = |path: String, why: &str| problems.add(Reason::Invalid, format!("{PATH}.{path}"), why);
    for (field, value) in overrides {
        match field.as_str() {
            "metadata" => metadata(value, &mut add),
            "spec" => match value.as_object() {
                Some(pod) => check_pod(pod, &mut add),
                None => add("spec".into(), "must be the spec of a pod"),
            },
            other => add(other.into(), "a pod template has metadata and spec alone; remove it"),
        }
    }
}

fn metadata(value: &Value, add: &mut impl FnMut(String, &str)) {
    for (field, values) in value.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "labels" | "annotations") {
            add(format!("metadata.{field}"), "labels and annotations alone may be given; remove it");
        }
        for key in values.as_object().into_iter().flatten().map(|(key, _)| key) {
            let ours = [
                BACKEND_LABEL,
                GATEWAY_LABEL,
                "app.kubernetes.io/name",
                "app.kubernetes.io/managed-by",
                "app.kubernetes.io/part-of",
            ];
            if ours.contains(&key.as_str()) || key.starts_with("modelgate.dev/") {
                add(format!("metadata.{field}[{key}]"), "the operator finds its pods by it; remove it");
            }
        }
    }
}

/// Fields of a pod's spec that nobody may set, and why.
const REFUSED: [(&str, &str); 10] = [
    ("hostNetwork", "the pod would be on the node's network; remove it"),
    ("hostPID", "the pod would see the node's processes; remove it"),
    ("hostIPC", "the pod would share the node's memory segments; remove it"),
    ("serviceAccountName", "another service account gives other rights; remove it"),
    ("serviceAccount", "another service account gives other rights; remove it"),
    ("automountServiceAccountToken", "these pods hold no credential of the cluster; remove it"),
    ("nodeName", "it goes round the scheduler; use spec.placement"),
    ("ephemeralContainers", "a pod template has none; remove it"),
    ("enableServiceLinks", "service links overwrite the engine's variables; remove it"),
    ("resourceClaims", "devices are asked for by spec.accelerator; remove it"),
];

fn check_pod(pod: &Map<String, Value>, add: &mut impl FnMut(String, &str)) {
    for (field, why) in REFUSED {
        if pod.contains_key(field) {
            add(format!("spec.{field}"), why);
        }
    }
    if let Some(context) = pod.get("securityContext") {
        check_security("spec.securityContext", context, add);
    }
    for (index, volume) in list(pod, "volumes") {
        check_volume(&format!("spec.volumes[{index}]"), volume, add);
    }
    for kind in ["containers", "initContainers"] {
        for (index, container) in list(pod, kind) {
            let path = format!("spec.{kind}[{index}]");
            if let Some(context) = container.get("securityContext") {
                check_security(&format!("{path}.securityContext"), context, add);
            }
            let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
            if ports.into_iter().any(|port| port.get("hostPort").is_some()) {
                add(format!("{path}.ports"), "hostPort opens a port of the node; remove it");
            }
            if container.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
                add(
                    format!("{path}.name"),
                    "is required: containers are told apart by it (the engine's is \"engine\", the gateway's \"gateway\")",
                );
            }
        }
    }
}

fn list<'a>(pod: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    pod.get(field).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn check_volume(path: &str, volume: &Value, add: &mut impl FnMut(String, &str)) {
    for (kind, why) in [
        ("hostPath", "it opens the node's files; use a PersistentVolumeClaim"),
        ("secret", "further Secrets are not mounted; hand a key over by spec.server.env"),
        ("csi", "its driver may hand out Secrets; use a PersistentVolumeClaim"),
    ] {
        if volume.get(kind).is_some() {
            add(format!("{path}.{kind}"), why);
        }
    }
    let sources = volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten();
    for (index, source) in sources.enumerate() {
        for kind in ["secret", "serviceAccountToken", "clusterTrustBundle", "podCertificate"] {
            if source.get(kind).is_some() {
                let path = format!("{path}.projected.sources[{index}].{kind}");
                add(path, "further credentials are not mounted; remove it");
            }
        }
    }
}

fn check_security(path: &str, context: &Value, add: &mut impl FnMut(String, &str)) {
    let says = |field: &str, value: &Value| context.get(field) == Some(value);
    for (field, value) in [
        ("privileged", Value::Bool(true)),
        ("allowPrivilegeEscalation", Value::Bool(true)),
        ("runAsNonRoot", Value::Bool(false)),
        ("runAsUser", Value::from(0)),
    ] {
        if says(field, &value) {
            add(format!("{path}.{field}"), "the pod would have more rights than these pods have; remove it");
        }
    }
    for field in ["sysctls", "procMount", "seLinuxOptions", "windowsOptions", "appArmorProfile"] {
        if context.get(field).is_some() {
            add(
                format!("{path}.{field}"),
                "Pod Security \"restricted\" does not leave it to the pod; remove it",
            );
        }
    }
    if context.pointer("/capabilities/add").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
        add(format!("{path}.capabilities.add"), "these pods have no capability; remove it");
    }
    if context
        .pointer("/seccompProfile/type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind == "Unconfined")
    {
        add(format!("{path}.seccompProfile"), "write RuntimeDefault or Localhost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(yaml: &str) -> Vec<String> {
        let overrides: Schemaless = serde_saphyr::from_str(yaml).expect("overrides");
        let mut problems = Problems::of("ModelBackend", "b");
        check(&[], Some(&overrides), &mut problems);
        problems.into_list().into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn what_would_widen_a_pod_s_rights_is_refused_by_its_path() {
        for (yaml, path) in [
            ("{spec: {hostNetwork: true}}", "spec.hostNetwork"),
            ("{spec: {hostPID: false}}", "spec.hostPID"),
            ("{spec: {serviceAccountName: admin}}", "spec.serviceAccountName"),
            ("{spec: {automountServiceAccountToken: true}}", "spec.automountServiceAccountToken"),
            ("{spec: {nodeName: n}}", "spec.nodeName"),
            ("{spec: {securityContext: {runAsUser: 0}}}", "spec.securityContext.runAsUser"),
            (
                "{spec: {volumes: [{name: a, emptyDir: {}}, {name: h, hostPath: {path: /}}]}}",
                "spec.volumes[1].hostPath",
            ),
            ("{spec: {volumes: [{name: s, secret: {secretName: x}}]}}", "spec.volumes[0].secret"),
            (
                "{spec: {volumes: [{name: p, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}}",
                "spec.volumes[0].projected.sources[0].serviceAccountToken",
            ),
            (
                "{spec: {containers: [{name: engine, securityContext: {privileged: true}}]}}",
                "spec.containers[0].securityContext.privileged",
            ),
            (
                "{spec: {initContainers: [{name: i, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}}",
                "spec.initContainers[0].securityContext.capabilities.add",
            ),
            (
                "{spec: {containers: [{name: engine, ports: [{containerPort: 1, hostPort: 1}]}]}}",
                "spec.containers[0].ports",
            ),
            ("{spec: {containers: [{image: x}]}}", "spec.containers[0].name"),
            (
                "{metadata: {labels: {modelgate.dev/backend: other}}}",
                "metadata.labels[modelgate.dev/backend]",
            ),
            ("{metadata: {name: x}}", "metadata.name"),
            ("{replicas: 3}", "replicas"),
        ] {
            assert_eq!(paths(yaml), [format!("{PATH}.{path}")], "{yaml}");
        }
    }

    #[test]
    fn what_gives_no_right_may_be_laid_over_a_pod() {
        let yaml = "{metadata: {labels: {team: ml}}, spec: {schedulerName: volcano, hostAliases: [{ip: 10.0.0.1, hostnames: [a]}], \
            volumes: [{name: scratch, emptyDir: {}}], containers: [{name: engine, securityContext: {readOnlyRootFilesystem: false}, \
            volumeMounts: [{name: scratch, mountPath: /scratch}]}]}}";
        assert_eq!(paths(yaml), Vec::<String>::new());
    }
}
