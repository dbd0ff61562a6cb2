//! A rendered configuration of every released format still loads; a newer minor's fields are ignored, a newer major is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use modelgate_api::contract::{FORMAT_VERSION, GatewayConfig, ReadError, Target};

const V1_0: &str = include_str!("contract/1.0.yaml");

#[test]
fn the_fixture_of_format_1_0_loads() {
    let config = GatewayConfig::from_yaml(V1_0).expect("format 1.0");
    assert_eq!(config.format_version, FORMAT_VERSION);
    assert_eq!(config.routes[0].backends[0].name, "small");
    assert!(matches!(config.backends["hosted"].target, Target::External { .. }));
}

#[test]
fn fields_of_a_newer_minor_version_are_ignored() {
    let newer = V1_0.replace("formatVersion: \"1.0\"", "formatVersion: \"1.9\"\nfromTheFuture: {a: [1]}");
    let config = GatewayConfig::from_yaml(&newer).expect("format 1.9");
    assert_eq!(config.routes.len(), 1);
}

#[test]
fn a_newer_major_version_is_refused_with_what_to_do() {
    for version in ["2.0", "0.9", "x", ""] {
        let newer = V1_0.replace("formatVersion: \"1.0\"", &format!("formatVersion: \"{version}\""));
        let error = GatewayConfig::from_yaml(&newer).expect_err(version);
        assert!(matches!(error, ReadError::Version { .. }), "{error}");
        assert!(error.to_string().contains("upgrade the gateway"), "{error}");
    }
}
