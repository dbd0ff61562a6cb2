//! The chart's admission policies on a real API server: the operator's own account is held to what it is for, and users are
//! warned.

use testkit::cluster::Cluster;

use crate::world::{self, OPERATOR_NAMESPACE, RELEASE, installed, namespace};

const NAMESPACE: &str = "e2e-admission";

/// What the API server says to a command; the second part is whether it obeyed.
fn kubectl(cluster: &Cluster, arguments: &[&str], input: &str) -> (bool, String) {
    let path = cluster.layout().at("e2e-admission.yaml");
    std::fs::write(&path, input).expect("a file");
    let mut command = cluster.kubectl_command().expect("kubectl");
    command.args(["--namespace", NAMESPACE]).args(arguments);
    if !input.is_empty() {
        command.arg("--filename").arg(&path);
    }
    let output = command.output().expect("kubectl runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn pod(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec: {{automountServiceAccountToken: false, nodeSelector: {{none: such}}, containers: [{{name: c, image: x}}]}}\n"
    )
}

fn deployment(name: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, labels: {{app.kubernetes.io/managed-by: modelgate-operator}}, ownerReferences: [{{apiVersion: modelgate.dev/v1alpha1, kind: ModelBackend, name: b, uid: \"0\", controller: true}}]}}\nspec: {{replicas: 0, selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{{pod}automountServiceAccountToken: false, containers: [{{name: c, image: x, securityContext: {{allowPrivilegeEscalation: false}}}}]}}}}}}\n"
    )
}

#[test]
#[ignore = "kubectl reads the pod before it writes, which the operator's account may not; ask the API server directly"]
fn the_operators_account_writes_its_own_objects_alone_and_of_pods_one_annotation() {
    let cluster = installed();
    namespace(cluster, NAMESPACE);
    let account = format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{RELEASE}-operator");
    for (name, labels) in [("ours", "app.kubernetes.io/managed-by: modelgate-operator"), ("foreign", "a: b")]
    {
        world::apply_in(cluster, NAMESPACE, &pod(name, labels));
    }
    kubectl(cluster, &["create", "deployment", "foreign", "--image=x", "--replicas=0"], "");
    let apply: &[&str] = &["apply", "--server-side", "--field-manager=modelgate-operator"];
    let allowed: [(&[&str], String); 2] = [
        (&["annotate", "pod", "ours", "modelgate.dev/nudge=1"], String::new()),
        (apply, deployment("ours", "")),
    ];
    let refused: [(&[&str], String, &str); 9] = [
        (
            &["annotate", "pod", "ours", "other=1"],
            String::new(),
            "no annotation of a pod but modelgate.dev/nudge",
        ),
        (&["label", "pod", "ours", "other=1"], String::new(), "neither a pod's spec nor its labels"),
        (&["set", "image", "pod/ours", "c=evil"], String::new(), "neither a pod's spec nor its labels"),
        (&["annotate", "pod", "foreign", "modelgate.dev/nudge=1"], String::new(), "its own workloads alone"),
        (&["delete", "deployment", "foreign"], String::new(), "its own resources alone"),
        (
            apply,
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n".into(),
            "its own resources alone",
        ),
        (apply, deployment("net", "hostNetwork: true, "), "share no namespace with their node"),
        (
            apply,
            deployment("path", "volumes: [{name: h, hostPath: {path: /}}], "),
            "mount nothing of their node",
        ),
        (
            apply,
            deployment("token", "").replace("Token: false", "Token: true"),
            "no credential of the cluster",
        ),
    ];
    for (arguments, input) in allowed {
        let arguments: Vec<&str> = arguments.iter().copied().chain([account.as_str()]).collect();
        let (obeyed, said) = kubectl(cluster, &arguments, &input);
        assert!(obeyed, "{arguments:?}: {said}");
    }
    for (arguments, input, expected) in refused {
        let arguments: Vec<&str> = arguments.iter().copied().chain([account.as_str()]).collect();
        let (obeyed, said) = kubectl(cluster, &arguments, &input);
        assert!(!obeyed && said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn users_are_warned_of_what_is_open_or_unpinned_and_not_kept_from_it() {
    let cluster = installed();
    if world::get(cluster, "", &format!("namespace/{NAMESPACE}")).is_err() {
        namespace(cluster, NAMESPACE);
    }
    let spec = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {name: b}\nspec: {model: {name: m, source: {hf: {repo: o/m, revision: main}}}, server: {engine: VLLM, image: \"vllm/vllm-openai:v1\"}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {name: g}\nspec: {auth: {anonymous: true, anonymousExposed: true}, expose: {type: Ingress}, routes: [{name: r, backends: [{name: b}]}]}\n";
    let (obeyed, said) = kubectl(cluster, &["apply", "--dry-run=server"], spec);
    assert!(obeyed, "{said}");
    for field in
        ["spec.server.image: a tag", "spec.model.source.hf.revision", "spec.auth.anonymous with spec.expose"]
    {
        assert!(said.contains(field), "{field}: {said}");
    }
    let pinned = spec
        .replace("revision: main", &format!("revision: {}", "a".repeat(40)))
        .replace("openai:v1", &format!("openai@sha256:{}", "0".repeat(64)))
        .replace("expose: {type: Ingress}, ", "");
    let (obeyed, said) = kubectl(cluster, &["apply", "--dry-run=server"], &pinned);
    assert!(obeyed && !said.contains("Warning"), "{said}");
}
