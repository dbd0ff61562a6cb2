//! What a user can set or see stands in a page of the documentation: flags, environment names, metrics, fields.

mod names;

use crate::{none, root, sources, texts};
use names::{Named, environment, flags, metrics};
use std::collections::BTreeSet;

/// The page on the resources' fields.
const FIELDS_PAGE: &str = "docs/resources.md";

/// README.md and every page of docs/.
pub fn pages() -> Vec<(String, String)> {
    let docs = texts("docs").into_iter().filter(|(path, _)| path.ends_with(".md"));
    texts("README.md").into_iter().chain(docs).collect()
}

/// Whether a name stands in a text as a word of its own, not as a piece of a longer name.
fn mentions(text: &str, name: &str) -> bool {
    let part_of_a_name = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(part_of_a_name) && !after.is_some_and(part_of_a_name)
    })
}

/// Names found by `find` in the programs' sources that no page mentions.
fn undocumented(find: impl Fn(&str, &str) -> Vec<Named>) -> Vec<String> {
    let pages = pages();
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    for (path, text) in sources() {
        for Named { name, line } in find(&path, names::before_tests(&text)) {
            if seen.insert(name.clone()) && !pages.iter().any(|(_, page)| mentions(page, &name)) {
                missing.push(format!("{path}:{line}: {name}"));
            }
        }
    }
    missing
}

#[test]
fn every_flag_stands_in_the_documentation() {
    none(&undocumented(|_, text| flags(text)), "flags in no page of docs/");
}

#[test]
fn every_environment_name_stands_in_the_documentation() {
    none(&undocumented(environment), "environment names in no page of docs/");
}

#[test]
fn every_metric_stands_in_the_documentation() {
    none(&undocumented(|_, text| metrics(text)), "metrics in no page of docs/");
}

#[test]
fn every_field_of_both_resources_stands_on_their_page() {
    let page = std::fs::read_to_string(root().join(FIELDS_PAGE)).unwrap_or_default();
    let mut missing = Vec::new();
    for (path, text) in texts("crds").iter().filter(|(path, _)| path.ends_with("s.yaml")) {
        let definition: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let mut fields = Vec::new();
            fields_of(spec, "spec", &mut fields);
            assert!(!fields.is_empty(), "{path}: a schema without fields");
            let unnamed = fields.iter().filter(|(_, name)| !mentions(&page, name));
            missing.extend(unnamed.map(|(field, _)| format!("{path}: {field}")));
        }
    }
    none(&missing, &format!("fields that {FIELDS_PAGE} does not mention"));
}

/// Every field under a schema as `(path, name)`, through lists and maps.
fn fields_of(schema: &serde_json::Value, path: &str, found: &mut Vec<(String, String)>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.push((path.clone(), name.clone()));
        fields_of(child, &path, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            fields_of(&schema[inner], &format!("{path}[]"), found);
        }
    }
}

#[test]
fn a_name_within_a_longer_one_is_no_mention() {
    assert!(mentions("use `--listen` here", "--listen"));
    assert!(mentions("--listen=ADDRESS", "--listen"));
    assert!(!mentions("--metrics-listen and --listen-here", "--listen"));
    assert!(!mentions("modelgate_requests_total", "modelgate_requests"));
    assert!(mentions("spec.model.contextLength: 4096", "contextLength"));
}

#[test]
fn fields_are_found_through_lists_and_maps() {
    let schema = serde_json::json!({"properties": {
        "routes": {"items": {"properties": {"weight": {"type": "integer"}}}},
        "limits": {"additionalProperties": {"type": "string"}},
    }});
    let mut found = Vec::new();
    fields_of(&schema, "spec", &mut found);
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["spec.routes", "spec.routes[].weight", "spec.limits"]);
}
