//! The arithmetic over mixed fleets, as a table: what is asked, what there is, what is said.

use modelgate_api::manifest;

use super::*;
use crate::k8s::child::{Owner, OwnerKind};
use crate::model_backend::validate::{Place, validate};

/// What the pods of a backend ask, from the part of its spec that matters.
fn demand(model: &str, rest: &str) -> Demand {
    let yaml = format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: b}}\nspec:\n  model: {{name: m, source: {{hf: {{repo: o/m}}}}{model}}}\n  server: {{engine: VLLM}}\n{rest}"
    );
    let read = manifest::parse("b.yaml", &yaml).unwrap_or_else(|problems| panic!("{problems:?}\n{yaml}"));
    let owner = Owner { kind: OwnerKind::Backend, name: "b".into(), namespace: "n".into(), uid: "u".into() };
    let valid = validate(&owner, &read.backends[0].spec).unwrap();
    let Place::Server(server) = &valid.place else { panic!("a server") };
    Demand::of(&valid.model, server).unwrap()
}

fn node(labels: &[(&str, &str)], devices: &[(&str, u64)], taint: Option<&str>) -> NodeRecord {
    NodeRecord {
        labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        devices: devices.iter().map(|(name, count)| ((*name).into(), *count)).collect(),
        taints: taint
            .map(|key| (key.to_owned(), "true".to_owned(), "NoSchedule".to_owned()))
            .into_iter()
            .collect(),
    }
}

/// Three kinds of whole devices and one node whose devices are cut up, all labelled as GPU feature discovery does.
fn fleet() -> Known {
    let gpu = "nvidia.com/gpu";
    let of = |product: &str, memory: &str, major: &str| -> Vec<(String, String)> {
        [("product", product), ("memory", memory), ("compute.major", major), ("compute.minor", "0")]
            .iter()
            .map(|(key, value)| (format!("nvidia.com/gpu.{key}"), (*value).to_owned()))
            .collect()
    };
    let make = |labels: Vec<(String, String)>, devices: &[(&str, u64)], taint| {
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        node(&labels, devices, taint)
    };
    let mut cut = of("NVIDIA-A100-SXM4-80GB", "81920", "8");
    cut.push(("nvidia.com/mig-3g.40gb.memory".into(), "40192".into()));
    let nodes = [
        ("t4", make(of("Tesla-T4", "15360", "7"), &[(gpu, 4)], None)),
        ("l4", make(of("NVIDIA-L4", "23034", "8"), &[(gpu, 2)], None)),
        ("a100", make(of("NVIDIA-A100-SXM4-80GB", "81920", "8"), &[(gpu, 8)], Some("team-b"))),
        ("mig", make(cut, &[("nvidia.com/mig-3g.40gb", 2), ("nvidia.com/mig-1g.10gb", 7)], None)),
    ];
    Known {
        nodes: Some(nodes.into_iter().map(|(name, node)| (name.to_owned(), node)).collect()),
        pods: Some(HashMap::new()),
        ..Known::default()
    }
}

fn hold(known: &mut Known, key: &str, node: &str, backend: Option<&str>, resource: &str, count: u32) {
    let record = PodRecord {
        node: node.into(),
        backend: backend.map(Into::into),
        devices: [(resource.into(), count)].into(),
    };
    known.pods.get_or_insert_default().insert(key.into(), record);
}

fn never(_: &str, _: &str) -> Option<Duration> {
    None
}

/// Model, rest of the spec, word, what the detail says, what the suggestion says.
type Case = (&'static str, String, &'static str, &'static str, &'static str);

#[allow(clippy::too_many_lines)] // A table.
fn table() -> Vec<Case> {
    let taint = "  placement: {tolerations: [{key: team-b, operator: Exists}]}\n";
    let of = |accelerator: &str| format!("  accelerator: {{{accelerator}}}\n");
    vec![
        ("", of("count: 1"), "Room", "node t4 has 4", ""),
        ("", of("count: 4"), "Room", "node t4 has 4", ""),
        (
            "",
            of("count: 8"),
            "TooFewDevices",
            "needs 8 nvidia.com/gpu on one node, the largest that suits has 4",
            "count: 4",
        ),
        ("", of("count: 8") + taint, "Room", "node a100 has 8", ""),
        ("", of("count: 1, products: [NVIDIA-L4]"), "Room", "node l4 has 2", ""),
        (
            "",
            of("count: 1, products: [NVIDIA-H100]"),
            "Product",
            "2 another product (NVIDIA-L4, Tesla-T4)",
            "NVIDIA-L4",
        ),
        ("", of("count: 1, minComputeCapability: \"8.0\""), "Room", "node l4", ""),
        (
            "",
            of("count: 1, minComputeCapability: \"9.0\""),
            "ComputeCapability",
            "2 of compute capability 7, 8.x",
            "minComputeCapability",
        ),
        (
            "",
            of("count: 1, memoryPerDevice: 40Gi"),
            "Memory",
            "1 tainted team-b=true:NoSchedule",
            "memoryPerDevice",
        ),
        ("", of("count: 1, memoryPerDevice: 40Gi") + taint, "Room", "node a100", ""),
        ("", of("count: 1, mig: {profile: 3g.40gb}"), "Room", "node mig has 2", ""),
        (
            "",
            of("count: 1, mig: {profile: 7g.80gb}"),
            "NoDevice",
            "nodes have nvidia.com/gpu, nvidia.com/mig-1g.10gb",
            "profile",
        ),
        ("", of("count: 1, resourceName: amd.com/gpu"), "NoDevice", "no node has any", "resourceName"),
        // Sizes: 7.6 billion parameters in 16 bits are 14.2 GiB; the cache and the engine come on top.
        (", preset: Qwen2.5-Coder-7B", of("count: 1"), "Room", "node l4", ""),
        (
            ", preset: Qwen2.5-Coder-14B",
            of("count: 1"),
            "ModelTooLarge",
            "2 with devices of 22.5 GiB at most",
            "count: 2",
        ),
        (", preset: Qwen2.5-Coder-14B", of("count: 2"), "Room", "node l4", ""),
        (", preset: Qwen2.5-Coder-14B", of("count: 1") + taint, "Room", "node a100", ""),
        (
            ", preset: Qwen2.5-Coder-32B",
            of("count: 1, mig: {profile: 3g.40gb}"),
            "ModelTooLarge",
            "39.2 GiB",
            "larger devices",
        ),
        (", size: {parameters: 30B, precision: INT4}", of("count: 1"), "Room", "node l4", ""),
        (
            "",
            "  accelerator: {count: 1}\n  placement: {nodeSelector: {zone: x}}\n".into(),
            "NodeSelector",
            "without the labels",
            "nodeSelector",
        ),
    ]
}

