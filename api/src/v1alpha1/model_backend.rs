//! `ModelBackend`: one model and where it runs: on a server of ours, on one elsewhere, or nowhere (fake).

#[cfg(feature = "crd")]
use super::ModelBackendStatus;
use super::{
    Accelerator, Admission, AllowedGateways, BackendNetwork, CacheSpec, Engine, EnvVar, ExternalServer,
    FimSpec, GoDuration, ModelSize, MonitoringSpec, OciSource, Placement, PullSecret, Resources, RolloutSpec,
    Schemaless, SecretKeyRef,
};
use serde::{Deserialize, Serialize};

/// One model and the server that answers for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::CustomResource, schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "modelgate.dev",
        version = "v1alpha1",
        kind = "ModelBackend",
        plural = "modelbackends",
        shortname = "mbe",
        category = "modelgate",
        namespaced,
        status = "ModelBackendStatus",
        printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
        printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.readyReplicas"}"#,
        printcolumn = r#"{"name":"GPU","type":"integer","jsonPath":".spec.accelerator.count"}"#,
        printcolumn = r#"{"name":"Model","type":"string","jsonPath":".spec.model.name"}"#,
        printcolumn = r#"{"name":"Summary","type":"string","jsonPath":".status.summary"}"#,
        printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ModelBackendSpec {
    /// Which model, under which names.
    pub model: ModelSpec,
    /// A server that the operator runs. Exactly one of `server`, `external` and `fake`.
    pub server: Option<Server>,
    /// A server that runs elsewhere.
    pub external: Option<ExternalServer>,
    /// Canned answers, with no model and no GPU: for trying the path and for tests.
    pub fake: Option<FakeServer>,
    /// GPUs of each pod of `server`. Absent means one `nvidia.com/gpu` for VLLM, SGLang, TGI and Triton, and none for the
    /// engines that run on a CPU too.
    pub accelerator: Option<Accelerator>,
    /// Pods of `server`; absent means 1.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 1000)))]
    pub replicas: Option<i32>,
    /// How many requests the backend takes at once, and how long others wait for it.
    pub admission: Option<Admission>,
    /// Nodes for the pods of `server`.
    pub placement: Option<Placement>,
    /// ModelGateways that may use the backend; absent means those of its own namespace.
    pub allowed_gateways: Option<AllowedGateways>,
    /// Who may reach the pods of `server`.
    pub network: Option<BackendNetwork>,
    /// How Prometheus is told about the pods of `server`.
    pub monitoring: Option<MonitoringSpec>,
    /// Where what the pods of `server` fetch and compile is kept.
    pub cache: Option<CacheSpec>,
    /// How the pods of `server` are replaced when they change.
    pub rollout: Option<RolloutSpec>,
    /// Secrets with credentials for pulling the images of `server`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 8)))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// A pod template (`metadata` and `spec`) laid over the one of `server`, list items by their keys.
    pub pod_overrides: Option<Schemaless>,
    /// Change nothing; what runs keeps serving.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// A model: the name requests use, and where its files are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModelSpec {
    /// Name by which requests ask for the model, and which the server is asked for.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][-A-Za-z0-9._:/@]*$"))
    )]
    pub name: String,
    /// Further names that requests may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(max = 16),
            inner(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][-A-Za-z0-9._:/@]*$"))
        )
    )]
    pub aliases: Vec<String>,
    /// Tokens of prompt and answer together; absent means what the model was trained for.
    #[cfg_attr(feature = "crd", schemars(range(min = 128, max = 10_000_000)))]
    pub context_length: Option<u32>,
    /// How the model fills in between two texts. Absent: found out from the model's name.
    pub fim: Option<FimSpec>,
    /// A known model, whose size is reckoned with: how many devices it needs, and whether it fits.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 32), extend("enum" = super::preset_names())))]
    pub preset: Option<String>,
    /// The model's size, for models that no preset names.
    pub size: Option<ModelSize>,
    /// Where the model's files come from. Needed with `server` (but for Custom), refused with `external` and `fake`.
    pub source: Option<ModelSource>,
}

/// Where the model's files come from: exactly one of the four.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModelSource {
    /// A file or folder on a PersistentVolumeClaim of the same namespace, mounted read-only.
    pub pvc: Option<PvcSource>,
    /// One file, fetched before the engine starts. For Embedded, LlamaCpp and Custom.
    pub http: Option<HttpSource>,
    /// A repository on the Hugging Face hub; the engine fetches it. For VLLM, SGLang, TGI and LlamaCpp.
    pub hf: Option<HfSource>,
    /// A file or folder in an OCI image, mounted read-only as a volume; needs Kubernetes 1.33 with its `ImageVolume` feature.
    pub oci: Option<OciSource>,
}

/// A file or folder on a PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PvcSource {
    /// Name of the claim.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub claim: String,
    /// Path within the volume: relative, without `..`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 512)))]
    pub path: String,
}

/// A file behind a URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// `http://` or `https://` address of the file.
    #[cfg_attr(feature = "crd", schemars(length(min = 8, max = 1024)))]
    pub url: String,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits. A file that differs is refused.
    #[cfg_attr(feature = "crd", schemars(regex(pattern = r"^[0-9a-f]{64}$"), length(max = 64)))]
    pub sha256: String,
}

/// A repository on the Hugging Face hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HfSource {
    /// `owner/name`.
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 3, max = 200),
            regex(pattern = r"^[A-Za-z0-9][-A-Za-z0-9._]*/[-A-Za-z0-9._]+$")
        )
    )]
    pub repo: String,
    /// Commit, tag or branch; absent means the default branch. LlamaCpp knows none.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 128), regex(pattern = r"^[-A-Za-z0-9._/]+$"))
    )]
    pub revision: Option<String>,
    /// Access token; key `token` when none is named. The kubelet hands it to the engine as `HF_TOKEN`.
    pub token_secret_ref: Option<SecretKeyRef>,
}

/// A server that the operator runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Which program serves the model.
    pub engine: Engine,
    /// Image; absent means the operator's default for the engine. Custom has none and needs it.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 512)))]
    pub image: Option<String>,
    /// Arguments added after those the operator gives. No shell reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 128), inner(length(max = 4096))))]
    pub args: Vec<String>,
    /// Environment of the engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 64)))]
    pub env: Vec<EnvVar>,
    /// Port the engine listens on; absent means 8000.
    #[cfg_attr(feature = "crd", schemars(range(min = 1024, max = 65535)))]
    pub port: Option<u16>,
    /// CPU and memory of the engine's container. GPUs are asked for by `accelerator`.
    pub resources: Option<Resources>,
}

/// Canned answers (the seed's `USE_FAKE_MODELS`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FakeServer {
    /// What every completion answers; absent means a short default text.
    #[cfg_attr(feature = "crd", schemars(length(max = 16384)))]
    pub text: Option<String>,
    /// Pieces into which a streamed answer is cut; absent means 4.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 1000)))]
    pub chunks: Option<u32>,
    /// Time before each piece; absent means none.
    pub delay: Option<GoDuration>,
    /// Share of requests answered with an error, 0 to 1, spread evenly; absent means 0.
    #[cfg_attr(feature = "crd", schemars(range(min = 0.0, max = 1.0)))]
    pub fail_rate: Option<f64>,
}
