//! Pods of the engines in the table of [`super::facts`]: the table's flags around what the spec says.

use modelgate_api::names::DEFAULT_TOKEN_KEY;
use modelgate_api::v1alpha1::Accelerator;
use serde_json::{Value, json};

use super::engine::{EnginePod, Port, Probes, Storage, fetched_into, strategy};
use super::facts::{Facts, MODELS, Metrics};
use crate::args::Render;
use crate::k8s::pods::http_probe;
use crate::model_backend::validate::{Source, ValidatedBackend, ValidatedServer};

pub(super) fn engine(
    backend: &ValidatedBackend,
    server: &ValidatedServer,
    facts: &Facts,
    render: &Render,
) -> EnginePod {
    let Storage { mounts, volumes, init } =
        Storage::of(server, facts.shares_memory, |sha256| fetched(server, sha256), render);
    let command = (!facts.command.is_empty()).then(|| json!(facts.command));
    EnginePod {
        image: server.image(render),
        command,
        args: args(backend, server, facts),
        env: env(server, facts),
        limits: limits(server.accelerator.as_ref()),
        ports: match facts.metrics {
            Metrics::SamePort => Vec::new(),
            Metrics::OwnPort(port) => vec![Port { name: "metrics", port }],
        },
        probes: Probes {
            startup: http_probe(facts.ready, "http", 10, facts.startup / 10),
            readiness: http_probe(facts.ready, "http", 5, 2),
            liveness: http_probe(facts.live, "http", 15, 6),
        },
        mounts,
        volumes,
        init,
        strategy: strategy(server),
        // The start, the pull of an image of many gigabytes and the end of the old pod.
        progress_deadline: facts.startup + 600,
        grace: 130,
    }
}

/// Name of the file that the init container fetches.
fn fetched(server: &ValidatedServer, sha256: &str) -> String {
    format!("{}/{sha256}.gguf", fetched_into(server))
}

/// GPUs as limits of the container.
pub(super) fn limits(accelerator: Option<&Accelerator>) -> Vec<(String, Value)> {
    let limits = accelerator.map(Accelerator::limits).unwrap_or_default();
    limits.into_iter().map(|(name, amount)| (name, json!(amount))).collect()
}

fn args(backend: &ValidatedBackend, server: &ValidatedServer, facts: &Facts) -> Vec<String> {
    let model = &backend.model;
    let mut args = Args::default();
    match &server.source {
        Source::Claim(pvc) => args.pair(facts.model, &format!("{MODELS}/{}", pvc.path)),
        Source::Oci(oci) => args.pair(facts.model, &format!("{MODELS}/{}", oci.path)),
        Source::Http(http) => args.pair(facts.model, &fetched(server, &http.sha256)),
        Source::Hub(hub) => {
            args.pair(facts.hub, &hub.repo);
            if let (Some(flag), Some(revision)) = (facts.revision, &hub.revision) {
                args.pair(flag, revision);
            }
        }
        Source::Image => {}
    }
    if let Some(flag) = facts.served_name {
        args.pair(flag, &model.name);
        if facts.takes_aliases {
            args.all(&model.aliases);
        }
    }
    args.all(facts.listen);
    args.pair(facts.port, &server.port.to_string());
    if let Some(accelerator) = &server.accelerator {
        if let Some(flag) = facts.tensor {
            args.pair(flag, &accelerator.tensor().to_string());
        }
        if let Some(flag) = facts.pipeline.filter(|_| accelerator.pipeline() > 1) {
            args.pair(flag, &accelerator.pipeline().to_string());
        }
        args.all(facts.with_devices);
    }
    if let (Some(flag), Some(length)) = (facts.context, model.context_length) {
        args.pair(flag, &length.to_string());
    }
    args.all(facts.always);
    args.0
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn pair(&mut self, flag: &str, value: &str) {
        self.0.extend([flag.to_owned(), value.to_owned()]);
    }

    fn all<S: AsRef<str>>(&mut self, more: &[S]) {
        self.0.extend(more.iter().map(|arg| arg.as_ref().to_owned()));
    }
}

fn env(server: &ValidatedServer, facts: &Facts) -> Vec<Value> {
    let var = |(name, value): &(&str, &str)| json!({"name": name, "value": value});
    let mut env: Vec<Value> = facts.environment.iter().map(var).collect();
    if server.accelerator.as_ref().is_some_and(|accelerator| accelerator.devices() > 1) {
        env.extend(facts.several_devices.iter().map(var));
    }
    if let Source::Hub(hub) = &server.source
        && let Some(token) = &hub.token_secret_ref
    {
        let key = token.key.clone().unwrap_or_else(|| DEFAULT_TOKEN_KEY.into());
        env.push(
            json!({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": token.name, "key": key}}}),
        );
    }
    env
}
