//! Every file in `examples/` is well formed and makes a valid configuration where it says that it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use modelgate_api::compile::{Place, check_backend, compile};
use modelgate_api::manifest::{self, Manifests};

fn read(name: &str) -> Manifests {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    manifest::parse(name, &text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn cluster() -> Place {
    Place::Cluster { domain: "cluster.local".into() }
}

fn loopback() -> Place {
    Place::Standalone { endpoints: BTreeMap::new(), reachable: false }
}

#[test]
fn every_example_has_a_test_here() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["external-openai.yaml", "fake.yaml", "quickstart.yaml", "standalone.yaml", "vllm.yaml"]
    );
}

#[test]
fn examples_for_a_cluster_compile_there() {
    for name in ["quickstart.yaml", "vllm.yaml", "external-openai.yaml"] {
        let found = read(name);
        assert!(!found.backends.is_empty(), "{name}");
        for backend in &found.backends {
            assert_eq!(check_backend(&backend.name, &backend.spec), [], "{name}");
        }
        for gateway in &found.gateways {
            compile(gateway, &found.backends, &cluster())
                .unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        }
    }
}

#[test]
fn examples_for_one_machine_compile_on_loopback() {
    for name in ["fake.yaml", "standalone.yaml", "quickstart.yaml"] {
        let found = read(name);
        assert_eq!(found.gateways.len(), 1, "{name}");
        compile(&found.gateways[0], &found.backends, &loopback())
            .unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    }
}
