//! Differences between two pod templates, for people. Pure.

use std::collections::BTreeMap;

use modelgate_api::v1alpha1::PendingChange;
use serde_json::Value;

use crate::k8s::satisfied::{Path, Step, differences};

/// Changes listed at most.
const MOST: usize = 32;
/// Characters of a value at most.
const LONGEST: usize = 200;

/// What stands, and what would.
pub(super) fn list(standing: &Value, built: &Value) -> Vec<PendingChange> {
    let paths = differences(standing, built).into_iter().chain(differences(built, standing));
    let changes: BTreeMap<String, PendingChange> = paths
        .map(|path| {
            let words = words(&path);
            let change =
                PendingChange { path: words.clone(), from: at(standing, &path), to: at(built, &path) };
            (words, change)
        })
        .collect();
    changes.into_values().take(MOST).collect()
}

fn words(path: &Path) -> String {
    let mut words = String::new();
    for step in path {
        match step {
            Step::Field(name) if words.is_empty() => words.push_str(name),
            Step::Field(name) => {
                words.push('.');
                words.push_str(name);
            }
            Step::Element(key) => {
                let key: Vec<String> = key
                    .values()
                    .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                    .collect();
                words.push_str(&format!("[{}]", key.join(",")));
            }
        }
    }
    words
}

fn at(template: &Value, path: &Path) -> Option<String> {
    let mut value = template;
    for step in path {
        value = match step {
            Step::Field(name) => value.get(name)?,
            Step::Element(key) => value
                .as_array()?
                .iter()
                .find(|item| key.iter().all(|(name, wanted)| item.get(name) == Some(wanted)))?,
        };
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(text.chars().take(LONGEST).collect())
}
