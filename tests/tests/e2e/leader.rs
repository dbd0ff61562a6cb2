//! Two operators, one leader: when it is killed the other takes over, and only the leader writes.

use std::time::Duration;

use anyhow::ensure;
use testkit::cluster::Cluster;
use testkit::command::wait_until;

use crate::world::{self, OPERATOR_NAMESPACE, PATIENCE, await_condition, fake_gateway, installed};

const NAMESPACE: &str = "e2e-leader";

fn holder(cluster: &Cluster) -> anyhow::Result<String> {
    let query = "--output=jsonpath={.items[0].spec.holderIdentity}";
    let holder = cluster.kubectl(&["get", "leases", "--namespace", OPERATOR_NAMESPACE, query])?;
    ensure!(!holder.is_empty(), "nobody holds the lease");
    Ok(holder)
}

#[test]
fn a_killed_leader_is_replaced_by_the_other_and_work_goes_on() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    let first = holder(cluster).unwrap();
    let pods = cluster
        .kubectl(&[
            "get",
            "pods",
            "--namespace",
            OPERATOR_NAMESPACE,
            "--output=jsonpath={.items[*].metadata.name}",
        ])
        .unwrap();
    assert_eq!(pods.split(' ').count(), 2, "two operators: {pods}");
    let leader =
        pods.split(' ').find(|pod| first.contains(pod)).expect("the holder is a pod of the operator");
    cluster
        .kubectl(&["delete", "pod", leader, "--namespace", OPERATOR_NAMESPACE, "--grace-period=0", "--force"])
        .unwrap();
    wait_until(Duration::from_secs(60), "another leader", || {
        let now = holder(cluster)?;
        ensure!(now != first, "still {first}");
        Ok(())
    })
    .unwrap();
    cluster.kubectl(&["delete", "service/code-gateway", "--namespace", NAMESPACE, "--wait=false"]).unwrap();
    wait_until(PATIENCE, "the new leader to restore a child", || {
        world::get(cluster, NAMESPACE, "service/code-gateway").map(|_| ())
    })
    .unwrap();
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
}
