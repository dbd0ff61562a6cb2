//! The cluster with the product on it, made once for all tests, and questions about it.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testkit::cache::Cache;
use testkit::cluster::{Cluster, Options};
use testkit::command::{output, wait_until};

pub use testkit::cluster::layout::NODE_ADDRESS;
pub use testkit::cluster::product::{NAMESPACE as OPERATOR_NAMESPACE, RELEASE};

/// Longest wait for anything to become so.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What the operator makes for a ModelGateway `code` that is not exposed.
pub const GATEWAY_CHILDREN: [&str; 7] = [
    "configmap/code-gateway",
    "deployment/code-gateway",
    "service/code-gateway",
    "serviceaccount/code-gateway",
    "poddisruptionbudget/code-gateway",
    "networkpolicy/code-gateway",
    "servicemonitor/code-gateway",
];

static BARE: OnceLock<Cluster> = OnceLock::new();
static INSTALLED: OnceLock<()> = OnceLock::new();
/// Processes that the tests started inside the cluster; the cluster's end takes them along.
static HELPERS: Mutex<Vec<(u16, Child)>> = Mutex::new(Vec::new());

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
        let cluster =
            Cluster::up(&cache, &Options { api_port: 0, ..Options::default() }).expect("the cluster starts");
        for crd in ["modelbackends", "modelgateways"] {
            cluster.apply(&file(&format!("crds/{crd}.yaml"))).expect("the definition is accepted");
            let name = format!("crd/{crd}.modelgate.dev");
            cluster
                .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &name])
                .expect("established");
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
    let text =
        |field: &str| found.and_then(|condition| condition[field].as_str()).unwrap_or_default().to_owned();
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

/// The cluster with Prometheus and the product, from the release binaries that `make test-cluster` built.
pub fn installed() -> &'static Cluster {
    let cluster = bare();
    INSTALLED.get_or_init(|| {
        cluster.install_monitoring().expect("Prometheus and its operator run");
        cluster.install_product(&root().join("target/release")).expect("the product is installed");
    });
    cluster
}

/// Applies manifests into a namespace as a user would.
pub fn apply_in(cluster: &Cluster, namespace: &str, yaml: &str) {
    let mut command = cluster.kubectl_command().expect("kubectl");
    command.args(["apply", "--namespace", namespace, "--filename=-"]);
    output(&mut command, Some(yaml), PATIENCE).unwrap_or_else(|error| panic!("{error:#}\n{yaml}"));
}

/// Model files as claim `models`: the small model, and a file that is none.
pub fn model_claim(cluster: &Cluster, namespace: &str) {
    let cache = Cache::from_environment().expect("a cache folder");
    let model = testkit::model::fetch(&cache).expect("the small model");
    let folder = cluster.layout().at("models");
    std::fs::create_dir_all(&folder).expect("a folder");
    let copy = folder.join(testkit::model::FILE);
    if !copy.exists() {
        std::fs::copy(model, copy).expect("a copy of the model");
    }
    std::fs::write(folder.join("not-a-model.gguf"), "GGUF? no.\n").expect("a file");
    cluster.publish_models(namespace, &folder).expect("the claim");
}

/// A namespace with a fake backend `fake` (model `fake-model`) and a gateway `code` that serves it and is ready; `extra`
/// are further lines of the gateway's spec. A namespace that has it already is put back into that state.
pub fn fake_gateway(cluster: &Cluster, name: &str, extra: &str) {
    if cluster.kubectl(&["get", "namespace", name]).is_err() {
        namespace(cluster, name);
    }
    let manifests = format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: fake}}\nspec: {{model: {{name: fake-model}}, fake: {{text: hello}}}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: code}}\nspec:\n  auth: {{anonymous: true, anonymousExposed: true}}\n  monitoring: {{labels: {{prometheus: main}}}}\n{extra}  routes: [{{name: code, backends: [{{name: fake}}]}}]\n"
    );
    apply_in(cluster, name, &manifests);
    await_condition(cluster, name, "modelgateway/code", "Ready", "True");
}

/// Starts an echo upstream on the node, reachable from pods at [`NODE_ADDRESS`], if that port has none yet.
pub fn start_echo(cluster: &Cluster, port: u16, token: Option<&str>) {
    let listen = format!("--listen={NODE_ADDRESS}:{port}");
    let token = token.map(|token| format!("--token={token}"));
    let arguments: Vec<&str> = ["echo", &listen].into_iter().chain(token.as_deref()).collect();
    start_instrument(cluster, port, &arguments);
    wait_until(PATIENCE, "the echo upstream", || {
        let way = cluster.forward(&format!("{NODE_ADDRESS}:{port}"), 0)?;
        let request = testkit::instruments::http::Request::get("/v1/models");
        testkit::instruments::http::send(way.address(), &request, Duration::from_secs(5)).map(|_| ())
    })
    .expect("it answers");
}

/// Starts an instrument inside the cluster, once for each port.
pub fn start_instrument(cluster: &Cluster, port: u16, arguments: &[&str]) {
    start_program(cluster, port, Path::new(env!("CARGO_BIN_EXE_instrument")), arguments, &[]);
}

/// Starts a program inside the cluster, known by a port of its own; once for each port. Its output goes to the cluster's logs.
pub fn start_program(
    cluster: &Cluster,
    port: u16,
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) {
    let mut helpers = HELPERS.lock().expect("no test died holding it");
    if helpers.iter().any(|(taken, _)| *taken == port) {
        return;
    }
    let log = std::fs::File::create(cluster.layout().log(&format!("e2e-{port}"))).expect("a log file");
    // nsenter stays before the program as its parent; without this the program outlives it.
    let mut command = cluster.exec("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a second handle")).stderr(log);
    helpers.push((port, command.spawn().expect("the program starts")));
}

/// Ends a program started by [`start_program`].
pub fn stop_program(port: u16) {
    let mut helpers = HELPERS.lock().expect("no test died holding it");
    if let Some(at) = helpers.iter().position(|(taken, _)| *taken == port) {
        let (_, mut child) = helpers.remove(at);
        child.kill().expect("it ends");
        child.wait().expect("it ended");
    }
}
