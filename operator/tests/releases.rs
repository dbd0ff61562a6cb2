//! What earlier releases left in clusters: `tests/fixtures/releases/<version>/` holds their definitions (`crds/`), and their
//! resources with the children they made (`cases/<case>/{in,out}.yaml`). Today's code reads them and changes no pod template
//! of a model. A release adds its folder; none is ever edited.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use modelgate_api::crd;
use modelgate_api::manifest::{self, Manifests};
use modelgate_api::names::backend_child;
use modelgate_operator::args::Render;
use modelgate_operator::k8s::child::{Child, MANAGER, Owner, OwnerKind, Prepared};
use modelgate_operator::model_backend::rollout::choice::Room;
use modelgate_operator::model_backend::rollout::{Settled, Situation, settle, template};
use modelgate_operator::model_backend::validate::{Place, ValidatedServer, validate};
use modelgate_operator::{model_backend, model_gateway};
use serde_json::{Map, Value, json};

fn folder(below: &str) -> Vec<PathBuf> {
    let releases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/releases");
    let mut found = Vec::new();
    for release in std::fs::read_dir(releases).unwrap() {
        let folder = release.unwrap().path().join(below);
        found.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The settings that the recorded children were made with, or those of a later release with other images.
fn render(tag: &str) -> Render {
    Render {
        gateway_image: format!("ghcr.io/modelgate/gateway:{tag}"),
        engine_image: format!("ghcr.io/modelgate/engine:{tag}"),
        vllm_image: format!("vllm/vllm-openai:{tag}"),
        sglang_image: format!("lmsysorg/sglang:{tag}"),
        tgi_image: format!("ghcr.io/huggingface/text-generation-inference:{tag}"),
        llama_cpp_image: format!("ghcr.io/ggml-org/llama.cpp:server-{tag}"),
        llama_cpp_cuda_image: format!("ghcr.io/ggml-org/llama.cpp:server-cuda-{tag}"),
        triton_image: format!("nvcr.io/nvidia/tritonserver:{tag}"),
        image_pull_policy: "IfNotPresent".into(),
        cluster_domain: "cluster.local".into(),
        monitor_labels: BTreeMap::from([("release".into(), "prometheus".into())]),
        ..Render::default()
    }
}

fn owner(kind: OwnerKind, name: &str) -> Owner {
    Owner { kind, name: name.into(), namespace: "team".into(), uid: format!("uid-of-{name}") }
}

fn read(case: &Path) -> Manifests {
    manifest::parse("in.yaml", &std::fs::read_to_string(case.join("in.yaml")).unwrap()).unwrap()
}

/// Which fields an apply of `value` owns, as the API server writes them down.
fn owned(list: &str, value: &Value) -> Value {
    let key = match list {
        "containers" | "initContainers" | "volumes" | "env" => "name",
        "volumeMounts" => "mountPath",
        _ => "",
    };
    match value {
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| (format!("f:{name}"), owned(name, value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) if !key.is_empty() => {
            let items = items.iter().map(|item| (format!("k:{}", json!({key: item[key]})), owned("", item)));
            Value::Object(items.collect())
        }
        _ => json!({}),
    }
}

/// The recorded Deployment as it stands in a cluster: complete, with its record of who set what.
fn live(case: &Path, name: &str) -> Value {
    let text = std::fs::read_to_string(case.join("out.yaml")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let named = |object: &Value| object["kind"] == "Deployment" && object["metadata"]["name"] == name;
    let mut live = objects.into_iter().find(named).unwrap();
    let spec = owned("", &live["spec"]);
    let fields: Map<String, Value> = [("f:spec".to_owned(), spec)].into_iter().collect();
    live["metadata"]["managedFields"] =
        json!([{"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}]);
    live["metadata"]["generation"] = json!(1);
    let replicas = live["spec"]["replicas"].clone();
    live["status"] = json!({"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas});
    live
}

fn settled(server: &ValidatedServer, built: Child<Prepared>, inputs: &str, live: &Value) -> Settled {
    let room = || Room::Unknown("not counted".into());
    let situation = Situation {
        inputs,
        live: Some(live),
        handled: true,
        before: None,
        trouble: None,
        unschedulable: false,
        room: &room,
    };
    settle(built, server, &situation)
}

#[test]
fn an_upgrade_changes_no_pod_template_of_a_model() {
    let mut seen = 0;
    for case in folder("cases") {
        for backend in read(&case).backends {
            let owner = owner(OwnerKind::Backend, &backend.name);
            let valid = validate(&owner, &backend.spec).unwrap();
            let Place::Server(server) = &valid.place else { continue };
            if !read(&case).gateways.is_empty() {
                continue;
            }
            let live = live(&case, &backend_child(&backend.name));
            let inputs = template::inputs(&backend.spec, None);
            for tag in ["1", "2"] {
                let built = model_backend::build::build(&valid, &render(tag)).deployment.unwrap();
                let differs = built.body["spec"]["template"] != live["spec"]["template"];
                let settled = settled(server, built, &inputs, &live);
                let (now, then) = (&settled.deployment.body["spec"], &live["spec"]);
                assert_eq!(now["template"], then["template"], "{} with images of {tag}", case.display());
                assert_eq!(now["strategy"], then["strategy"], "{}", case.display());
                assert_eq!(settled.pending.is_empty(), !differs, "{}: {:?}", case.display(), settled.pending);
                let mut next = settled.deployment.body.clone();
                next["metadata"]["generation"] = json!(1);
                next["status"] = live["status"].clone();
                let fields = json!({"f:metadata": owned("", &settled.deployment.body["metadata"]),
                    "f:spec": owned("", &settled.deployment.body["spec"])});
                next["metadata"]["managedFields"] =
                    json!([{"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}]);
                let built = model_backend::build::build(&valid, &render(tag)).deployment.unwrap();
                let again = self::settled(server, built, &inputs, &next);
                assert_eq!(
                    again.deployment,
                    settled.deployment,
                    "{}: the next look finds nothing to write",
                    case.display()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn gateways_of_earlier_releases_are_still_read() {
    for case in folder("cases") {
        let manifests = read(&case);
        for gateway in &manifests.gateways {
            let owner = owner(OwnerKind::Gateway, &gateway.name);
            let valid = model_gateway::validate::validate(
                &owner,
                3,
                &gateway.spec,
                &manifests.backends,
                &render("1"),
            );
            assert!(valid.is_ok(), "{}: {valid:?}", case.display());
        }
    }
}

#[test]
fn no_field_of_an_earlier_definition_is_gone() {
    fn lost(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
        for (name, old) in old.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{path}.{name}");
            match new.get("properties").and_then(|fields| fields.get(name)) {
                Some(new) => lost(&path, old, new, found),
                None => found.push(path),
            }
        }
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            lost(&format!("{path}[]"), old, new, found);
        }
    }
    let pointer = "/spec/versions/0/schema/openAPIV3Schema";
    let today: Vec<Value> =
        crd::all().unwrap().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    for file in folder("crds") {
        let old: Value = serde_saphyr::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let new = today.iter().find(|crd| crd["metadata"]["name"] == old["metadata"]["name"]).unwrap();
        let mut found = Vec::new();
        lost("", old.pointer(pointer).unwrap(), new.pointer(pointer).unwrap(), &mut found);
        assert!(found.is_empty(), "{}: {found:?}", file.display());
    }
}
