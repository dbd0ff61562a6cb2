//! The files in `crds/` are those that the types make; `UPDATE=1` writes them.
#![cfg(feature = "crd")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use modelgate_api::{GROUP, VERSION, crd};
use serde_json::Value;

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

/// Shows every node of both specs' schemas, with its path.
fn visit_specs(see: &mut dyn FnMut(&str, &Value)) {
    fn walk(path: &str, node: &Value, see: &mut dyn FnMut(&str, &Value)) {
        see(path, node);
        for (name, child) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(&format!("{path}.{name}"), child, see);
        }
        if let Some(items) = node.get("items") {
            walk(&format!("{path}[]"), items, see);
        }
    }
    for definition in crd::all().unwrap() {
        let json = serde_json::to_value(&definition).unwrap();
        let spec = json.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
        walk(&format!("{} spec", definition.spec.names.kind), spec, see);
    }
}

#[test]
fn every_string_and_list_of_a_spec_has_a_bound() {
    let mut faults = Vec::new();
    visit_specs(&mut |path, node| match node.get("type").and_then(Value::as_str) {
        Some("string") if node.get("maxLength").is_none() && node.get("enum").is_none() => {
            faults.push(path.to_owned());
        }
        Some("array") if node.get("maxItems").is_none() => faults.push(path.to_owned()),
        _ => {}
    });
    assert!(faults.is_empty(), "no maxLength or maxItems at {faults:?}");
}

#[test]
fn no_enumerated_value_is_a_word_that_yaml_reads_as_something_else() {
    let mut values = 0;
    visit_specs(&mut |path, node| {
        for value in node.get("enum").and_then(Value::as_array).into_iter().flatten() {
            let word = value.as_str().unwrap_or_default().to_ascii_lowercase();
            let taken = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"];
            assert!(!taken.contains(&word.as_str()), "{path}: {value}");
            values += 1;
        }
    });
    assert!(values > 20, "only {values} values seen");
}
