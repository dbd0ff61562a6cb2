//! External servers that are more than an address.

use super::{GATEWAY, cluster, external, run};
use crate::contract::{Target, VertexTarget};

#[test]
fn vertex_knows_its_address_and_whose_model_it_serves() {
    let gateway = GATEWAY.replace("- name: code", "- name: code\n      dataBoundary: External");
    let backend = |vertex: &str, more: &str| {
        external("https://x", "").replace(
            "protocol: OpenAI, url: 'https://x'",
            &format!("protocol: VertexAI, vertex: {{project: p, location: {vertex}}}{more}"),
        )
    };
    let cases = [
        ("us-central1", "", "https://us-central1-aiplatform.googleapis.com", "google", "m"),
        (
            "global, publisherModel: code-gecko@002",
            "",
            "https://aiplatform.googleapis.com",
            "google",
            "code-gecko@002",
        ),
        (
            "europe-west4, publisherModel: mistralai/codestral-2501",
            ", url: 'https://vertex.example.com/'",
            "https://vertex.example.com",
            "mistralai",
            "codestral-2501",
        ),
    ];
    for (vertex, more, address, publisher, model) in cases {
        let config =
            run(&gateway, &backend(vertex, &format!("{more}, authSecretRef: {{name: google}}")), &cluster())
                .expect("valid");
        let Target::External { url, credential, vertex, .. } = &config.backends["b"].target else {
            panic!("an external server")
        };
        assert_eq!(url, address);
        assert_eq!(credential.as_ref().map(|file| file.key.as_str()), Some("credentials.json"));
        let location = vertex.as_ref().map(|vertex| vertex.location.clone()).unwrap_or_default();
        let expected =
            VertexTarget { project: "p".into(), location, publisher: publisher.into(), model: model.into() };
        assert_eq!(vertex.as_ref(), Some(&expected));
    }
}

#[test]
fn what_is_handed_on_to_a_gitlab_gateway_is_chosen_by_path_alone() {
    let backend = external("https://duo.example.com", ", boundary: Inside")
        .replace("protocol: OpenAI", "protocol: GitLab");
    let with = |matches: &str| GATEWAY.replace("- name: code\n", &format!("- name: duo\n{matches}"));
    let config = run(&with("      match: {paths: ['/v1/chat/*']}\n"), &backend, &cluster()).expect("valid");
    assert!(config.routes[0].models.is_empty(), "no model leads there");
    assert!(config.backends["b"].is_gitlab_gateway());
    for (matches, field) in [
        ("", "match.paths"),
        ("      match: {paths: ['/v1/chat/*'], models: [m]}\n", "routes[0].match"),
        ("      match: {paths: ['/v1/chat/*'], languages: [go]}\n", "routes[0].match"),
    ] {
        let problems = run(&with(matches), &backend, &cluster()).expect_err(field);
        assert!(problems[0].1.contains(field), "{problems:?}");
    }
}
