//! What each engine's image understands: the one table of commands, flags, paths and variables. Each row names the pages
//! that its facts come from.

use modelgate_api::v1alpha1::Engine;

/// Where the files of a model are mounted.
pub(super) const MODELS: &str = "/models";
/// The volume for everything that an engine writes.
pub(super) const CACHE: &str = "/cache";
/// Where a fetched file lies when the cache is a claim.
pub(super) const KEPT: &str = "/cache/models";

/// One engine's facts.
#[derive(Debug)]
pub struct Facts {
    /// The program, named where the image's entry point changed between releases; empty means the entry point.
    pub command: &'static [&'static str],
    /// Flag before a folder or file under [`MODELS`].
    pub model: &'static str,
    /// Flag before a repository of the hub.
    pub hub: &'static str,
    /// Flag before a revision of it.
    pub revision: Option<&'static str>,
    /// Flag before the name under which the model is served.
    pub served_name: Option<&'static str>,
    /// Whether further names may follow that one.
    pub takes_aliases: bool,
    /// Arguments that make it listen on every address.
    pub listen: &'static [&'static str],
    /// Flag before the port.
    pub port: &'static str,
    /// Flag before the number of devices that each layer is split over.
    pub tensor: Option<&'static str>,
    /// Flag before the number of pipeline stages, given when it is not 1.
    pub pipeline: Option<&'static str>,
    /// Flag before the context length in tokens.
    pub context: Option<&'static str>,
    /// Arguments that are always given.
    pub always: &'static [&'static str],
    /// Arguments with GPUs.
    pub with_devices: &'static [&'static str],
    /// Path that answers 200 when requests can be served.
    pub ready: &'static str,
    /// Path that answers 200 while the process is well.
    pub live: &'static str,
    /// Where Prometheus finds its metrics.
    pub metrics: Metrics,
    /// Variables: everything that is written goes to the cache volume, since the root file system is read-only and the
    /// user has no entry in the image's passwd file.
    pub environment: &'static [(&'static str, &'static str)],
    /// Variables of a pod with several devices.
    pub several_devices: &'static [(&'static str, &'static str)],
    /// Whether processes of the engine talk through shared memory, for which a runtime's 64 MiB are too little.
    pub shares_memory: bool,
    /// Seconds between start and first answer at most: weights are fetched, loaded and compiled.
    pub startup: u32,
}

/// Where Prometheus finds an engine's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// `/metrics` on the port for requests.
    SamePort,
    /// `/metrics` on a port of its own.
    OwnPort(u16),
}

const COMMON: Facts = Facts {
    command: &[],
    model: "--model",
    hub: "--model",
    revision: Some("--revision"),
    served_name: Some("--served-model-name"),
    takes_aliases: false,
    listen: &["--host", "0.0.0.0"],
    port: "--port",
    tensor: None,
    pipeline: None,
    context: None,
    always: &[],
    with_devices: &[],
    ready: "/health",
    live: "/health",
    metrics: Metrics::SamePort,
    environment: &[],
    several_devices: &[],
    shares_memory: true,
    startup: 3600,
};

/// vLLM's documentation, "Engine arguments", "Environment variables", "Production metrics".
const VLLM: Facts = Facts {
    command: &["python3", "-m", "vllm.entrypoints.openai.api_server"],
    takes_aliases: true,
    tensor: Some("--tensor-parallel-size"),
    pipeline: Some("--pipeline-parallel-size"),
    context: Some("--max-model-len"),
    environment: &[
        ("HOME", CACHE),
        ("USER", "modelgate"),
        ("HF_HOME", "/cache/huggingface"),
        ("VLLM_CACHE_ROOT", "/cache/vllm"),
        ("TRITON_CACHE_DIR", "/cache/triton"),
        ("TORCHINDUCTOR_CACHE_DIR", "/cache/inductor"),
        ("VLLM_NO_USAGE_STATS", "1"),
    ],
    ..COMMON
};

/// SGLang's documentation, "Server arguments" and "Production metrics" (off unless asked for).
const SGLANG: Facts = Facts {
    command: &["python3", "-m", "sglang.launch_server"],
    model: "--model-path",
    hub: "--model-path",
    tensor: Some("--tp-size"),
    pipeline: Some("--pp-size"),
    context: Some("--context-length"),
    always: &["--enable-metrics"],
    environment: &[
        ("HOME", CACHE),
        ("USER", "modelgate"),
        ("HF_HOME", "/cache/huggingface"),
        ("TRITON_CACHE_DIR", "/cache/triton"),
        ("TORCHINDUCTOR_CACHE_DIR", "/cache/inductor"),
        ("FLASHINFER_WORKSPACE_BASE", CACHE),
    ],
    ..COMMON
};

/// Text Generation Inference's documentation, "Text-generation-launcher arguments". It serves one model and ignores the
/// name in requests.
const TGI: Facts = Facts {
    command: &["text-generation-launcher"],
    model: "--model-id",
    hub: "--model-id",
    served_name: None,
    listen: &["--hostname", "0.0.0.0"],
    tensor: Some("--num-shard"),
    context: Some("--max-total-tokens"),
    environment: &[
        ("HOME", CACHE),
        ("USER", "modelgate"),
        ("HF_HOME", "/cache/huggingface"),
        ("HUGGINGFACE_HUB_CACHE", "/cache/huggingface/hub"),
        ("TRITON_CACHE_DIR", "/cache/triton"),
        ("USAGE_STATS", "off"),
    ],
    ..COMMON
};

/// llama.cpp, `tools/server/README.md`: `/metrics` only when asked for; `--n-gpu-layers` beyond the model's own number
/// means all; with several GPUs layers are split among them by themselves.
const LLAMA_CPP: Facts = Facts {
    hub: "--hf-repo",
    revision: None,
    served_name: Some("--alias"),
    context: Some("--ctx-size"),
    always: &["--metrics"],
    with_devices: &["--n-gpu-layers", "999"],
    environment: &[("HOME", CACHE), ("LLAMA_CACHE", "/cache/llama.cpp"), ("HF_HOME", "/cache/huggingface")],
    shares_memory: false,
    ..COMMON
};

/// Triton's user guide ("Quickstart", "Metrics", health of the KServe protocol) and its TensorRT-LLM backend's README
/// (several ranks in one pod need the orchestrator mode). Names and contexts are those of the model repository.
const TRITON: Facts = Facts {
    command: &["tritonserver"],
    model: "--model-repository",
    hub: "--model-repository",
    revision: None,
    served_name: None,
    listen: &["--http-address", "0.0.0.0"],
    port: "--http-port",
    always: &["--allow-grpc", "false", "--metrics-port", "8002"],
    ready: "/v2/health/ready",
    live: "/v2/health/live",
    metrics: Metrics::OwnPort(8002),
    environment: &[("HOME", CACHE), ("USER", "modelgate"), ("TRITON_CACHE_DIR", "/cache/triton")],
    several_devices: &[("TRTLLM_ORCHESTRATOR", "1")],
    ..COMMON
};

/// The facts of an engine; none for Embedded, whose program is ours, and for Custom, of which nothing is known.
#[must_use]
pub fn facts(engine: Engine) -> Option<&'static Facts> {
    match engine {
        Engine::Vllm => Some(&VLLM),
        Engine::SGLang => Some(&SGLANG),
        Engine::Tgi => Some(&TGI),
        Engine::LlamaCpp => Some(&LLAMA_CPP),
        Engine::Triton => Some(&TRITON),
        Engine::Embedded | Engine::Custom => None,
    }
}
