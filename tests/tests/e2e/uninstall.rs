//! What the product leaves behind when its resources and it are deleted: nothing. Stands last, because the product is gone
//! after it.

use anyhow::ensure;
use testkit::command::wait_until;

use crate::world::{self, OPERATOR_NAMESPACE, PATIENCE, RELEASE, fake_gateway, installed};

const NAMESPACE: &str = "e2e-uninstall";

#[test]
fn deleting_everything_leaves_nothing() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "  expose: {type: Ingress, host: code.example.com}\n");
    assert!(world::get(cluster, NAMESPACE, "ingress/code-gateway").is_ok(), "expose makes an Ingress");
    cluster
        .kubectl(&["delete", "mbe,mgw", "--all", "--namespace", NAMESPACE, "--wait", "--timeout=60s"])
        .unwrap();
    let kinds = "deployments,services,configmaps,serviceaccounts,poddisruptionbudgets,ingresses,networkpolicies,servicemonitors,pods,replicasets";
    wait_until(PATIENCE, "no child left", || {
        let selector = "--selector=app.kubernetes.io/managed-by=modelgate-operator";
        let left = cluster.kubectl(&["get", kinds, "--namespace", NAMESPACE, selector, "--output=name"])?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok(())
    })
    .unwrap();
    cluster
        .helm(&["uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "2m"])
        .unwrap();
    let selector = format!("--selector=app.kubernetes.io/instance={RELEASE}");
    wait_until(PATIENCE, "nothing of the chart", || {
        let kinds = "deployments,services,serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings,poddisruptionbudgets,servicemonitors,pods,validatingadmissionpolicies,validatingadmissionpolicybindings";
        let left = cluster.kubectl(&["get", kinds, "--all-namespaces", &selector, "--output=name"])?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok(())
    })
    .unwrap();
}
