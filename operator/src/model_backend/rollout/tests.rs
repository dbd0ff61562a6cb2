//! Rollouts as stories: what was applied, what the Deployment says of it, what goes out next.

use modelgate_api::manifest;
use modelgate_api::v1alpha1::ModelBackendSpec;
use serde_json::json;

use super::choice::Chosen;
use super::*;
use crate::k8s::child::{ChildKind, Owner, OwnerKind};
use crate::model_backend::validate::{Place, validate};

/// A backend on GPUs whose pods are replaced by `strategy`.
fn server(strategy: &str) -> ValidatedServer {
    let yaml = format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: b}}\nspec:\n  model: {{name: m, source: {{hf: {{repo: o/m}}}}}}\n  server: {{engine: VLLM}}\n  rollout: {{strategy: {strategy}}}\n"
    );
    let read = manifest::parse("b.yaml", &yaml).unwrap();
    match validate(&owner(), &read.backends[0].spec).unwrap().place {
        Place::Server(server) => *server,
        other => panic!("{other:?}"),
    }
}

fn owner() -> Owner {
    Owner { kind: OwnerKind::Backend, name: "b".into(), namespace: "n".into(), uid: "u".into() }
}

fn built(image: &str) -> Child<Prepared> {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "engine", "image": image}]}});
    let fields = json!({"spec": {"replicas": 1, "template": template}});
    Child::new(ChildKind::Deployment, "b-engine".into(), &owner(), &owner().labels(), fields)
}

/// The Deployment as the API server holds it after an apply.
fn live(settled: &Settled, complete: bool, late: bool) -> Value {
    let mut live = settled.deployment.body.clone();
    let (ready, reason) = if complete { (1, "NewReplicaSetAvailable") } else { (0, "ReplicaSetUpdated") };
    let reason = if late { "ProgressDeadlineExceeded" } else { reason };
    live["metadata"]["generation"] = json!(1);
    live["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready,
        "conditions": [{"type": "Progressing", "reason": reason, "message": "timed out"}]});
    live
}

fn situation<'a>(inputs: &'a str, live: Option<&'a Value>) -> Situation<'a> {
    Situation {
        inputs,
        live,
        handled: true,
        before: None,
        trouble: None,
        unschedulable: false,
        room: &|| Room::Unknown("not counted".into()),
    }
}

fn image(settled: &Settled) -> &str {
    settled.deployment.body.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).unwrap()
}

#[test]
fn a_newer_operator_holds_its_template_back_until_the_spec_changes() {
    let server = server("Auto");
    let first = settle(built("engine:1"), &server, &situation("spec-1", None));
    let standing = live(&first, true, false);
    let newer = settle(built("engine:2"), &server, &situation("spec-1", Some(&standing)));
    assert_eq!(image(&newer), "engine:1");
    assert_eq!(newer.deployment, first.deployment, "nothing is written");
    let [change] = newer.pending.as_slice() else { panic!("{:?}", newer.pending) };
    assert_eq!(change.path, "spec.containers[engine].image");
    assert_eq!((change.from.as_deref(), change.to.as_deref()), (Some("engine:1"), Some("engine:2")));
    let edited = settle(built("engine:2"), &server, &situation("spec-2", Some(&standing)));
    assert_eq!((image(&edited), edited.pending.len()), ("engine:2", 0));
}

#[test]
fn a_foreign_edit_of_the_template_is_not_taken_for_ours() {
    let server = server("Auto");
    let first = settle(built("engine:1"), &server, &situation("spec-1", None));
    let mut standing = live(&first, true, false);
    standing["spec"]["template"]["spec"]["containers"][0]["image"] = json!("foreign");
    let again = settle(built("engine:1"), &server, &situation("spec-1", Some(&standing)));
    assert_eq!((image(&again), again.pending.len()), ("engine:1", 0));
}

