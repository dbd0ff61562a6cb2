//! `compile` as a table: YAML in, configuration or problems out.

mod external;
mod sharing;

use std::collections::BTreeMap;

use super::{Place, Reason, compile};
use crate::contract::{ChildModel, GatewayConfig, Target};
use crate::manifest;
use crate::v1alpha1::{Boundary, ExternalProtocol, Probe, Role};

const GATEWAY: &str = "
apiVersion: modelgate.dev/v1alpha1
kind: ModelGateway
metadata: {name: gw, namespace: team}
spec:
  auth: {oidc: [{issuer: https://gitlab.example.com, audiences: [gitlab-code-suggestions], caSecretRef: {name: gitlab-ca}}]}
  routes:
    - name: code
      backends: [{name: b}]
";

const EMBEDDED: &str = "
apiVersion: modelgate.dev/v1alpha1
kind: ModelBackend
metadata: {name: b, namespace: team}
spec:
  model: {name: small, aliases: [tiny], contextLength: 2048, source: {pvc: {claim: models, path: small.gguf}}}
  server: {engine: Embedded}
";

fn external(url: &str, extra: &str) -> String {
    format!(
        "\napiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: b, namespace: team}}\nspec:\n  model: {{name: m}}\n  external: {{protocol: OpenAI, url: '{url}'{extra}}}\n"
    )
}

fn cluster() -> Place {
    Place::Cluster { domain: "cluster.local".into() }
}

fn standalone(endpoints: &[(&str, &str)], reachable: bool) -> Place {
    let endpoints = endpoints.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())).collect();
    Place::Standalone { endpoints, reachable }
}

fn run(gateway: &str, backend: &str, place: &Place) -> Result<GatewayConfig, Vec<(Reason, String)>> {
    let found = manifest::parse("test.yaml", &format!("{gateway}---{backend}"))
        .expect("the manifests are well formed");
    compile(&found.gateways[0], &found.backends, place).map_err(|problems| {
        problems.into_iter().map(|problem| (problem.reason, problem.to_string())).collect()
    })
}

#[test]
fn an_embedded_backend_is_its_pods_in_a_cluster_and_a_child_process_without_one() {
    let config = run(GATEWAY, EMBEDDED, &cluster()).expect("valid");
    let pods = Target::Pods {
        host: "b-engine-pods.team.svc.cluster.local".into(),
        port: 8000,
        protocol: ExternalProtocol::OpenAI,
    };
    assert_eq!(config.backends["b"].target, pods);
    assert_eq!(config.backends["b"].boundary, Boundary::Inside);
    assert_eq!(
        config.routes[0].models,
        ["small", "tiny"],
        "a route without match takes what its backends serve"
    );
    assert_eq!(config.secrets(), ["gitlab-ca"]);

    let config = run(GATEWAY, EMBEDDED, &standalone(&[], false)).expect("valid");
    let model = ChildModel::Claim { claim: "models".into(), path: "small.gguf".into() };
    assert_eq!(config.backends["b"].target, Target::Child { model, args: vec![] });
}

#[test]
fn a_vllm_backend_needs_an_endpoint_without_kubernetes() {
    let vllm = EMBEDDED.replace("Embedded", "VLLM");
    let problems = run(GATEWAY, &vllm, &standalone(&[], false)).expect_err("no address");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].0, Reason::NoEndpoint);
    assert!(
        problems[0].1.contains("ModelBackend b") && problems[0].1.contains("`--endpoint b=URL`"),
        "{}",
        problems[0].1
    );

    let config = run(GATEWAY, &vllm, &standalone(&[("b", "http://127.0.0.1:9/v1/")], false)).expect("valid");
    let target = Target::External {
        protocol: ExternalProtocol::OpenAI,
        url: "http://127.0.0.1:9/v1".into(),
        credential: None,
        ca: None,
        h2c: false,
        vertex: None,
        probe: Probe::Models,
    };
    assert_eq!(config.backends["b"].target, target);
}

