//! What one object's spec must satisfy by itself. In a cluster the API server refuses the same mistakes by the rules of
//! `crd::rules`; a gateway that stands alone has only these, and the operator checks again what an older schema let pass.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Component, Path};

use url::{Host, Url};

use super::{Place, Problem, Problems, Reason, completion, pods};
use crate::address::refused as refused_address;
use crate::v1alpha1::{
    Accelerator, AllowedGateways, Devices, Engine, EnvVar, ExternalProtocol, ExternalServer, GatewaysFrom,
    GoDuration, ModelBackendSpec, ModelGatewaySpec, ModelSource, Server, TensorParallel,
};

/// Mistakes of a ModelBackend.
#[must_use]
pub fn check_backend(name: &str, spec: &ModelBackendSpec) -> Vec<Problem> {
    let mut problems = Problems::of("ModelBackend", name);
    backend(spec, &mut problems);
    problems.into_list()
}

/// Mistakes of a ModelGateway by itself; [`super::compile`] finds those that depend on its backends too.
#[must_use]
pub fn check_gateway(name: &str, spec: &ModelGatewaySpec) -> Vec<Problem> {
    let mut problems = Problems::of("ModelGateway", name);
    gateway(spec, &mut problems);
    problems.into_list()
}

/// An `http` or `https` address with a host and without credentials, query or fragment.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("\"{text}\" is not a URL ({error}); write for example https://host/v1"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("scheme \"{}\" is not served; write http:// or https://", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a credential stands in the address; put it in a Secret and name it by authSecretRef".into()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("an address with ? or # cannot be extended; give the base address alone".into());
    }
    Ok(url)
}

pub(super) fn backend(spec: &ModelBackendSpec, problems: &mut Problems) {
    let kinds = [spec.server.is_some(), spec.external.is_some(), spec.fake.is_some()];
    if kinds.iter().filter(|given| **given).count() != 1 {
        problems.add(Reason::Invalid, "spec", "give exactly one of server, external and fake");
        return;
    }
    pods::check_model(&spec.model, problems);
    match &spec.server {
        Some(server) => check_server(spec, server, problems),
        None => refuse_server_fields(spec, problems),
    }
    if let Some(external) = &spec.external {
        check_external(external, problems);
    }
    if let Some(allowed) = &spec.allowed_gateways {
        check_allowed(allowed, problems);
    }
    if let Some(admission) = &spec.admission {
        completion::check_admission(admission, problems);
    }
    if let Some(fake) = &spec.fake {
        check_duration("spec.fake.delay", fake.delay.as_ref(), problems);
        if fake.fail_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            problems.add(Reason::Invalid, "spec.fake.failRate", "must be between 0 and 1");
        }
        if fake.chunks == Some(0) {
            problems.add(Reason::Invalid, "spec.fake.chunks", "must be at least 1");
        }
    }
}

fn check_allowed(allowed: &AllowedGateways, problems: &mut Problems) {
    let field = "spec.allowedGateways.namespaces";
    if (allowed.from == GatewaysFrom::Selector) == allowed.namespaces.is_empty() {
        problems.add(Reason::Invalid, field, "is required with from: Selector, and for it alone");
    }
    for (index, _) in allowed.namespaces.iter().enumerate().filter(|(_, name)| !is_namespace(name)) {
        problems.add(Reason::Invalid, format!("{field}[{index}]"), NAMESPACE);
    }
}

/// What a namespace's name must be.
pub(super) const NAMESPACE: &str =
    "must be a namespace's name: at most 63 lowercase letters, digits and -, at its ends a letter or digit";

