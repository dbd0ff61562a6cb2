//! `ModelBackend.spec.external`: a model server that runs elsewhere, what it speaks and on which side of the data boundary
//! it is.

use serde::{Deserialize, Serialize};

use super::SecretKeyRef;

/// A server that runs elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExternalServer {
    /// What the server speaks.
    pub protocol: ExternalProtocol,
    /// Base address, with the version where the server has one: `https://api.example.com/v1`. Required but for VertexAI, whose
    /// address follows from `vertex.location`.
    #[cfg_attr(feature = "crd", schemars(length(min = 8, max = 1024)))]
    pub url: Option<String>,
    /// Bearer token, key `token` when none is named. For VertexAI a Google credentials file, key `credentials.json` when
    /// none is named; absent means Application Default Credentials.
    pub auth_secret_ref: Option<SecretKeyRef>,
    /// CA certificates, PEM, that the server's certificate must be signed by; key `ca.crt` when none is named. Absent means
    /// the system's.
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// Speak HTTP/2 without TLS from the first byte (h2c), for an `http://` address. With `https://` the version is
    /// negotiated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub h2c: bool,
    /// Whether code sent there stays inside. Absent: Inside for loopback addresses and names in the cluster's own DNS
    /// domain, Outside for all else.
    pub boundary: Option<Boundary>,
    /// How its health is found out: `Models` lists the models, `Completion` asks for one token, `None` asks nothing.
    #[serde(default)]
    pub probe: Probe,
    /// Where the model is on Vertex AI. Required with `protocol: VertexAI`, refused with any other.
    pub vertex: Option<Vertex>,
}

impl ExternalServer {
    /// The base address without a trailing slash: the one given, else that of Vertex AI in its location. Empty when neither
    /// is known, which no valid spec is.
    #[must_use]
    pub fn base_url(&self) -> String {
        match (&self.url, &self.vertex) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(vertex)) if vertex.location == "global" => "https://aiplatform.googleapis.com".into(),
            (None, Some(vertex)) => format!("https://{}-aiplatform.googleapis.com", vertex.location),
            (None, None) => String::new(),
        }
    }
}

/// Protocols of external servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum ExternalProtocol {
    /// `/completions`, `/chat/completions`, `/embeddings` and `/models` under the base address: vLLM, SGLang and hosted
    /// servers.
    #[default]
    OpenAI,
    /// Google's Vertex AI: `:predict` of the models of 2023, Gemini, and Codestral of Mistral there.
    VertexAI,
    /// Mistral's `/fim/completions` beside OpenAI's chat and embeddings.
    Mistral,
    /// Hugging Face's Text Generation Inference: `/generate` and `/generate_stream`.
    TGI,
    /// llama.cpp's server: `/infill` and `/completion`.
    LlamaCpp,
    /// NVIDIA Triton: `/generate` of its TensorRT-LLM and vLLM backends, and tensors by `/infer` where a model takes them.
    Triton,
    /// Another GitLab AI gateway, which gets the requests of a route's `match.paths` byte for byte.
    GitLab,
}

/// Where a model is on Vertex AI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Vertex {
    /// Project that pays.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 128), regex(pattern = r"^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$"))
    )]
    pub project: String,
    /// Region, such as `us-central1`, or `global`.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z]+(-?[a-z0-9]+)*$"))
    )]
    pub location: String,
    /// The model as its publisher calls it, `code-gecko@002` or `mistralai/codestral-2501`; absent means `model.name`, and
    /// without a publisher Google's.
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 1, max = 128),
            regex(pattern = r"^([a-z0-9-]+/)?[A-Za-z0-9][-A-Za-z0-9._@]*$")
        )
    )]
    pub publisher_model: Option<String>,
}

/// Which side of the data boundary a server is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Boundary {
    /// Code sent there stays within the organisation.
    Inside,
    /// Code sent there leaves it: only routes with `dataBoundary: External` may use it.
    Outside,
}

/// How an external server's health is found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Probe {
    /// List the models, which costs nothing.
    #[default]
    Models,
    /// Ask for a completion of one token.
    Completion,
    /// Ask nothing.
    None,
}