#[test]
#[allow(clippy::too_many_lines)] // a table of cases
fn each_mistake_is_named_with_its_field_and_its_fix() {
    let anonymous = GATEWAY.replace(
        "oidc: [{issuer: https://gitlab.example.com, audiences: [gitlab-code-suggestions], caSecretRef: {name: gitlab-ca}}]",
        "anonymous: true",
    );
    let nobody = anonymous.replace("anonymous: true", "anonymous: false");
    let fake = EMBEDDED
        .replace(", source: {pvc: {claim: models, path: small.gguf}}", "")
        .replace("server: {engine: Embedded}", "fake: {failRate: 2, delay: 5d}");
    let cases: &[(&str, String, String, Place, Reason, &str)] = &[
        (
            "unknown backend",
            GATEWAY.replace("{name: b}", "{name: c}"),
            EMBEDDED.into(),
            cluster(),
            Reason::BackendNotFound,
            "ModelGateway gw spec.routes[0].backends[0].name: no ModelBackend \"c\" in namespace \"team\" (there are: b)",
        ),
        (
            "backend of another namespace",
            GATEWAY.into(),
            EMBEDDED.replace("namespace: team", "namespace: other"),
            cluster(),
            Reason::BackendNotFound,
            "in namespace \"team\" (there is none yet)",
        ),
        (
            "nobody may",
            nobody,
            EMBEDDED.into(),
            cluster(),
            Reason::AuthMissing,
            "spec.auth: nobody could use",
        ),
        (
            "anonymous in a cluster",
            anonymous.clone(),
            EMBEDDED.into(),
            cluster(),
            Reason::AnonymousExposed,
            "anonymousExposed: true",
        ),
        (
            "anonymous on a reachable address",
            anonymous.clone(),
            EMBEDDED.into(),
            standalone(&[], true),
            Reason::AnonymousExposed,
            "spec.auth.anonymous",
        ),
        (
            "code outside",
            GATEWAY.into(),
            external("https://api.example.com/v1", ""),
            cluster(),
            Reason::DataBoundary,
            "set spec.routes[0].dataBoundary: External",
        ),
        (
            "a private address proves nothing",
            GATEWAY.into(),
            external("http://10.0.0.8/v1", ""),
            cluster(),
            Reason::DataBoundary,
            "10.0.0.8 is not a loopback address",
        ),
        (
            "a credential in the address",
            GATEWAY.into(),
            external("https://u:p@example.com/v1", ""),
            cluster(),
            Reason::BackendInvalid,
            "authSecretRef",
        ),
        (
            "a metadata address in decimal",
            GATEWAY.into(),
            external("http://2852039166/v1", ", boundary: Inside"),
            cluster(),
            Reason::BackendInvalid,
            "169.254.169.254 is a link-local or metadata address; no backend may be there",
        ),
        (
            "loopback in a cluster",
            GATEWAY.into(),
            external("http://[::ffff:127.0.0.1]:8083/v1", ""),
            cluster(),
            Reason::BackendInvalid,
            "which in a pod is the pod itself",
        ),
        (
            "localhost in a cluster",
            GATEWAY.into(),
            external("http://LOCALHOST.:8083/v1", ""),
            cluster(),
            Reason::BackendInvalid,
            "localhost is the gateway's own pod",
        ),
        (
            "vertex without a place",
            GATEWAY.into(),
            external("https://example.com", "").replace("OpenAI", "VertexAI"),
            cluster(),
            Reason::BackendInvalid,
            "spec.external.vertex: is required with spec.external.protocol: VertexAI",
        ),
        (
            "two kinds of server",
            GATEWAY.into(),
            format!("{EMBEDDED}  fake: {{}}\n"),
            cluster(),
            Reason::BackendInvalid,
            "ModelBackend b spec: give exactly one of server, external and fake",
        ),
        (
            "path out of the volume",
            GATEWAY.into(),
            EMBEDDED.replace("small.gguf", "../x.gguf"),
            cluster(),
            Reason::BackendInvalid,
            "spec.model.source.pvc.path",
        ),
        (
            "share above one",
            GATEWAY.into(),
            fake.clone(),
            cluster(),
            Reason::BackendInvalid,
            "spec.fake.failRate",
        ),
        (
            "every weight zero",
            GATEWAY.replace("{name: b}", "{name: b, weight: 0}"),
            EMBEDDED.into(),
            cluster(),
            Reason::Invalid,
            "spec.routes[0].backends: no Primary has a weight",
        ),
        (
            "no length of time",
            format!("{GATEWAY}      timeout: {{idle: soon}}\n"),
            EMBEDDED.into(),
            cluster(),
            Reason::Invalid,
            "spec.routes[0].timeout.idle: \"soon\" is not a duration",
        ),
        (
            "a port of ours",
            format!("{GATEWAY}  listeners: {{http: {{port: 8083}}}}\n"),
            EMBEDDED.into(),
            cluster(),
            Reason::Invalid,
            "spec.listeners.http.port",
        ),
    ];
    for (case, gateway, backend, place, reason, text) in cases {
        let problems = run(gateway, backend, place).expect_err(case);
        assert!(
            problems.iter().any(|(found, message)| found == reason && message.contains(text)),
            "{case}: {problems:?}"
        );
    }
    assert!(
        run(&anonymous, EMBEDDED, &standalone(&[], false)).is_ok(),
        "anonymous on loopback is for local use"
    );
    assert_eq!(
        run(GATEWAY, &fake, &cluster()).expect_err("two mistakes").len(),
        2,
        "all mistakes are reported"
    );
}