#[test]
fn a_fleet_of_several_kinds_answers_by_what_suits() {
    for (model, rest, word, detail, suggestion) in table() {
        match fit(&demand(model, &rest), &fleet(), &never) {
            Fit::Room(place) => assert!(word == "Room" && place.contains(detail), "{model}{rest}: {place}"),
            Fit::Blocked(blocked) => {
                assert_eq!(blocked.by, word, "{model}{rest}: {blocked:?}");
                assert!(blocked.detail.contains(detail), "{model}{rest}: {}", blocked.detail);
                assert!(blocked.suggestion.contains(suggestion), "{model}{rest}: {}", blocked.suggestion);
            }
            Fit::Unknown(why) => panic!("{model}{rest}: {why}"),
        }
    }
}

#[test]
fn devices_are_counted_on_one_node_and_their_holders_named_with_the_idlest_first() {
    let demand = demand("", "  accelerator: {count: 2, products: [Tesla-T4, NVIDIA-L4]}\n");
    let mut known = fleet();
    let gpu = "nvidia.com/gpu";
    hold(&mut known, "team/x-engine-1", "t4", Some("x"), gpu, 2);
    hold(&mut known, "lab/notebook", "t4", None, gpu, 1);
    hold(&mut known, "team/y-engine-1", "l4", Some("y"), gpu, 1);
    hold(&mut known, "team/z-engine-1", "a100", Some("z"), gpu, 8);
    hold(&mut known, "team/m-engine-1", "l4", Some("m"), "nvidia.com/mig-1g.10gb", 1);
    let idle = |namespace: &str, name: &str| {
        assert_eq!(namespace, "team");
        (name == "x").then_some(Duration::from_secs(42 * 60))
    };
    let Fit::Blocked(blocked) = fit(&demand, &known, &idle) else { panic!("blocked") };
    assert_eq!(blocked.by, "Taken");
    assert_eq!(
        blocked.detail,
        "needs 2 nvidia.com/gpu on one node, best has 1 free; backend team/x, idle 40 min, holds 2; pod lab/notebook holds 1; backend team/y holds 1"
    );
    assert!(blocked.suggestion.contains("team/x"), "{}", blocked.suggestion);
    let have = blocked.have.unwrap();
    assert_eq!((have.free, blocked.need.unwrap().count), (1, 2));
    // One more becomes free on the node that had one.
    known.pods.as_mut().unwrap().remove("lab/notebook");
    assert_eq!(fit(&demand, &known, &idle), Fit::Room("node t4 has 2 nvidia.com/gpu free".into()));
}

#[test]
fn what_may_not_be_listed_is_said_and_never_guessed() {
    let demand = demand("", "  accelerator: {count: 1}\n");
    let blind = Known { nodes_unknown: Some("nodes may not be listed".into()), ..Known::default() };
    assert_eq!(fit(&demand, &blind, &never), Fit::Unknown("nodes may not be listed".into()));
    let half = Known { pods: None, pods_unknown: Some("pods may not be listed".into()), ..fleet() };
    let Fit::Unknown(why) = fit(&demand, &half, &never) else { panic!("unknown") };
    assert!(why.contains("could not be counted") && why.contains("t4 has 4"), "{why}");
}

#[test]
fn groups_of_nodes_that_grow_are_not_called_impossible() {
    let demand = demand("", "  accelerator: {count: 1, resourceName: amd.com/gpu}\n");
    let mut known = fleet();
    known.scaled.insert("cpu-1".into(), "cloud.google.com/gke-nodepool");
    let Fit::Blocked(blocked) = fit(&demand, &known, &never) else { panic!("blocked") };
    assert!(blocked.detail.contains("an autoscaler may bring one"), "{}", blocked.detail);
    assert!(blocked.suggestion.starts_with("wait for the autoscaler"), "{}", blocked.suggestion);
}
