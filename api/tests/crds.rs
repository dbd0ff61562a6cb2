//! The files in `crds/` are those that the types make; `UPDATE=1` writes them.
#![cfg(feature = "crd")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use modelgate_api::{GROUP, VERSION, crd};

/// Largest compact JSON of one definition (design §3).
const MAX_BYTES: usize = 64 * 1024;

fn path(plural: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crds").join(format!("{plural}.yaml"))
}

#[test]
fn generated_definitions_equal_the_committed_files() {
    for definition in crd::all().unwrap() {
        let path = path(&definition.spec.names.plural);
        let yaml = serde_saphyr::to_string(&definition).unwrap();
        let text = format!("# Generated from api/src/v1alpha1 by `make crds`; do not edit.\n{yaml}");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{} differs from the types; run `make crds`", path.display());
    }
}

#[test]
fn definitions_are_small_and_carry_the_product_s_names() {
    for definition in crd::all().unwrap() {
        let bytes = serde_json::to_vec(&definition).unwrap().len();
        assert!(bytes < MAX_BYTES, "{}: {bytes} bytes", definition.spec.names.kind);
        assert_eq!(definition.spec.group, GROUP);
        assert_eq!(definition.spec.versions[0].name, VERSION);
    }
}

#[test]
fn every_string_and_list_of_a_spec_has_a_bound() {
    fn walk(path: &str, node: &serde_json::Value, faults: &mut Vec<String>) {
        match node.get("type").and_then(serde_json::Value::as_str) {
            Some("string") if node.get("maxLength").is_none() && node.get("enum").is_none() => {
                faults.push(path.to_owned());
            }
            Some("array") if node.get("maxItems").is_none() => faults.push(path.to_owned()),
            _ => {}
        }
        for (name, child) in
            node.get("properties").and_then(serde_json::Value::as_object).into_iter().flatten()
        {
            walk(&format!("{path}.{name}"), child, faults);
        }
        if let Some(items) = node.get("items") {
            walk(&format!("{path}[]"), items, faults);
        }
    }
    for definition in crd::all().unwrap() {
        let json = serde_json::to_value(&definition).unwrap();
        let spec = json.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
        let mut faults = Vec::new();
        walk("spec", spec, &mut faults);
        assert!(faults.is_empty(), "{}: no maxLength or maxItems at {faults:?}", definition.spec.names.kind);
    }
}

#[test]
fn no_enumerated_value_is_a_word_that_yaml_reads_as_something_else() {
    fn walk(path: &str, node: &serde_json::Value, faults: &mut Vec<String>) {
        for value in node.get("enum").and_then(serde_json::Value::as_array).into_iter().flatten() {
            let word = value.as_str().unwrap_or_default().to_ascii_lowercase();
            if ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"].contains(&word.as_str()) {
                faults.push(format!("{path}: {value}"));
            }
        }
        for (name, child) in
            node.get("properties").and_then(serde_json::Value::as_object).into_iter().flatten()
        {
            walk(&format!("{path}.{name}"), child, faults);
        }
        if let Some(items) = node.get("items") {
            walk(&format!("{path}[]"), items, faults);
        }
    }
    for definition in crd::all().unwrap() {
        let json = serde_json::to_value(&definition).unwrap();
        let spec = json.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
        let mut faults = Vec::new();
        walk("spec", spec, &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
    }
}