#[test]
fn the_boundary_follows_the_address_unless_it_is_stated() {
    let cases = [
        ("http://127.0.0.1:8000/v1", "", Boundary::Inside),
        ("http://[::1]:8000/v1", "", Boundary::Inside),
        ("http://llm.models.svc.cluster.local/v1", "", Boundary::Inside),
        ("http://llm.models.svc/v1", "", Boundary::Inside),
        ("http://svc.cluster.local.evil.example/v1", "", Boundary::Outside),
        ("http://localhost.example/v1", "", Boundary::Outside),
        ("https://api.example.com/v1", ", boundary: Inside", Boundary::Inside),
        ("http://127.0.0.1/v1", ", boundary: Outside", Boundary::Outside),
    ];
    let gateway = GATEWAY.replace("- name: code", "- name: code\n      dataBoundary: External");
    for (url, extra, expected) in cases {
        // A loopback address is a backend's only outside a cluster.
        let place =
            if url.contains("//127.") || url.contains("[::1]") { standalone(&[], false) } else { cluster() };
        let config = run(&gateway, &external(url, extra), &place).expect(url);
        assert_eq!(
            config.backends["b"].boundary, expected,
            "{url}{extra}: {}",
            config.backends["b"].boundary_reason
        );
    }
}

#[test]
fn a_rendered_configuration_reads_back_as_it_was() {
    let hosted = external(
        "http://llm.team.svc/v1",
        ", boundary: Inside, authSecretRef: {name: key}, caSecretRef: {name: private, key: ca.pem}, h2c: true",
    );
    for backend in [EMBEDDED.to_owned(), hosted] {
        for place in [cluster(), standalone(&[], false)] {
            let config = run(GATEWAY, &backend, &place).expect("valid");
            let text = config.to_yaml().expect("YAML");
            assert_eq!(GatewayConfig::from_yaml(&text).expect("reads back"), config);
            assert_eq!(
                run(GATEWAY, &backend, &place).expect("valid").to_yaml().expect("YAML"),
                text,
                "same in, same out"
            );
        }
    }
}

