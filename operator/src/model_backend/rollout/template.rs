//! Which pod template goes out: the one just built, the one that stands, or the one before. Pure.

use std::collections::BTreeMap;

use modelgate_api::names::RENEW_ANNOTATION;
use modelgate_api::v1alpha1::{ModelBackendSpec, PendingChange};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Situation, pending};
use crate::k8s::child::MANAGER;
use crate::k8s::managed;
use crate::k8s::rollout::Rollout;
use crate::k8s::satisfied::differences;
use crate::model_backend::rollout::choice::Chosen;

/// Annotation of the Deployment: the pod template applied last, as JSON.
pub const TEMPLATE: &str = "modelgate.dev/template";
/// Annotation: digest of the part of the spec that it was made of.
pub const INPUTS: &str = "modelgate.dev/template-inputs";
/// Annotation, while pods are replaced: the template before, which every pod ran.
pub const SERVED: &str = "modelgate.dev/template-before";
/// Annotation: `true` when the template of these inputs failed and the one before it stands again.
pub const RESTORED: &str = "modelgate.dev/template-restored";
/// A template longer than this is not kept, for an object's annotations have 256 KiB together: what the live object holds
/// of ours takes its place, and a rollout is not taken back.
const LONGEST: usize = 96 * 1024;

/// Fields of a spec that no pod template is made of. What is not listed here counts.
const NOT_OF_THE_TEMPLATE: [&str; 6] =
    ["replicas", "admission", "monitoring", "rollout", "paused", "external"];

/// Digest of the part of the spec that a pod template is made of. `renew` is the value of the annotation by which a user
/// takes over what is held back.
#[must_use]
pub fn inputs(spec: &ModelBackendSpec, renew: Option<&str>) -> String {
    let mut spec = serde_json::to_value(spec).unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        let drain = spec.get("rollout").and_then(|rollout| rollout.get("drainTimeout")).cloned();
        for field in NOT_OF_THE_TEMPLATE {
            spec.remove(field);
        }
        spec.extend(drain.map(|drain| ("drainTimeout".to_owned(), drain)));
        if let Some(model) = spec.get_mut("model").and_then(Value::as_object_mut) {
            model.remove("fim");
        }
        if let Some(renew) = renew {
            spec.insert(RENEW_ANNOTATION.into(), json!(renew));
        }
    }
    let digest = Sha256::digest(canonical(&spec).to_string());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Without absent fields and in the order of names, so that a field that a later version adds changes no digest.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), canonical(value))).collect())
        }
        Value::Array(list) => list.iter().map(canonical).collect(),
        leaf => leaf.clone(),
    }
}

/// What the live Deployment keeps of earlier templates.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub template: Value,
    pub inputs: String,
    pub served: Option<Value>,
    pub restored: bool,
}

impl Kept {
    /// Reads a live Deployment. One of a version that kept nothing is taken for what it holds of ours: made of this spec
    /// if the spec was looked at before.
    pub(super) fn of(live: &Value, inputs: &str, built: &Value, handled: bool) -> Option<Self> {
        let annotation = |name: &str| {
            let annotations = live.pointer("/metadata/annotations").and_then(Value::as_object);
            annotations.and_then(|annotations| annotations.get(name)).and_then(Value::as_str)
        };
        let read = |name: &str| annotation(name).and_then(|text| serde_json::from_str(text).ok());
        if let (Some(template), Some(inputs)) = (read(TEMPLATE), annotation(INPUTS)) {
            let restored = annotation(RESTORED) == Some("true");
            return Some(Self { template, inputs: inputs.into(), served: read(SERVED), restored });
        }
        let ours = managed::extract(live, MANAGER)?;
        let ours = ours.pointer("/spec/template")?.clone();
        let same = differences(built, &ours).is_empty() && differences(&ours, built).is_empty();
        let template = if same { built.clone() } else { ours };
        let inputs = if handled || same { inputs.to_owned() } else { String::new() };
        Some(Self { template, inputs, served: None, restored: false })
    }
}

/// The template that goes out and what is to be kept and said beside it.
pub(super) struct Going {
    pub template: Value,
    pub served: Option<Value>,
    pub restored: Option<String>,
    pub pending: Vec<PendingChange>,
}

pub(super) fn going(
    built: Value,
    kept: Option<&Kept>,
    progress: Option<&Rollout>,
    situation: &Situation<'_>,
) -> Going {
    let plain = |template: Value, served: Option<Value>| Going {
        template,
        served,
        restored: None,
        pending: Vec::new(),
    };
    let (Some(kept), Some(progress)) = (kept, progress) else { return plain(built, None) };
    if kept.inputs != situation.inputs {
        // Every pod ran what is kept; else what ran before it is still what a rollout is taken back to.
        let served = if progress.complete { Some(kept.template.clone()) } else { kept.served.clone() };
        let served = served.filter(|served| *served != built);
        return plain(built, served);
    }
    if kept.restored {
        let said = situation.before.and_then(|before| before.restored.clone());
        let said = said
            .unwrap_or_else(|| "the newest pod template failed and the one before it was put back".into());
        return Going { restored: Some(said), ..plain(kept.template.clone(), None) };
    }
    let surged = situation.live.and_then(Chosen::of) == Some(Chosen::Surge);
    if let (Some(served), Some(late), false, false) =
        (&kept.served, &progress.overdue, progress.complete, surged)
    {
        let why = situation.trouble.as_deref().unwrap_or(late);
        let said = format!(
            "the newest pod template did not become ready in time ({why}); the one before it was put back"
        );
        return Going { restored: Some(said), ..plain(served.clone(), None) };
    }
    let pending = pending::list(&kept.template, &built);
    let served = kept.served.clone().filter(|_| !progress.complete);
    Going { pending, ..plain(kept.template.clone(), served) }
}

/// Puts the template and what is kept of others into a Deployment.
pub(super) fn write(body: &mut Value, template: Value, inputs: &str, served: Option<Value>, restored: bool) {
    let text = template.to_string();
    if text.len() <= LONGEST {
        let mut annotations = Map::new();
        annotations.insert(TEMPLATE.into(), json!(text));
        annotations.insert(INPUTS.into(), json!(inputs));
        let served = served.map(|served| served.to_string()).filter(|served| served.len() <= LONGEST);
        annotations.extend(served.map(|served| (SERVED.to_owned(), json!(served))));
        annotations.extend(restored.then(|| (RESTORED.to_owned(), json!("true"))));
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("annotations".into(), Value::Object(annotations));
        }
    }
    if let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("template".into(), template);
    }
}
