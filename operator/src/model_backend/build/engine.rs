//! What the Deployments of all engines share.

use modelgate_api::names::backend_child;
use modelgate_api::v1alpha1::{EnvVar, HttpSource, OciSource};
use serde_json::{Map, Value, json};

use super::devices;
use super::facts::{CACHE, KEPT, MODELS};
use crate::args::Render;
use crate::k8s::child::{Child, ChildKind, Owner, Prepared};
use crate::k8s::pods::{Workload, container_security, wait_before_stop};
use crate::model_backend::validate::{Source, ValidatedServer};

/// Seconds before the stop signal: longer than a gateway keeps a stale DNS answer (2 s, or the record's TTL of 5 s).
const WAIT_BEFORE_STOP: u32 = 10;

/// The part of the Deployment that differs between engines.
pub(super) struct EnginePod {
    pub image: String,
    pub command: Option<Value>,
    pub args: Vec<String>,
    /// Variables of ours; one of the user with the same name takes its place.
    pub env: Vec<Value>,
    /// Limits beside those of the user, such as GPUs.
    pub limits: Vec<(String, Value)>,
    /// Ports beside that for requests.
    pub ports: Vec<Port>,
    pub probes: Probes,
    pub mounts: Vec<Value>,
    pub volumes: Vec<Value>,
    pub init: Vec<Value>,
    pub strategy: Value,
    pub progress_deadline: u32,
    /// Seconds to finish streams, the wait before the stop signal included.
    pub grace: u32,
}

/// A port with the name that Services and monitors use.
pub(super) struct Port {
    pub name: &'static str,
    pub port: u16,
}

pub(super) struct Probes {
    pub startup: Value,
    pub readiness: Value,
    pub liveness: Value,
}

impl EnginePod {
    pub(super) fn deployment(
        self,
        owner: &Owner,
        server: &ValidatedServer,
        render: &Render,
    ) -> Child<Prepared> {
        let mut args = self.args;
        args.extend(server.server.args.iter().cloned());
        let requests = Port { name: "http", port: server.port };
        let ports: Value = std::iter::once(&requests)
            .chain(&self.ports)
            .map(|port| json!({"name": port.name, "containerPort": port.port, "protocol": "TCP"}))
            .collect();
        let container = json!({
            "name": "engine",
            "image": self.image,
            "imagePullPolicy": render.image_pull_policy,
            "command": self.command,
            "args": args,
            "env": merge_env(self.env, &server.server.env),
            "ports": ports,
            "resources": resources(server, self.limits),
            "startupProbe": self.probes.startup,
            "readinessProbe": self.probes.readiness,
            "livenessProbe": self.probes.liveness,
            "lifecycle": wait_before_stop(WAIT_BEFORE_STOP),
            "securityContext": container_security(),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": self.mounts,
        });
        Workload {
            owner,
            name: backend_child(&owner.name),
            replicas: server.replicas,
            strategy: self.strategy,
            progress_deadline: server.rollout.deadline.unwrap_or(self.progress_deadline),
            grace: server.rollout.drain.map_or(self.grace, |drain| drain.saturating_add(WAIT_BEFORE_STOP)),
            service_account: None,
            placement: server.placement.as_ref(),
            pull_secrets: &server.pull_secrets,
            overrides: server.overrides.as_ref(),
            devices: server.accelerator.as_ref().and_then(devices::affinity),
            init: self.init,
            containers: vec![container],
            volumes: self.volumes,
        }
        .deployment()
    }
}

fn merge_env(ours: Vec<Value>, theirs: &[EnvVar]) -> Value {
    let given = |name: &Value| theirs.iter().any(|var| *name == var.name.as_str());
    let mut env: Vec<Value> = ours.into_iter().filter(|var| !given(&var["name"])).collect();
    env.extend(theirs.iter().map(|var| json!(var)));
    if env.is_empty() { Value::Null } else { Value::Array(env) }
}

fn resources(server: &ValidatedServer, limits: Vec<(String, Value)>) -> Value {
    let given = server.server.resources.clone().unwrap_or_default();
    let mut all: Map<String, Value> = Map::new();
    for (name, amount) in given.limits.into_iter().flatten() {
        all.insert(name, json!(amount));
    }
    all.extend(limits);
    let limits = if all.is_empty() { Value::Null } else { Value::Object(all) };
    match (&given.requests, &limits) {
        (None, Value::Null) => Value::Null,
        (requests, _) => json!({"requests": requests, "limits": limits}),
    }
}