#[test]
fn inputs_name_every_resource_with_its_generation() {
    let found = manifest::parse("test.yaml", &format!("{GATEWAY}---{EMBEDDED}")).expect("valid");
    let mut gateway = found.gateways[0].clone();
    gateway.generation = 7;
    gateway.uid = "u".into();
    let config = compile(&gateway, &found.backends, &cluster()).expect("valid");
    let inputs: BTreeMap<_, _> = config
        .inputs
        .iter()
        .map(|input| ((input.kind.as_str(), input.name.as_str()), input.generation))
        .collect();
    assert_eq!(inputs, BTreeMap::from([(("ModelBackend", "b"), 0), (("ModelGateway", "gw"), 7)]));
}

#[test]
fn a_gitlab_is_its_instance_and_its_portal_with_both_audiences() {
    let gateway = GATEWAY.replace(
        "{oidc: [{issuer: https://gitlab.example.com, audiences: [gitlab-code-suggestions], caSecretRef: {name: gitlab-ca}}]}",
        "{gitlab: {url: 'https://gitlab.example.com/', caSecretRef: {name: ca}, customersUrl: https://customers.gitlab.com, instanceIds: [i], signingKeySecretRef: {name: signing}}}",
    );
    let config = run(&gateway, EMBEDDED, &cluster()).expect("valid");
    let issuers: Vec<&str> = config.auth.oidc.iter().map(|issuer| issuer.issuer.as_str()).collect();
    assert_eq!(issuers, ["https://gitlab.example.com", "https://customers.gitlab.com"]);
    for issuer in &config.auth.oidc {
        assert_eq!(issuer.audiences, super::GITLAB_AUDIENCES);
    }
    assert_eq!(config.auth.oidc[1].ca, None, "a private CA does not speak for the portal");
    let bound = config.auth.gitlab.clone().expect("the rules that bind");
    assert_eq!(
        (bound.issuers, bound.instance_ids),
        (issuers.iter().map(ToString::to_string).collect(), vec!["i".to_owned()])
    );
    assert_eq!(config.secrets(), ["ca", "signing"]);
}

#[test]
fn a_route_carries_its_conditions_roles_and_limits_with_every_default() {
    let backends = format!(
        "{EMBEDDED}---{}",
        EMBEDDED.replace("{name: b,", "{name: s,").replace("name: small", "name: other")
    );
    let gateway = GATEWAY.replace(
        "backends: [{name: b}]",
        "match: {paths: [\"/v2/*\"], languages: [python], percent: 12.5, headers: [{name: X-Team}], projects: {configMapRef: {name: pilots}}}
      backends: [{name: b}, {name: s, role: Shadow}]
      retries: {max: 1}
      hedging: {after: 250ms}
      timeout: {firstToken: 2s}",
    );
    let config = run(&gateway, &backends, &cluster()).expect("valid");
    let route = &config.routes[0];
    assert_eq!(route.models, ["small", "tiny"], "what a shadow serves is not served by the route");
    assert_eq!(route.matches.millipercent, Some(12_500));
    assert_eq!(route.matches.headers[0].name, "x-team");
    let shares: Vec<_> = route.backends.iter().map(|used| (used.weight, used.role)).collect();
    assert_eq!(shares, [(1, Role::Primary), (100, Role::Shadow)]);
    assert_eq!((route.retries.max, route.retries.budget_percent), (1, 20));
    assert_eq!(route.hedging.map(|hedging| (hedging.after_ms, hedging.budget_percent)), Some((Some(250), 5)));
    assert_eq!((route.timeout.first_token_ms, route.timeout.first_byte_ms), (2_000, 30_000));
    assert_eq!(config.config_maps(), ["pilots"]);
    let secret = gateway.replace("configMapRef", "secretRef");
    let config = run(&secret, &backends, &cluster()).expect("valid");
    assert_eq!((config.config_maps(), config.secrets()), (vec![], vec!["gitlab-ca".into(), "pilots".into()]));
}
