//! The configuration files of the cluster's components.
//!
//! Values that are unusual are here because a kernel in a container or a small virtual machine needs them.

use anyhow::{Context, Result};

use super::layout::{DNS_SERVICE, DOMAIN, Layout, NODE, NODE_ADDRESS, PAUSE_IMAGE, POD_RANGE};

/// Who wrote what: every write with its user, verb and object; reads are left out.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
# Of reads only the operator's are logged, so that its rights can be compared with what it used.
- level: Metadata
  users: ['system:serviceaccount:modelgate-system:modelgate-operator']
- level: None
  verbs: [get, list, watch]
- level: None
  nonResourceURLs: ['*']
- level: Metadata
";

/// Writes every configuration file.
///
/// # Errors
/// When one cannot be written.
pub fn write(layout: &Layout, cgroup: &str, snapshotter: &str) -> Result<()> {
    let file = |path: &str, text: &str| -> Result<()> {
        let path = layout.at(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    file("etc/audit.yaml", AUDIT_POLICY)?;
    file("etc/containerd.toml", &containerd(layout, snapshotter))?;
    file("etc/cni/10-modelgate.conflist", &cni(layout))?;
    file("etc/kubelet.yaml", &kubelet(layout, cgroup))?;
    file("etc/kube-proxy.yaml", &kube_proxy(layout))?;
    file("etc/Corefile", &corefile(layout))?;
    // What programs of the host see inside the namespaces: Services have names there.
    file(
        "etc/resolv.conf",
        &format!("nameserver {DNS_SERVICE}\nsearch svc.{DOMAIN} {DOMAIN}\noptions ndots:5\n"),
    )?;
    // What pods inherit: nothing, for there is no name server outside.
    file("etc/resolv.pods.conf", "")
}

fn containerd(layout: &Layout, snapshotter: &str) -> String {
    let (root, opt, cni) = (layout.text("containerd"), layout.text("containerd-opt"), layout.text("etc/cni"));
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "{opt}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# Without CAP_SYS_RESOURCE a lower score cannot be set, and runc dies before it can say so.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"
"#
    )
}

/// Point-to-point links, every packet routed by the node: a bridge would need a kernel module to let Service
/// addresses work between pods of one node.
fn cni(layout: &Layout) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "modelgate",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": layout.text("cni-addresses"),
                "ranges": [[{"subnet": "10.244.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
    .to_string()
}

fn kubelet(layout: &Layout, cgroup: &str) -> String {
    let (ca, certificate, key) =
        (layout.pki("ca.crt"), layout.pki("kubelet-server.crt"), layout.pki("kubelet-server.key"));
    let (resolver, plugins) = (layout.text("etc/resolv.pods.conf"), layout.text("kubelet-plugins"));
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {NODE_ADDRESS}
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: '{ca}'}}}}
authorization: {{mode: Webhook}}
tlsCertFile: '{certificate}'
tlsPrivateKeyFile: '{key}'
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
clusterDNS: [{DNS_SERVICE}]
clusterDomain: {DOMAIN}
resolvConf: '{resolver}'
volumePluginDir: '{plugins}'
serializeImagePulls: false
registerWithTaints: []
# A full disk of the person's machine must not empty the cluster.
evictionHard: {{memory.available: '0%', nodefs.available: '0%', imagefs.available: '0%', nodefs.inodesFree: '0%'}}
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 48h
nodeStatusUpdateFrequency: 5s
"
    )
}

fn kube_proxy(layout: &Layout) -> String {
    let kubeconfig = layout.inner_kubeconfig("kube-proxy");
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {POD_RANGE}
hostnameOverride: {NODE}
clientConnection: {{kubeconfig: '{kubeconfig}'}}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
nftables: {{minSyncPeriod: 0s}}
"
    )
}

/// No forwarding: every address stays on this machine, and an outside name fails at once instead of hanging.
fn corefile(layout: &Layout) -> String {
    let kubeconfig = layout.inner_kubeconfig("coredns");
    format!(
        ".:53 {{
    errors
    health 127.0.0.1:8054
    ready 127.0.0.1:8055
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 2
    }}
    cache {{
        success 9984 2
        denial 9984 1
    }}
}}
"
    )
}
