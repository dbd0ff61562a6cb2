//! The Pod Security Standard `restricted` (v1.30), as a check of a pod's spec: what it violates, in words. Written from the
//! standard's table; fields that it restricts and that are absent count as the API server's defaults.

use serde_json::{Value, json};

/// Volume types that the standard allows.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    // Since v1.33; clusters before do not mount images by default either.
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Everything that a pod violates.
pub fn violations(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod.get(field).is_some_and(|value| value != &json!(false)) {
            found.push(format!("{field} is set"));
        }
    }
    for volume in list(pod, "volumes") {
        let kinds = volume.as_object().expect("a volume").keys().filter(|key| *key != "name");
        for kind in kinds.filter(|kind| !VOLUMES.contains(&kind.as_str())) {
            found.push(format!("volume {} is of type {kind}", volume["name"]));
        }
    }
    let own = pod.get("securityContext").cloned().unwrap_or_else(|| json!({}));
    if own.get("sysctls").is_some() {
        found.push("sysctls are set".into());
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        list(pod, kind).iter().for_each(|container| of_container(container, &own, &mut found));
    }
    found
}

fn of_container(container: &Value, pod: &Value, found: &mut Vec<String>) {
    let name = container["name"].as_str().unwrap_or_default();
    let own = container.get("securityContext").cloned().unwrap_or_else(|| json!({}));
    let mut add = |what: &str| found.push(format!("container {name}: {what}"));
    let effective = |field: &str| own.get(field).or_else(|| pod.get(field)).cloned().unwrap_or(Value::Null);
    if own.get("privileged").is_some_and(|value| value != &json!(false)) {
        add("is privileged");
    }
    if own.get("allowPrivilegeEscalation") != Some(&json!(false)) {
        add("may gain privileges");
    }
    if effective("runAsNonRoot") != true {
        add("may run as root");
    }
    if effective("runAsUser") == 0 {
        add("runs as user 0");
    }
    let seccomp = effective("seccompProfile");
    if !matches!(seccomp["type"].as_str(), Some("RuntimeDefault" | "Localhost")) {
        add("has no seccomp profile");
    }
    let drops = list(&own["capabilities"], "drop");
    if !drops.iter().any(|drop| drop == "ALL") {
        add("does not drop all capabilities");
    }
    if list(&own["capabilities"], "add").iter().any(|add| add != "NET_BIND_SERVICE") {
        add("adds capabilities");
    }
    if own.get("procMount").is_some_and(|mount| mount != "Default") {
        add("has an unmasked /proc");
    }
    if list(container, "ports").iter().any(|port| port.get("hostPort").is_some_and(|port| port != 0)) {
        add("takes a port of its node");
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
