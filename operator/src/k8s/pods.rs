//! What both kinds of pods have in common: the restricted security context, volumes, placement. Pure.

use modelgate_api::v1alpha1::{MonitoringMode, MonitoringSpec, Placement, PullSecret, Schemaless};
use serde_json::{Value, json};

use super::child::{Child, ChildKind, Owner, Prepared};
use super::overrides;
use crate::args::Render;

/// User and group of our images.
const USER: i64 = 65_532;
/// Time between two scrapes when the spec names none; the reference platform's monitors use the same.
const SCRAPE_INTERVAL: &str = "30s";

/// A Deployment's shell around its containers.
pub struct Workload<'a> {
    /// The resource it belongs to.
    pub owner: &'a Owner,
    /// Its name.
    pub name: String,
    /// Pods.
    pub replicas: i32,
    /// `spec.strategy`.
    pub strategy: Value,
    /// Seconds without progress after which the rollout counts as failed.
    pub progress_deadline: u32,
    /// Seconds between the stop signal and the kill, preStop included.
    pub grace: u32,
    /// ServiceAccount; absent means the namespace's default, whose token is not mounted either.
    pub service_account: Option<&'a str>,
    /// Nodes.
    pub placement: Option<&'a Placement>,
    /// Secrets for pulling images.
    pub pull_secrets: &'a [PullSecret],
    /// What the user lays over the template.
    pub overrides: Option<&'a Schemaless>,
    /// `nodeAffinity` that the devices ask for.
    pub devices: Option<Value>,
    /// `initContainers`.
    pub init: Vec<Value>,
    /// `containers`.
    pub containers: Vec<Value>,
    /// `volumes`.
    pub volumes: Vec<Value>,
}

impl Workload<'_> {
    /// The Deployment.
    #[must_use]
    pub fn deployment(self) -> Child<Prepared> {
        let labels = self.owner.labels();
        let placement = self.placement.cloned().unwrap_or_default();
        let pod = json!({
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "serviceAccountName": self.service_account,
            "terminationGracePeriodSeconds": self.grace,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "nodeSelector": placement.node_selector,
            "affinity": overrides::affinity(placement.affinity.as_ref(), self.devices),
            "tolerations": non_empty(placement.tolerations.iter().map(|toleration| json!(toleration)).collect()),
            "topologySpreadConstraints": non_empty(spread(&placement, self.owner)),
            "priorityClassName": placement.priority_class_name,
            "runtimeClassName": placement.runtime_class_name,
            "imagePullSecrets": non_empty(self.pull_secrets.iter().map(|secret| json!(secret)).collect()),
            "initContainers": non_empty(self.init),
            "containers": self.containers,
            "volumes": non_empty(self.volumes),
        });
        let mut template = json!({"metadata": {"labels": labels}, "spec": pod});
        if let Some(given) = self.overrides {
            overrides::lay(&mut template, given);
        }
        let spec = json!({
            "replicas": self.replicas,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": self.progress_deadline,
            "selector": {"matchLabels": self.owner.selector()},
            "strategy": self.strategy,
            "template": template,
        });
        Child::new(ChildKind::Deployment, self.name, self.owner, &labels, json!({"spec": spec}))
    }
}

/// Constraints count the owner's own pods unless they say otherwise.
fn spread(placement: &Placement, owner: &Owner) -> Vec<Value> {
    let constraints = placement.topology_spread.iter().map(|constraint| {
        let mut constraint = constraint.0.clone();
        constraint.entry("labelSelector").or_insert_with(|| json!({"matchLabels": owner.selector()}));
        Value::Object(constraint)
    });
    constraints.collect()
}

fn non_empty(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { Value::Array(list) }
}

/// Security context of every container of ours: Pod Security Standard `restricted`, with a root file system that is
/// read-only.
#[must_use]
pub fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// `lifecycle` that waits before the stop signal, so that whoever still holds the pod's address stops using it first.
#[must_use]
pub fn wait_before_stop(seconds: u32) -> Value {
    json!({"preStop": {"sleep": {"seconds": seconds}}})
}

/// A probe that only connects to a named port.
#[must_use]
pub fn tcp_probe(port: &str, period: u32, failures: u32) -> Value {
    json!({
        "tcpSocket": {"port": port},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    })
}

/// `GET` probe of a named port.
#[must_use]
pub fn http_probe(path: &str, port: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    })
}

/// Whether a ServiceMonitor is wanted.
#[must_use]
pub fn is_monitored(spec: Option<&MonitoringSpec>) -> bool {
    spec.is_none_or(|spec| spec.mode != MonitoringMode::Disabled)
}

/// The ServiceMonitor of `owner`, unless its spec says `Disabled`. `access` is what a scrape must give besides: members
/// of the endpoint, or null.
#[must_use]
pub fn monitor(
    owner: &Owner,
    name: String,
    port: &str,
    spec: Option<&MonitoringSpec>,
    access: Value,
    render: &Render,
) -> Option<Child<Prepared>> {
    let spec = spec.cloned().unwrap_or_default();
    let defaults = match spec.mode {
        MonitoringMode::Disabled => return None,
        MonitoringMode::Manual => None,
        MonitoringMode::Auto => Some(&render.monitor_labels),
    };
    let mut labels = owner.labels();
    // The spec's own first; labels by which we find our own children cannot be overridden.
    for (key, value) in spec.labels.iter().flatten().chain(defaults.into_iter().flatten()) {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let interval = spec.interval.map_or_else(|| SCRAPE_INTERVAL.to_owned(), |interval| interval.0);
    let mut endpoint = json!({"port": port, "path": "/metrics", "interval": interval});
    if let (Value::Object(endpoint), Value::Object(access)) = (&mut endpoint, access) {
        endpoint.extend(access);
    }
    let fields = json!({"spec": {
        "selector": {"matchLabels": owner.scraped_selector()},
        "endpoints": [endpoint],
        "targetLabels": [owner.kind.label()],
    }});
    Some(Child::new(ChildKind::ServiceMonitor, name, owner, &labels, fields))
}
