//! What somebody else changes in a child comes back, and what they delete comes back; what nobody changes is not written.

use std::time::Duration;

use anyhow::{bail, ensure};
use testkit::command::{pause, wait_until};
use testkit::instruments::audit::{Mark, Write};

use crate::world::{
    self, GATEWAY_CHILDREN, OPERATOR_NAMESPACE, PATIENCE, await_condition, fake_gateway, installed,
};

const NAMESPACE: &str = "e2e-restore";

/// Every write of the operator but the renewal of its Lease.
fn by_the_operator(write: &Write) -> bool {
    write.user.starts_with(&format!("system:serviceaccount:{OPERATOR_NAMESPACE}:"))
        && write.resource != "leases"
}

#[test]
fn a_field_of_ours_edited_by_hand_is_restored_and_the_hand_is_named() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    let patch = r#"{"spec":{"ports":[{"name":"http","port":5000,"protocol":"TCP","targetPort":9}]}}"#;
    cluster
        .kubectl(&[
            "patch",
            "service/code-gateway",
            "--namespace",
            NAMESPACE,
            "--field-manager=somebody",
            "--patch",
            patch,
        ])
        .unwrap();
    wait_until(PATIENCE, "the port restored", || {
        let service = world::get(cluster, NAMESPACE, "service/code-gateway")?;
        ensure!(
            service.pointer("/spec/ports/0/targetPort") != Some(&serde_json::json!(9)),
            "still the edited port"
        );
        Ok(())
    })
    .unwrap();
    wait_until(PATIENCE, "an Event that names the other writer", || {
        let events = cluster.kubectl(&[
            "get",
            "events",
            "--namespace",
            NAMESPACE,
            "--output=jsonpath={.items[*].message}",
        ])?;
        ensure!(events.contains("somebody"), "events: {events}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_field_that_others_add_is_left_alone() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    let note = [
        "annotate",
        "deployment/code-gateway",
        "--namespace",
        NAMESPACE,
        "--overwrite",
        "example.com/owner=team-a",
    ];
    cluster.kubectl(&note).unwrap();
    // A change of ours makes the operator write the same object again.
    let patch = r#"{"spec":{"resources":{"requests":{"cpu":"15m"}}}}"#;
    cluster
        .kubectl(&["patch", "mgw/code", "--namespace", NAMESPACE, "--type=merge", "--patch", patch])
        .unwrap();
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
    let deployment = world::get(cluster, NAMESPACE, "deployment/code-gateway").unwrap();
    assert_eq!(
        deployment.pointer("/spec/template/spec/containers/0/resources/requests/cpu"),
        Some(&serde_json::json!("15m"))
    );
    assert_eq!(
        deployment.pointer("/metadata/annotations/example.com~1owner"),
        Some(&serde_json::json!("team-a"))
    );
}

#[test]
fn every_deleted_child_comes_back() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    for child in GATEWAY_CHILDREN {
        let before = world::get(cluster, NAMESPACE, child).unwrap();
        cluster.kubectl(&["delete", child, "--namespace", NAMESPACE, "--wait=false"]).unwrap();
        wait_until(PATIENCE, &format!("{child} again"), || {
            let now = world::get(cluster, NAMESPACE, child)?;
            ensure!(now.pointer("/metadata/uid") != before.pointer("/metadata/uid"), "still the old one");
            Ok(())
        })
        .unwrap();
    }
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
    // The rollouts of earlier tests end first: two quiet seconds.
    wait_until(PATIENCE, "a quiet moment", || {
        let mark = Mark::now(&cluster.audit_log())?;
        pause(Duration::from_secs(2))?;
        let writes = mark.writes(by_the_operator)?;
        if writes.is_empty() { Ok(()) } else { bail!("{writes:?}") }
    })
    .unwrap();
    let mark = Mark::now(&cluster.audit_log()).unwrap();
    pause(Duration::from_secs(15)).unwrap();
    let writes = mark.writes(by_the_operator).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
}
