//! Manifests that are deployed as they stand: valid where they are deployed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use modelgate_api::compile::{Place, check_backend, compile};
use modelgate_api::manifest;

#[test]
fn every_environments_models_compile_in_a_cluster_and_the_compose_folders_outside_one() {
    let cluster = || Place::Cluster { domain: "cluster.local".into() };
    for (name, place) in [
        ("overlays/local/models/models.yaml", cluster()),
        ("overlays/staging/models/models.yaml", cluster()),
        ("overlays/production/models/models.yaml", cluster()),
        ("compose/gateway.yaml", Place::Standalone { endpoints: BTreeMap::new(), reachable: true }),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests").join(name);
        let found = manifest::parse(name, &std::fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!((found.backends.len(), found.gateways.len()), (1, 1), "{name}");
        assert_eq!(check_backend(&found.backends[0].name, &found.backends[0].spec), [], "{name}");
        compile(&found.gateways[0], &found.backends, &place)
            .unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    }
}