/// Whether a namespace may be called so.
pub(super) fn is_namespace(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| inner(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn check_external(external: &ExternalServer, problems: &mut Problems) {
    let is_vertex = external.protocol == ExternalProtocol::VertexAI;
    match &external.url {
        Some(url) => {
            if let Err(why) = http_url(url) {
                problems.add(Reason::Invalid, "spec.external.url", why);
            }
            if external.h2c && !url.starts_with("http://") {
                let message = "is for an http:// address; remove it, over https:// the version is negotiated";
                problems.add(Reason::Invalid, "spec.external.h2c", message);
            }
        }
        None if !is_vertex => {
            let message = "is required; only VertexAI knows its own address";
            problems.add(Reason::Invalid, "spec.external.url", message);
        }
        None => {}
    }
    if is_vertex != external.vertex.is_some() {
        let message = "is required with spec.external.protocol: VertexAI, and for it alone";
        problems.add(Reason::Invalid, "spec.external.vertex", message);
    }
}

/// Why no backend may be at the host of `url`, where the address itself says so already. What a name leads to is checked
/// when it is looked up.
pub(super) fn refused_host(url: &Url, place: &Place) -> Option<String> {
    let in_cluster = matches!(place, Place::Cluster { .. });
    let address = match url.host()? {
        Host::Ipv4(address) => IpAddr::V4(address),
        Host::Ipv6(address) => IpAddr::V6(address),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let local = name == "localhost" || name.ends_with(".localhost");
            return (in_cluster && local)
                .then(|| format!("{name} is the gateway's own pod; name a Service or a host"));
        }
    };
    refused_address(address, in_cluster).map(|what| format!("{address} is {what}; no backend may be there"))
}

fn refuse_server_fields(spec: &ModelBackendSpec, problems: &mut Problems) {
    let given = [
        ("spec.model.source", spec.model.source.is_some()),
        ("spec.accelerator", spec.accelerator.is_some()),
        ("spec.replicas", spec.replicas.is_some()),
        ("spec.placement", spec.placement.is_some()),
        ("spec.network", spec.network.is_some()),
        ("spec.monitoring", spec.monitoring.is_some()),
        ("spec.cache", spec.cache.is_some()),
        ("spec.rollout", spec.rollout.is_some()),
        ("spec.imagePullSecrets", !spec.image_pull_secrets.is_empty()),
        ("spec.podOverrides", spec.pod_overrides.is_some()),
    ];
    for (path, _) in given.iter().filter(|(_, given)| *given) {
        problems.add(Reason::Invalid, *path, "is for `server` alone; remove it");
    }
}

fn check_server(spec: &ModelBackendSpec, server: &Server, problems: &mut Problems) {
    let traits = server.engine.traits();
    match &spec.model.source {
        None if traits.brings_model => {}
        None => problems.add(
            Reason::Invalid,
            "spec.model.source",
            "is required with `server`; say where the model's files are",
        ),
        Some(source) => check_source(source, server.engine, problems),
    }
    if server.engine == Engine::Custom && server.image.is_none() {
        problems.add(
            Reason::Invalid,
            "spec.server.image",
            "is required with server.engine: Custom; name the image that serves the model",
        );
    }
    match &spec.accelerator {
        Some(_) if traits.devices == Devices::Never => problems.add(
            Reason::Invalid,
            "spec.accelerator",
            "the Embedded engine runs on the CPU; remove it, or choose another server.engine",
        ),
        Some(accelerator) => check_accelerator(accelerator, problems),
        None => {}
    }
    check_env(&server.env, problems);
    if let Some(cache) = &spec.cache {
        pods::check_cache(cache, problems);
    }
    if let Some(rollout) = &spec.rollout {
        pods::check_rollout(rollout, problems);
    }
    pods::check(&spec.image_pull_secrets, spec.pod_overrides.as_ref(), problems);
}

fn check_accelerator(accelerator: &Accelerator, problems: &mut Problems) {
    let path = "spec.accelerator";
    if accelerator.mig.is_some() && accelerator.resource_name.is_some() {
        let message = "mig says which resource is asked for; remove resourceName or mig";
        problems.add(Reason::Invalid, path, message);
    }
    if accelerator.mig.is_some() && accelerator.devices() != 1 {
        let message = "no engine splits a model over MIG slices; set 1 and choose a larger mig.profile";
        problems.add(Reason::Invalid, format!("{path}.count"), message);
    }
    let Some(parallel) = &accelerator.parallel else { return };
    let Some(count) = accelerator.count else {
        let message = "needs count; remove it to have both reckoned";
        return problems.add(Reason::Invalid, format!("{path}.parallel"), message);
    };
    if parallel.pipeline.is_some_and(|pipeline| pipeline == 0 || !count.is_multiple_of(pipeline)) {
        let message = "count must be a multiple of it";
        problems.add(Reason::Invalid, format!("{path}.parallel.pipeline"), message);
    }
    if let TensorParallel::Devices(tensor) = parallel.tensor
        && tensor.checked_mul(accelerator.pipeline()) != Some(count)
    {
        let message = "tensor times pipeline must be count; write Auto to have it reckoned";
        problems.add(Reason::Invalid, format!("{path}.parallel.tensor"), message);
    }
}

fn check_source(source: &ModelSource, engine: Engine, problems: &mut Problems) {
    let traits = engine.traits();
    let kinds = [source.pvc.is_some(), source.http.is_some(), source.hf.is_some(), source.oci.is_some()];
    if kinds.iter().filter(|given| **given).count() != 1 {
        problems.add(Reason::Invalid, "spec.model.source", "give exactly one of pvc, http, hf and oci");
    }
    if let Some(hub) = &source.hf {
        if !traits.reads_hub {
            problems.add(
                Reason::Invalid,
                "spec.model.source.hf",
                "is for the engines that fetch it themselves (VLLM, SGLang, TGI, LlamaCpp); give pvc or http",
            );
        } else if !traits.pins_hub && hub.revision.is_some() {
            problems.add(
                Reason::Invalid,
                "spec.model.source.hf.revision",
                "LlamaCpp fetches no revision; give http with sha256, or pvc, to pin the file",
            );
        }
    }
    if let Some(http) = &source.http {
        if !traits.reads_file {
            problems.add(
                Reason::Invalid,
                "spec.model.source.http",
                "is one file, for server.engine Embedded, LlamaCpp and Custom; give hf or pvc",
            );
        }
        if let Err(why) = http_url(&http.url) {
            problems.add(Reason::Invalid, "spec.model.source.http.url", why);
        }
        if http.sha256.len() != 64
            || !http.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            problems.add(
                Reason::Invalid,
                "spec.model.source.http.sha256",
                "must be 64 lower-case hexadecimal digits",
            );
        }
    }
    let relative = |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if source.pvc.as_ref().is_some_and(|pvc| !relative(&pvc.path)) {
        let message = "must be relative to the volume and hold no `..`";
        problems.add(Reason::Invalid, "spec.model.source.pvc.path", message);
    }
    if source.oci.as_ref().is_some_and(|oci| !relative(&oci.path)) {
        let message = "must be relative to the image and hold no `..`";
        problems.add(Reason::Invalid, "spec.model.source.oci.path", message);
    }
}