#[test]
fn children_of_a_version_that_kept_nothing_are_held_too() {
    let server = server("Auto");
    let mut old = built("engine:1").body;
    old["metadata"]["managedFields"] = json!([{"manager": "modelgate-operator", "operation": "Apply", "fieldsV1":
        {"f:spec": {"f:template": {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:containers":
            {"k:{\"name\":\"engine\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}}}]);
    old["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] =
        json!("/dev/termination-log");
    let newer = settle(built("engine:2"), &server, &situation("spec-1", Some(&old)));
    assert_eq!((image(&newer), newer.pending.len()), ("engine:1", 1));
    let template = newer.deployment.body.pointer("/spec/template/spec/containers/0").unwrap();
    assert!(template.get("terminationMessagePath").is_none(), "what others set stays theirs: {template}");
    let edited =
        settle(built("engine:2"), &server, &Situation { handled: false, ..situation("spec-2", Some(&old)) });
    assert_eq!(image(&edited), "engine:2");
}

#[test]
fn a_failed_rollout_is_taken_back_once_and_stays_so_until_the_spec_changes() {
    let server = server("DrainThenReplace");
    let first = settle(built("good"), &server, &situation("spec-1", None));
    let served = live(&first, true, false);
    let second = settle(built("bad"), &server, &situation("spec-2", Some(&served)));
    assert_eq!(image(&second), "bad");
    let late = live(&second, false, true);
    let crash =
        Situation { trouble: Some("pod p: CrashLoopBackOff".into()), ..situation("spec-2", Some(&late)) };
    let back = settle(built("bad"), &server, &crash);
    assert_eq!(image(&back), "good");
    assert!(back.restored.as_ref().unwrap().contains("CrashLoopBackOff"));
    // Also when the template that was put back is late too, and after it is ready.
    for standing in [live(&back, false, true), live(&back, true, false)] {
        let said = RolloutStatus { restored: back.restored.clone(), ..RolloutStatus::default() };
        let again = Situation { before: Some(&said), ..situation("spec-2", Some(&standing)) };
        let again = settle(built("bad"), &server, &again);
        assert_eq!((image(&again), &again.restored), ("good", &back.restored));
        assert_eq!(again.deployment, back.deployment, "nothing more is written");
    }
    let mended = settle(built("better"), &server, &situation("spec-3", Some(&live(&back, true, false))));
    assert_eq!((image(&mended), mended.restored.is_none()), ("better", true));
}

#[test]
fn a_failed_surge_is_left_as_it_is_for_the_old_pods_serve() {
    let server = server("Surge");
    let first = settle(built("good"), &server, &situation("spec-1", None));
    let second = settle(built("bad"), &server, &situation("spec-2", Some(&live(&first, true, false))));
    let late = live(&second, false, true);
    let after = settle(built("bad"), &server, &situation("spec-2", Some(&late)));
    assert_eq!((image(&after), &after.restored), ("bad", &None));
    assert_eq!(after.choice.strategy, Chosen::Surge);
}

#[test]
fn auto_surges_where_there_is_room_and_else_drains_first() {
    let server = server("Auto");
    let first = settle(built("1"), &server, &situation("spec-1", None));
    let standing = live(&first, true, false);
    for (room, expected) in [
        (Room::Free("node a has 1 free".into()), Chosen::Surge),
        (Room::Taken("no node has 1 free".into()), Chosen::DrainThenReplace),
        (Room::Unknown("nodes may not be listed".into()), Chosen::DrainThenReplace),
    ] {
        let changing = Situation { room: &|| room.clone(), ..situation("spec-2", Some(&standing)) };
        let settled = settle(built("2"), &server, &changing);
        assert_eq!(settled.choice.strategy, expected, "{room:?}");
        let (Room::Free(why) | Room::Taken(why) | Room::Unknown(why)) = room;
        assert_eq!(settled.choice.why, why);
        // What is free later changes nothing before the next change of the template.
        let standing = live(&settled, true, false);
        let later = Situation { room: &|| Room::Free("all".into()), ..situation("spec-2", Some(&standing)) };
        assert_eq!(settle(built("2"), &server, &later).choice.strategy, expected);
    }
}

#[test]
fn a_surge_that_finds_its_device_taken_becomes_a_drain_instead_of_waiting_for_ever() {
    let server = server("Auto");
    let first = settle(built("1"), &server, &situation("spec-1", None));
    let standing = live(&first, true, false);
    let room = || Room::Free("node a has 1 free".into());
    let surging =
        settle(built("2"), &server, &Situation { room: &room, ..situation("spec-2", Some(&standing)) });
    let stuck = live(&surging, false, false);
    let stuck = Situation { unschedulable: true, ..situation("spec-2", Some(&stuck)) };
    assert_eq!(settle(built("2"), &server, &stuck).choice.strategy, Chosen::DrainThenReplace);
}

#[test]
fn replicas_and_rules_of_admission_make_no_new_template() {
    let digest = |yaml: &str, renew: Option<&str>| {
        let spec: ModelBackendSpec = serde_saphyr::from_str(yaml).unwrap();
        template::inputs(&spec, renew)
    };
    let base = digest("{model: {name: m}, server: {engine: VLLM}}", None);
    for same in [
        "{server: {engine: VLLM}, model: {name: m}}",
        "{model: {name: m, fim: {family: Qwen}}, server: {engine: VLLM}, replicas: 3, paused: true, admission: {maxConcurrent: 2}, rollout: {strategy: Surge}}",
    ] {
        assert_eq!(digest(same, None), base, "{same}");
    }
    for other in [
        "{model: {name: n}, server: {engine: VLLM}}",
        "{model: {name: m}, server: {engine: VLLM, args: [x]}}",
        "{model: {name: m}, server: {engine: VLLM}, rollout: {drainTimeout: 5m}}",
    ] {
        assert_ne!(digest(other, None), base, "{other}");
    }
    assert_ne!(digest("{model: {name: m}, server: {engine: VLLM}}", Some("1")), base);
}
