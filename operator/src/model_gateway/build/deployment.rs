//! The gateway's Deployment. The configuration's content is not part of its pod template: pods reload it while they run.
//! Only a Secret that they do not mount yet, a port or an image makes new pods.

use modelgate_api::names::{CONFIG_DIR, CONFIG_FILE, CONFIG_MAPS_DIR, CONTROL_PORT, SECRETS_DIR};
use serde_json::{Value, json};

use crate::args::Render;
use crate::k8s::child::{Child, Prepared};
use crate::k8s::pods::{Workload, container_security, http_probe, wait_before_stop};
use crate::model_gateway::validate::ValidatedGateway;

/// Seconds before the stop signal, in which kube-proxies and ingress controllers forget the pod.
const WAIT_BEFORE_STOP: u32 = 5;
/// Seconds from then to the kill: what streams are given to finish.
const GRACE: u32 = 60;

pub(super) fn deployment(gateway: &ValidatedGateway, name: &str, render: &Render) -> Child<Prepared> {
    let (spec, config) = (&gateway.spec, &gateway.config);
    let (secrets, maps) = (config.secrets(), config.config_maps());
    let port = |name: &str, port: u16| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let container = json!({
        "name": "gateway",
        "image": render.gateway_image,
        "imagePullPolicy": render.image_pull_policy,
        "args": [
            "--config", format!("{CONFIG_DIR}/{CONFIG_FILE}"),
            "--listen", format!("0.0.0.0:{}", config.http_port),
            "--metrics-listen", format!("0.0.0.0:{}", config.metrics_port),
            "--control-listen", format!("0.0.0.0:{CONTROL_PORT}"),
            "--secrets", SECRETS_DIR,
            "--config-maps", CONFIG_MAPS_DIR,
        ],
        "env": env(render),
        "ports": [
            port("http", config.http_port),
            port("metrics", config.metrics_port),
            port("control", CONTROL_PORT),
        ],
        "resources": spec.resources,
        "startupProbe": http_probe("/livez", "control", 1, 60),
        "readinessProbe": http_probe("/readyz", "control", 2, 2),
        "livenessProbe": http_probe("/livez", "control", 10, 3),
        "lifecycle": wait_before_stop(WAIT_BEFORE_STOP),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(&secrets, &maps),
    });
    Workload {
        owner: &gateway.owner,
        replicas: spec.replicas.unwrap_or(2),
        // No request is dropped: a new pod is ready before an old one goes.
        strategy: json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
        progress_deadline: 600,
        grace: GRACE,
        service_account: Some(name),
        devices: None,
        placement: spec.placement.as_ref(),
        pull_secrets: &spec.image_pull_secrets,
        overrides: spec.pod_overrides.as_ref(),
        init: Vec::new(),
        containers: vec![container],
        volumes: volumes(name, &secrets, &maps),
        name: name.to_owned(),
    }
    .deployment()
}

/// What the operator was told to give to every gateway; nothing when it was told nothing.
fn env(render: &Render) -> Option<Vec<Value>> {
    let given = &render.gateway_env;
    let list = given.iter().map(|(name, value)| json!({"name": name, "value": value}));
    (!given.is_empty()).then(|| list.collect())
}

/// Whole folders: a `subPath` would never see a change.
fn mounts(secrets: &[String], maps: &[String]) -> Vec<Value> {
    let mount = |name: String, path: String| json!({"name": name, "mountPath": path, "readOnly": true});
    let mut mounts = vec![mount("config".into(), CONFIG_DIR.into())];
    mounts.extend(
        secrets.iter().map(|secret| mount(volume_name("secret", secret), format!("{SECRETS_DIR}/{secret}"))),
    );
    mounts.extend(maps.iter().map(|map| mount(volume_name("map", map), format!("{CONFIG_MAPS_DIR}/{map}"))));
    mounts.push(json!({"name": "tmp", "mountPath": "/tmp"}));
    mounts
}

/// A Secret or ConfigMap that is missing keeps no pod from starting: the gateway says what lacks it.
fn volumes(config_map: &str, secrets: &[String], maps: &[String]) -> Vec<Value> {
    let mut volumes = vec![json!({"name": "config", "configMap": {"name": config_map}})];
    volumes.extend(secrets.iter().map(
        |secret| json!({"name": volume_name("secret", secret), "secret": {"secretName": secret, "optional": true}}),
    ));
    volumes.extend(
        maps.iter().map(
            |map| json!({"name": volume_name("map", map), "configMap": {"name": map, "optional": true}}),
        ),
    );
    volumes.push(json!({"name": "tmp", "emptyDir": {}}));
    volumes
}

/// A volume's name is a DNS label of 63 characters, an object's a DNS name of 253: what does not fit is told apart by a
/// hash, so the name depends on the object alone.
fn volume_name(kind: &str, object: &str) -> String {
    use sha2::{Digest, Sha256};

    let fits = object.len() <= 56 && !object.contains('.');
    if fits {
        return format!("{kind}-{object}");
    }
    let digest = Sha256::digest(object.as_bytes());
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}-{hash}")
}