/// What an engine that is not ours reads and writes: its model, a cache, shared memory, `/tmp`.
pub(super) struct Storage {
    pub mounts: Vec<Value>,
    pub volumes: Vec<Value>,
    pub init: Vec<Value>,
}

impl Storage {
    /// `file` names the file that is fetched, by its digest.
    pub(super) fn of(
        server: &ValidatedServer,
        shares_memory: bool,
        file: impl Fn(&str) -> String,
        render: &Render,
    ) -> Self {
        let mut mounts = vec![mount("cache", CACHE, false)];
        let mut volumes = vec![cache(server)];
        if shares_memory {
            mounts.push(mount("shm", "/dev/shm", false));
            volumes.push(json!({"name": "shm", "emptyDir": {"medium": "Memory"}}));
        }
        mounts.push(mount("tmp", "/tmp", false));
        volumes.push(scratch("tmp"));
        let mut init = Vec::new();
        match &server.source {
            Source::Claim(pvc) => {
                mounts.push(mount("models", MODELS, true));
                volumes.push(claim(&pvc.claim));
            }
            Source::Oci(oci) => {
                mounts.push(mount("models", MODELS, true));
                volumes.push(image_volume(oci, render));
            }
            Source::Http(http) => {
                if server.cache.is_none() {
                    mounts.push(mount("models", MODELS, true));
                    volumes.push(scratch("models"));
                }
                init.push(fetch(http, &file(&http.sha256), server, render));
            }
            Source::Hub(_) | Source::Image => {}
        }
        Self { mounts, volumes, init }
    }
}

/// With GPUs there is no spare one to surge onto: a pod goes before its successor comes. With one replica the model is away
/// meanwhile; with more the others serve.
pub(super) fn strategy(server: &ValidatedServer) -> Value {
    let (unavailable, surge) = if server.accelerator.is_some() { (1, 0) } else { (0, 1) };
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
}

/// A volume that lives and dies with the pod.
pub(super) fn scratch(name: &str) -> Value {
    json!({"name": name, "emptyDir": {}})
}

/// The volume of what is fetched and compiled.
pub(super) fn cache(server: &ValidatedServer) -> Value {
    server.cache.as_ref().map_or_else(
        || scratch("cache"),
        |cache| json!({"name": "cache", "persistentVolumeClaim": {"claimName": cache.claim}}),
    )
}

/// The claim of the cache, where one is made.
pub(super) fn cache_claim(owner: &Owner, server: &ValidatedServer) -> Option<Child<Prepared>> {
    let cache = server.cache.as_ref()?;
    let (size, class, mode) = cache.made.as_ref()?;
    let spec = json!({
        "accessModes": [mode],
        "storageClassName": class,
        "resources": {"requests": {"storage": size}},
    });
    Some(Child::new(
        ChildKind::PersistentVolumeClaim,
        cache.claim.clone(),
        owner,
        &owner.labels(),
        json!({"spec": spec}),
    ))
}

/// The volume of a model that is an image.
pub(super) fn image_volume(oci: &OciSource, render: &Render) -> Value {
    json!({"name": "models", "image": {"reference": oci.image, "pullPolicy": render.image_pull_policy}})
}

/// Folder of files that are fetched.
pub(super) fn fetched_into(server: &ValidatedServer) -> &'static str {
    if server.cache.is_some() { KEPT } else { MODELS }
}

/// Name of the init container that fetches.
pub const FETCH: &str = "fetch";

/// The init container that fetches one file and refuses it when its digest differs.
pub(super) fn fetch(http: &HttpSource, file: &str, server: &ValidatedServer, render: &Render) -> Value {
    let into =
        if server.cache.is_some() { mount("cache", CACHE, false) } else { mount("models", MODELS, false) };
    json!({
        "name": FETCH,
        "image": render.engine_image,
        "imagePullPolicy": render.image_pull_policy,
        // The port that the engine has later: who may ask the one may ask the other.
        "env": [{"name": "MODELGATE_ENGINE_PROGRESS_LISTEN", "value": format!("0.0.0.0:{}", server.port)}],
        "args": ["fetch", "--url", http.url, "--sha256", http.sha256, "--output", file],
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [into],
    })
}

/// The user's claim, read-only.
pub(super) fn claim(claim: &str) -> Value {
    json!({"name": "models", "persistentVolumeClaim": {"claimName": claim, "readOnly": true}})
}

pub(super) fn mount(name: &str, path: &str, read_only: bool) -> Value {
    let read_only = if read_only { Value::Bool(true) } else { Value::Null };
    json!({"name": name, "mountPath": path, "readOnly": read_only})
}
