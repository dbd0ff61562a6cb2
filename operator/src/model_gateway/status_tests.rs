//! Rows of the gateway's status, each from what pods answered.

use std::sync::Arc;

use modelgate_api::state::RouteState;

use super::*;

fn rollout(complete: bool) -> Rollout {
    Rollout {
        desired: 2,
        total: 2,
        ready: 2,
        updated: if complete { 2 } else { 1 },
        complete,
        ..Rollout::default()
    }
}

fn state(hash: &str, healthy: bool, serving: bool) -> GatewayState {
    let reason = if healthy { "Healthy" } else { "NoEndpoints" };
    GatewayState {
        config_hash: hash.into(),
        backends: vec![BackendState {
            name: "b".into(),
            healthy,
            reason: reason.into(),
            ..BackendState::default()
        }],
        routes: vec![RouteState { name: "r".into(), serving, message: String::new() }],
        ..GatewayState::default()
    }
}

fn pod(name: &str, state: Result<GatewayState, &str>) -> PodState {
    PodState { pod: name.into(), uid: name.into(), state: state.map(Arc::new).map_err(str::to_owned) }
}

fn row_of(states: &[PodState], ready: usize, complete: bool) -> (Row, &'static str) {
    let states: Vec<_> = states.iter().collect();
    let programmed = programmed(&states, ready, "h");
    let current: Vec<&GatewayState> = states.iter().filter_map(|pod| pod.state.as_deref().ok()).collect();
    let backends = vec![backend_status("b", &current)];
    let routes = vec![RouteStatus { name: "r".into(), backends }];
    let (row, reason, message) = overall(&rollout(complete), None, &programmed, &routes, &current);
    assert!(!message.is_empty());
    (row, reason)
}

#[test]
fn the_row_is_what_every_ready_pod_says_together() {
    let well = || pod("a", Ok(state("h", true, true)));
    let old = || pod("b", Ok(state("old", true, true)));
    let sick = || pod("b", Ok(state("h", false, true)));
    let silent = || pod("b", Ok(state("h", false, false)));
    let cases: [(Vec<PodState>, usize, bool, Row, &str); 8] = [
        (vec![], 0, false, Row::UnderWay, "WaitingForPods"),
        (vec![well()], 2, true, Row::UnderWay, "WaitingForPods"),
        (vec![well(), old()], 2, true, Row::UnderWay, "WaitingForPods"),
        (vec![well(), pod("b", Err("refused"))], 2, true, Row::Unclear, "InstanceUnreachable"),
        (vec![well(), well()], 2, true, Row::Serving, "Programmed"),
        (vec![well(), well()], 2, false, Row::ServingWhileChanging, "Rolling"),
        (vec![well(), sick()], 2, true, Row::PartlyServing, "PartlyServing"),
        (vec![well(), silent()], 2, true, Row::UnderWay, "NoBackendServes"),
    ];
    for (states, ready, complete, row, reason) in cases {
        assert_eq!(row_of(&states, ready, complete), (row, reason), "{states:?}");
    }
}

#[test]
fn a_rejected_spec_keeps_the_facts_of_the_one_before() {
    let before = ModelGatewayStatus {
        config_hash: Some("h".into()),
        addresses: vec!["http://x".into()],
        ..Default::default()
    };
    let outcome = Outcome::unreadable("missing field routes");
    let states = [pod("a", Ok(state("h", true, true)))];
    let input =
        StatusInput { before: Some(&before), generation: 4, outcome: &outcome, live: None, states: &states };
    let status = compute(&input);
    assert_eq!(status.config_hash.as_deref(), Some("h"));
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert!(status.summary.unwrap().contains("keeps serving"));
    let accepted = status.conditions.iter().find(|condition| condition.kind == "Accepted").unwrap();
    assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", "Invalid"));
}

#[test]
fn a_missing_credential_is_told_before_anything_else_of_auth() {
    let mut lacking = state("h", true, true);
    lacking.backends[0].reason = "CredentialMissing".into();
    let config = GatewayConfig {
        format_version: "1.0".into(),
        inputs: Vec::new(),
        gateway: "g".into(),
        namespace: "n".into(),
        http_port: 5000,
        metrics_port: 8082,
        in_cluster: true,
        ..GatewayConfig::default()
    };
    assert_eq!(auth_resolved(&config, &[&lacking]).1, "CredentialMissing");
    assert_eq!(auth_resolved(&config, &[&state("h", true, true)]).0, Truth::True);
    assert_eq!(auth_resolved(&config, &[]).0, Truth::Unknown);
}
