//! vLLM's OpenAI-compatible server on GPUs. Flags and environment from vLLM's documentation ("Engine arguments",
//! "Environment variables").

use modelgate_api::names::DEFAULT_TOKEN_KEY;
use serde_json::{Value, json};

use super::engine::{EnginePod, Probes, claim, mount, scratch};
use crate::args::Render;
use crate::k8s::pods::http_probe;
use crate::model_backend::validate::{Source, ValidatedBackend, ValidatedServer};

const MODELS: &str = "/models";
const CACHE: &str = "/cache";
const DEFAULT_GPU: &str = "nvidia.com/gpu";

pub(super) fn engine(backend: &ValidatedBackend, server: &ValidatedServer, render: &Render) -> EnginePod {
    let accelerator = server.accelerator.as_ref();
    let count = accelerator.map_or(1, |accelerator| accelerator.count);
    let resource = accelerator.and_then(|accelerator| accelerator.resource_name.clone());
    let mut mounts =
        vec![mount("cache", CACHE, false), mount("shm", "/dev/shm", false), mount("tmp", "/tmp", false)];
    let mut volumes = vec![
        scratch("cache"),
        // Tensor parallel workers talk through shared memory; the container runtime's 64 MiB are too small.
        json!({"name": "shm", "emptyDir": {"medium": "Memory"}}),
        scratch("tmp"),
    ];
    if let Source::Claim(pvc) = &server.source {
        mounts.push(mount("models", MODELS, true));
        volumes.push(claim(&pvc.claim));
    }
    EnginePod {
        image: server.server.image.clone().unwrap_or_else(|| render.vllm_image.clone()),
        // Named, because the image's entry point changed between releases.
        command: Some(json!(["python3", "-m", "vllm.entrypoints.openai.api_server"])),
        args: args(backend, server, count),
        env: env(&server.source),
        limits: vec![(resource.unwrap_or_else(|| DEFAULT_GPU.into()), count.to_string().into())],
        probes: Probes {
            // An hour: weights are downloaded, loaded and compiled before the first answer.
            startup: http_probe("/health", "http", 10, 360),
            readiness: http_probe("/health", "http", 5, 2),
            liveness: http_probe("/health", "http", 15, 6),
        },
        mounts,
        volumes,
        init: Vec::new(),
        // There is no spare GPU to surge onto: a pod goes before its successor comes. With one replica the model is
        // away meanwhile; with more the others serve.
        strategy: json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
        progress_deadline: 4200,
        grace: 130,
    }
}

fn args(backend: &ValidatedBackend, server: &ValidatedServer, count: u32) -> Vec<String> {
    let model = &backend.model;
    let (path, revision) = match &server.source {
        Source::Claim(pvc) => (format!("{MODELS}/{}", pvc.path), None),
        Source::Hub(hub) => (hub.repo.clone(), hub.revision.clone()),
        // Validation lets only Embedded have it; vLLM would refuse the address by name.
        Source::Http(http) => (http.url.clone(), None),
    };
    let mut args: Vec<String> = vec!["--model".into(), path];
    if let Some(revision) = revision {
        args.extend(["--revision".into(), revision]);
    }
    args.extend(["--served-model-name".into(), model.name.clone()]);
    args.extend(model.aliases.iter().cloned());
    args.extend(["--host".into(), "0.0.0.0".into(), "--port".into(), server.port.to_string()]);
    args.extend(["--tensor-parallel-size".into(), count.to_string()]);
    if let Some(length) = model.context_length {
        args.extend(["--max-model-len".into(), length.to_string()]);
    }
    args
}

fn env(source: &Source) -> Vec<Value> {
    let var = |name: &str, value: &str| json!({"name": name, "value": value});
    let mut env = vec![
        // Everything that is written goes to the cache volume: the root file system is read-only, and the user has no
        // entry in the image's passwd file.
        var("HOME", CACHE),
        var("USER", "modelgate"),
        var("HF_HOME", "/cache/huggingface"),
        var("VLLM_CACHE_ROOT", "/cache/vllm"),
        var("TRITON_CACHE_DIR", "/cache/triton"),
        var("TORCHINDUCTOR_CACHE_DIR", "/cache/inductor"),
        var("VLLM_NO_USAGE_STATS", "1"),
    ];
    if let Source::Hub(hub) = source
        && let Some(token) = &hub.token_secret_ref
    {
        let key = token.key.clone().unwrap_or_else(|| DEFAULT_TOKEN_KEY.into());
        env.push(
            json!({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": token.name, "key": key}}}),
        );
    }
    env
}
