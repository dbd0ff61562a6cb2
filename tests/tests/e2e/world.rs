//! The cluster with the product on it, made once for all tests, and questions about it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testkit::cache::Cache;
use testkit::cluster::{Cluster, Options};
use testkit::command::wait_until;

/// Longest wait for anything to become so.
pub const PATIENCE: Duration = Duration::from_secs(120);

static BARE: OnceLock<Cluster> = OnceLock::new();

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the checkout").to_path_buf()
}

/// A file of the checkout.
pub fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cluster with the resource definitions and nothing else of ours.
pub fn bare() -> &'static Cluster {
    BARE.get_or_init(|| {
        let cache = Cache::from_environment().expect("a cache folder");
        let cluster = Cluster::up(&cache, &Options { api_port: 0, ..Options::default() }).expect("the cluster starts");
        for crd in ["modelbackends", "modelgateways"] {
            cluster.apply(&file(&format!("crds/{crd}.yaml"))).expect("the definition is accepted");
            let name = format!("crd/{crd}.modelgate.dev");
            cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &name]).expect("established");
        }
        cluster
    })
}

/// Makes a namespace; one that a broken-off run left is removed first.
pub fn namespace(cluster: &Cluster, name: &str) {
    cluster
        .kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait", "--timeout=110s"])
        .expect("an old namespace goes");
    cluster.kubectl(&["create", "namespace", name]).expect("a namespace");
}

/// An object as JSON.
pub fn get(cluster: &Cluster, namespace: &str, object: &str) -> Result<Value> {
    let text = cluster.kubectl(&["get", object, "--namespace", namespace, "--output=json"])?;
    serde_json::from_str(&text).context("kubectl did not print JSON")
}

/// The status, reason and message of a condition.
pub fn condition(object: &Value, kind: &str) -> (String, String, String) {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    let text = |field: &str| {
        found.and_then(|condition| condition[field].as_str()).unwrap_or_default().to_owned()
    };
    (text("status"), text("reason"), text("message"))
}

/// Waits until a condition has a status; the failure shows the object's status.
pub fn await_condition(cluster: &Cluster, namespace: &str, object: &str, kind: &str, status: &str) -> Value {
    let mut last = Value::Null;
    let waited = wait_until(PATIENCE, &format!("{object} {kind}={status}"), || {
        last = get(cluster, namespace, object)?;
        let observed = last.pointer("/status/observedGeneration") == last.pointer("/metadata/generation");
        match condition(&last, kind) {
            (found, _, _) if observed && found == status => Ok(()),
            found => bail!("{found:?}"),
        }
    });
    if let Err(error) = waited {
        panic!("{error:#}\nstatus: {:#}", last["status"]);
    }
    last
}
