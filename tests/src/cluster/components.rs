//! The programs of the cluster, in the order in which they start.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::layout::{DOMAIN, FAKE_GPUS, Layout, NODE, NODE_ADDRESS, SERVICE_RANGE};
use crate::tools::{COREDNS, ETCD, KUBERNETES, Tools};

/// One program that is kept running.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Component {
    /// Its name, also of its log.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What it waits for before it starts.
    pub after: Option<After>,
}

/// What a component waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// A `host:port` that accepts connections.
    Accepts(String),
    /// A command that succeeds within a few seconds.
    Succeeds(Vec<String>),
}

/// Every component. `testkit` is this program, which also serves inside.
///
/// # Errors
/// When a tool is not built.
pub fn all(layout: &Layout, tools: &Tools, testkit: &Path) -> Result<Vec<Component>> {
    let kube = tools.program(&KUBERNETES, "kube")?.to_string_lossy().into_owned();
    let testkit = testkit.to_string_lossy().into_owned();
    let component = |name: &str, program: &[&str], arguments: Vec<String>, after: Option<After>| Component {
        name: name.to_owned(),
        command: program.iter().map(ToString::to_string).chain(arguments).collect(),
        after,
    };
    // Ready and not only listening: before that the roles of the others are not there yet, and they give up.
    let kubeconfig = format!("--kubeconfig={}", layout.inner_kubeconfig("node-agent"));
    let ask = [&kube, "kubectl", &kubeconfig, "get", "--raw", "/readyz", "--request-timeout=3s"];
    let api_ready = || Some(After::Succeeds(ask.iter().map(ToString::to_string).collect()));
    let etcd_up = Some(After::Accepts("127.0.0.1:2379".to_owned()));
    let part = |name: &str, arguments: Vec<String>| component(name, &[&kube, name], arguments, api_ready());
    let etcd_program = tools.program(&ETCD, "etcd")?.to_string_lossy().into_owned();
    let dns_program = tools.program(&COREDNS, "coredns")?.to_string_lossy().into_owned();
    let containerd = vec!["--config".to_owned(), layout.text("etc/containerd.toml")];
    let socket = vec!["--socket".to_owned(), layout.relay_socket().to_string_lossy().into_owned()];
    Ok(vec![
        component("relay", &[&testkit, "cluster-relay"], socket, None),
        component("containerd", &["containerd"], containerd, None),
        component("etcd", &[&etcd_program], etcd(layout), None),
        component("kube-apiserver", &[&kube, "kube-apiserver"], api_server(layout), etcd_up),
        part("kube-controller-manager", controller_manager(layout)),
        part("kube-scheduler", scheduler(layout)),
        part("kubelet", kubelet(layout)),
        part("kube-proxy", flags(&[("config", &layout.text("etc/kube-proxy.yaml"))])),
        component(
            "coredns",
            &[&dns_program],
            vec!["-conf".to_owned(), layout.text("etc/Corefile")],
            api_ready(),
        ),
        component("node-agent", &[&testkit, "cluster-node-agent"], node_agent(layout, tools)?, api_ready()),
    ])
}

fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

fn etcd(layout: &Layout) -> Vec<String> {
    flags(&[
        ("data-dir", &layout.text("etcd")),
        ("listen-client-urls", "http://127.0.0.1:2379"),
        ("advertise-client-urls", "http://127.0.0.1:2379"),
        ("listen-peer-urls", "http://127.0.0.1:2380"),
        // The data dies with the cluster, so it need not survive a power failure.
        ("unsafe-no-fsync", "true"),
        ("log-level", "warn"),
    ])
}

fn api_server(layout: &Layout) -> Vec<String> {
    let issuer = format!("https://kubernetes.default.svc.{DOMAIN}");
    flags(&[
        ("advertise-address", NODE_ADDRESS),
        ("secure-port", "6443"),
        ("etcd-servers", "http://127.0.0.1:2379"),
        ("client-ca-file", &layout.pki("ca.crt")),
        // Nobody holds such a certificate; without this setting others wait for a file that never comes.
        ("requestheader-client-ca-file", &layout.pki("ca.crt")),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-username-headers", "X-Remote-User"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("tls-cert-file", &layout.pki("apiserver.crt")),
        ("tls-private-key-file", &layout.pki("apiserver.key")),
        ("kubelet-certificate-authority", &layout.pki("ca.crt")),
        ("kubelet-client-certificate", &layout.pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", &layout.pki("apiserver-kubelet-client.key")),
        // Else logs and exec look up the node's name in a DNS that does not hold it.
        ("kubelet-preferred-address-types", "InternalIP"),
        ("service-account-issuer", &issuer),
        ("service-account-jwks-uri", &format!("{issuer}/openid/v1/jwks")),
        ("service-account-key-file", &layout.pki("sa.pub")),
        ("service-account-signing-key-file", &layout.pki("sa.key")),
        ("service-cluster-ip-range", SERVICE_RANGE),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("allow-privileged", "true"),
        ("audit-policy-file", &layout.text("etc/audit.yaml")),
        ("audit-log-path", &layout.audit_log().to_string_lossy()),
        ("audit-log-mode", "blocking"),
        ("profiling", "false"),
    ])
}

fn controller_manager(layout: &Layout) -> Vec<String> {
    let kubeconfig = layout.inner_kubeconfig("controller-manager");
    flags(&[
        ("kubeconfig", &kubeconfig),
        ("authentication-kubeconfig", &kubeconfig),
        ("authorization-kubeconfig", &kubeconfig),
        ("root-ca-file", &layout.pki("ca.crt")),
        ("service-account-private-key-file", &layout.pki("sa.key")),
        ("use-service-account-credentials", "true"),
        ("leader-elect", "false"),
    ])
}

fn scheduler(layout: &Layout) -> Vec<String> {
    let kubeconfig = layout.inner_kubeconfig("scheduler");
    flags(&[
        ("kubeconfig", &kubeconfig),
        ("authentication-kubeconfig", &kubeconfig),
        ("authorization-kubeconfig", &kubeconfig),
        ("leader-elect", "false"),
    ])
}

fn kubelet(layout: &Layout) -> Vec<String> {
    flags(&[
        ("config", &layout.text("etc/kubelet.yaml")),
        ("kubeconfig", &layout.inner_kubeconfig("kubelet")),
        ("root-dir", &layout.text("kubelet")),
        ("hostname-override", NODE),
        ("node-ip", NODE_ADDRESS),
        ("node-labels", "nvidia.com/gpu.product=Fake"),
    ])
}

fn node_agent(layout: &Layout, tools: &Tools) -> Result<Vec<String>> {
    Ok(flags(&[
        ("kubectl", &tools.program(&KUBERNETES, "kubectl")?.to_string_lossy()),
        ("kubeconfig", &layout.inner_kubeconfig("node-agent")),
        ("gpus", &FAKE_GPUS.to_string()),
    ]))
}
