//! The operator against an API server that fails, delays, and does what was asked without saying so: the end is the same
//! as without faults, and no child is made twice.

use anyhow::ensure;
use serde_json::json;
use testkit::cluster::Cluster;
use testkit::cluster::product::{NAMESPACE as OPERATOR_NAMESPACE, RELEASE};
use testkit::command::wait_until;
use testkit::instruments::audit::Mark;

use crate::world::{
    GATEWAY_CHILDREN, PATIENCE, apply_in, condition, get, installed, namespace, root, start_instrument,
    start_program,
};

const NAMESPACE: &str = "e2e-faults";

const MANIFESTS: &str = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {name: fake}\nspec: {model: {name: m}, fake: {}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {name: code}\nspec:\n  auth: {anonymous: true, anonymousExposed: true}\n  replicas: 1\n  routes: [{name: code, backends: [{name: fake}]}]\n";

fn scale_installed(cluster: &Cluster, replicas: &str) {
    let selector = format!("--selector=app.kubernetes.io/instance={RELEASE}");
    let replicas = format!("--replicas={replicas}");
    cluster
        .kubectl(&["scale", "deployment", &selector, "--namespace", OPERATOR_NAMESPACE, &replicas])
        .unwrap();
}

/// An operator of its own beside the cluster, whose every request goes through the fault proxy.
fn start_faulty_operator(cluster: &Cluster) {
    let server = "http://127.0.0.1:9301";
    let config = cluster.layout().at("faults.kubeconfig");
    let content = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
    });
    std::fs::write(&config, content.to_string()).unwrap();
    let kubectl = cluster.tools().program(&testkit::tools::KUBERNETES, "kubectl").unwrap();
    let admin = format!("--kubeconfig={}", cluster.layout().at("faults-admin.kubeconfig").display());
    let inner = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let inner = inner.replace(&cluster.api_url(), "https://192.168.77.10:6443");
    std::fs::write(cluster.layout().at("faults-admin.kubeconfig"), inner).unwrap();
    start_program(cluster, 9300, &kubectl, &[&admin, "proxy", "--port=9300"], &[]);

    let fault = |method: &str, path: &str, nth: u64, action| json!({"method": method, "path": path, "nth": nth, "action": action});
    let plan = json!([
        fault("*", "/deployments/code-gateway", 1, json!("cut")),
        fault("*", "/services/code-gateway", 1, json!("fail")),
        fault("*", "/configmaps/code-gateway", 1, json!({"delay": 1500})),
        fault("*", "/serviceaccounts/code-gateway", 1, json!("cut")),
        fault("*", "/modelgateways/code/status", 1, json!("fail")),
        fault("*", "/modelgateways/code/status", 3, json!("cut")),
    ]);
    let plan = format!("--plan={plan}");
    start_instrument(
        cluster,
        9301,
        &["fault-proxy", "--listen=127.0.0.1:9301", "--upstream=127.0.0.1:9300", &plan],
    );

    let operator = root().join("target/release/modelgate-operator");
    let arguments = [
        "run",
        "--lease-namespace",
        NAMESPACE,
        "--watch-namespaces",
        NAMESPACE,
        "--metrics-listen=127.0.0.1:9302",
        "--health-listen=127.0.0.1:9303",
    ];
    let config = config.display().to_string();
    start_program(cluster, 9302, &operator, &arguments, &[("KUBECONFIG", config.as_str())]);
}

#[test]
fn lost_answers_refusals_and_delays_lead_to_the_same_end() {
    let cluster = installed();
    scale_installed(cluster, "0");
    namespace(cluster, NAMESPACE);
    apply_in(cluster, NAMESPACE, MANIFESTS);
    let mark = Mark::now(&cluster.audit_log()).unwrap();
    start_faulty_operator(cluster);
    let waited = wait_until(PATIENCE, "the gateway ready in spite of the faults", || {
        let object = get(cluster, NAMESPACE, "modelgateway/code")?;
        ensure!(condition(&object, "Ready").0 == "True", "{}", object["status"]);
        Ok(())
    });
    crate::world::stop_program(9302);
    scale_installed(cluster, "2");
    waited.unwrap();
    for child in GATEWAY_CHILDREN {
        get(cluster, NAMESPACE, child).unwrap();
    }
    // Server-side apply answers 201 when it creates: each child was made once, and none was deleted.
    let ours = mark.writes(|write| write.namespace == NAMESPACE && write.name == "code-gateway").unwrap();
    for child in GATEWAY_CHILDREN {
        let (kind, _) = child.split_once('/').unwrap();
        let plural = kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
        let made = ours.iter().filter(|write| write.resource == plural && write.code == 201).count();
        assert_eq!(made, 1, "{child}: {ours:#?}");
    }
    assert!(ours.iter().all(|write| write.verb != "delete"), "{ours:#?}");
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).unwrap();
}