fn check_env(env: &[EnvVar], problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for (index, var) in env.iter().enumerate() {
        if !seen.insert(&var.name) {
            problems.add(
                Reason::Invalid,
                format!("spec.server.env[{index}].name"),
                format!("\"{}\" is given twice", var.name),
            );
        }
        if var.value.is_some() && var.value_from.is_some() {
            problems.add(
                Reason::Invalid,
                format!("spec.server.env[{index}]"),
                "give value or valueFrom, not both",
            );
        }
        let kinds = var.value_from.as_ref().map(|from| {
            [from.secret_key_ref.is_some(), from.config_map_key_ref.is_some(), from.field_ref.is_some()]
        });
        if kinds.is_some_and(|kinds| kinds.iter().filter(|given| **given).count() != 1) {
            let message = "give exactly one of secretKeyRef, configMapKeyRef and fieldRef";
            problems.add(Reason::Invalid, format!("spec.server.env[{index}].valueFrom"), message);
        }
    }
}

pub(super) fn gateway(spec: &ModelGatewaySpec, problems: &mut Problems) {
    if spec.routes.is_empty() {
        problems.add(Reason::Invalid, "spec.routes", "at least one route is required");
    }
    if spec.protocols.as_ref().is_some_and(Vec::is_empty) {
        problems.add(
            Reason::Invalid,
            "spec.protocols",
            "name at least one, or leave the field out for GitLab and OpenAI",
        );
    }
    check_ports(spec, problems);
    if let Some(wanted) = &spec.completion {
        completion::check(wanted, problems);
    }
    pods::check(&spec.image_pull_secrets, spec.pod_overrides.as_ref(), problems);
    super::route::check(&spec.routes, problems);
    super::access::check(spec, problems);
    super::exposure::check(spec.expose.as_ref(), problems);
}

fn check_ports(spec: &ModelGatewaySpec, problems: &mut Problems) {
    let listeners = spec.listeners.clone().unwrap_or_default();
    let http = listeners.http.and_then(|listener| listener.port);
    let http = http.unwrap_or(crate::v1alpha1::DEFAULT_HTTP_PORT);
    let metrics = listeners.metrics.and_then(|listener| listener.port);
    let metrics = metrics.unwrap_or(crate::v1alpha1::DEFAULT_METRICS_PORT);
    if http == metrics {
        problems.add(
            Reason::Invalid,
            "spec.listeners",
            format!("http and metrics both have port {http}; give one another"),
        );
    }
    for (path, port) in [("spec.listeners.http.port", http), ("spec.listeners.metrics.port", metrics)] {
        if port == crate::names::CONTROL_PORT || port == crate::names::DEBUG_PORT {
            problems.add(
                Reason::Invalid,
                path,
                format!("{port} is taken by the gateway itself; choose another"),
            );
        }
    }
}

pub(super) fn check_duration(path: &str, value: Option<&GoDuration>, problems: &mut Problems) {
    if let Some(Err(why)) = value.map(GoDuration::parse) {
        problems.add(Reason::Invalid, path, why);
    }
}
