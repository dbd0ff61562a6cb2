//! What backends speak. Everything here is pure: a [`Generation`] becomes a [`Wire`], an answer or a stream of events
//! becomes text, and what passes through is only looked at. No dialect knows a connection, a clock or a credential.

pub mod abilities;
pub mod events;
mod llama_cpp;
mod mistral;
pub mod openai;
pub mod sse;
mod tgi;
mod triton;
pub mod vertex;

use bytes::Bytes;
use http::{Method, StatusCode};
use modelgate_api::contract::Target;
use modelgate_api::v1alpha1::ExternalProtocol;
use serde::Deserialize;

pub use abilities::Abilities;
pub use events::{Event, Events};
use openai::{Api, Usage};

/// What a backend speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's: vLLM, SGLang, hosted servers, and every engine that we start.
    #[default]
    OpenAi,
    /// Mistral's: fill-in-the-middle beside OpenAI's chat and embeddings.
    Mistral,
    /// Text Generation Inference's own.
    Tgi,
    /// llama.cpp's own.
    LlamaCpp,
    /// Triton's generate extension, or its tensors where the model's configuration shows that it takes those.
    Triton(triton::Model),
    /// Vertex AI's.
    Vertex(vertex::Place),
}

pub use triton::{Form as TritonForm, Model as TritonModel};

/// What is asked of a model, whatever its server speaks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Generation {
    /// What to go on from.
    pub prompt: Prompt,
    /// The server's name for the model.
    pub model: String,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// Spread of the choice among tokens, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus, 0 to 1.
    pub top_p: Option<f64>,
    /// Answers wanted; 0 means 1.
    pub choices: u32,
    /// Texts that end an answer, the most useful first: a server that takes few gets the first ones.
    pub stops: Vec<String>,
    /// Whether the answer is wanted piece by piece.
    pub stream: bool,
    /// For repeatable answers.
    pub seed: Option<u64>,
    /// Whether the likelihood of the tokens is wanted.
    pub logprobs: bool,
}

/// What to go on from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Prompt {
    /// Text as the model sees it.
    Raw(String),
    /// The text before the gap and after it; the server knows how the model wants it.
    Infill {
        /// Before the gap.
        prefix: String,
        /// After the gap.
        suffix: String,
        /// Other files, the nearest last; only for servers that take them.
        #[serde(default)]
        files: Vec<File>,
    },
    /// A conversation.
    Chat(Vec<Message>),
}

impl Prompt {
    /// The prompt for the rest of an answer that begins with `said`; `None` where a conversation has no place for it.
    #[must_use]
    pub fn followed_by(&self, said: &str) -> Option<Self> {
        let mut whole = self.clone();
        match &mut whole {
            Self::Raw(text) => text.push_str(said),
            Self::Infill { prefix, .. } => prefix.push_str(said),
            Self::Chat(_) if said.is_empty() => {}
            Self::Chat(_) => return None,
        }
        Some(whole)
    }
}

impl Default for Prompt {
    fn default() -> Self {
        Self::Raw(String::new())
    }
}

/// A file beside the one that is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct File {
    /// Its name or path.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A request as the backend reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Method.
    pub method: Method,
    /// What follows the backend's base address, query included.
    pub path: String,
    /// JSON body.
    pub body: Bytes,
    /// Whether the answer will be events, read by [`Dialect::events`]; else it is read whole by [`Dialect::read`].
    pub stream: bool,
}

impl Wire {
    fn post(path: impl Into<String>, body: &serde_json::Value, stream: bool) -> Self {
        Self { method: Method::POST, path: path.into(), body: Bytes::from(body.to_string()), stream }
    }
}

/// Why a dialect cannot ask for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the backend's server does not take {0}")]
pub struct Unsupported(pub &'static str);

/// A backend's whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// Answers, in the server's order.
    pub choices: Vec<Choice>,
    /// What it cost, where the server says so.
    pub usage: Option<Usage>,
}

/// One answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Its text.
    pub text: String,
    /// Why it ended; `None` when the server does not say.
    pub finish: Option<Finish>,
    /// Mean logarithm of the tokens' likelihood.
    pub logprob: Option<f64>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model was done, or a stop text came.
    Stop,
    /// The tokens were used up.
    Length,
    /// The server withheld the rest.
    Filtered,
}

impl Finish {
    /// From the words that servers use.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Some(match word {
            "" | "null" | "none" | "None" | "FINISH_REASON_UNSPECIFIED" => return None,
            "length" | "limit" | "max_tokens" | "MAX_TOKENS" | "model_length" => Self::Length,
            "content_filter" | "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
            | "error" => Self::Filtered,
            _ => Self::Stop,
        })
    }
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The server answered with an error status.
    #[error("the backend answered {status}: {message}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its words, cut to a readable length.
        message: String,
    },
    /// The server answered 200 and an error in it.
    #[error("the backend reported an error inside an answer: {0}")]
    Inside(String),
    /// The answer makes no sense.
    #[error("the backend's answer {0}")]
    Shape(&'static str),
}

impl Dialect {
    /// What a target speaks, before anything is measured.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        match target {
            Target::External { protocol, vertex, .. } => match (protocol, vertex) {
                (ExternalProtocol::VertexAI, Some(place)) => Self::Vertex(place.into()),
                // Nothing is ever rendered for a GitLab AI gateway: its requests are handed on as they are.
                (ExternalProtocol::OpenAI | ExternalProtocol::VertexAI | ExternalProtocol::GitLab, _) => {
                    Self::OpenAi
                }
                (ExternalProtocol::Mistral, _) => Self::Mistral,
                (ExternalProtocol::TGI, _) => Self::Tgi,
                (ExternalProtocol::LlamaCpp, _) => Self::LlamaCpp,
                (ExternalProtocol::Triton, _) => Self::Triton(TritonModel::default()),
            },
            Target::Pods { protocol: ExternalProtocol::Triton, .. } => Self::Triton(TritonModel::default()),
            Target::Pods { .. } | Target::Child { .. } | Target::Fake { .. } => Self::OpenAi,
        }
    }

    /// Small word for logs, metrics and the state document.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Mistral => "Mistral",
            Self::Tgi => "TGI",
            Self::LlamaCpp => "LlamaCpp",
            Self::Triton(_) => "Triton",
            Self::Vertex(_) => "VertexAI",
        }
    }

    /// The base address that paths are appended to. TGI, llama.cpp and Triton have their own paths beside `/v1`, so both
    /// forms of their address mean the same server.
    #[must_use]
    pub fn base<'a>(&self, url: &'a str) -> &'a str {
        let url = url.trim_end_matches('/');
        match self {
            Self::Tgi | Self::LlamaCpp | Self::Triton(_) => url.strip_suffix("/v1").unwrap_or(url),
            _ => url,
        }
    }

    /// Where OpenAI's request `api` passes through unchanged; `None` when the server has no such path.
    #[must_use]
    pub fn openai_path(&self, api: Api) -> Option<String> {
        match (self, api) {
            (Self::OpenAi, _) | (Self::Mistral, Api::Chat | Api::Embeddings | Api::Models) => {
                Some(api.path().into())
            }
            (Self::LlamaCpp, _) | (Self::Tgi, Api::Chat | Api::Completions | Api::Models) => {
                Some(format!("/v1{}", api.path()))
            }
            (Self::Vertex(place), Api::Chat) => place.openai_chat_path(),
            _ => None,
        }
    }

    /// Whether its streams just end, without a word on why.
    #[must_use]
    pub fn tells_no_end(&self) -> bool {
        matches!(self, Self::Triton(model) if !model.ends)
    }

    /// A path that costs nothing and tells whether the server is there.
    #[must_use]
    pub fn health_path(&self, model: &str) -> String {
        match self {
            Self::OpenAi | Self::Mistral => Api::Models.path().into(),
            Self::Tgi | Self::LlamaCpp => "/health".into(),
            Self::Triton(_) => format!("/v2/models/{}/ready", escape(model)),
            Self::Vertex(place) => place.model_path(),
        }
    }

    /// The server's name for the model in a request of OpenAI's that passes through.
    #[must_use]
    pub fn openai_model(&self, model: &str) -> String {
        match self {
            Self::Vertex(place) => place.openai_model(),
            _ => model.to_owned(),
        }
    }

    /// The request for `ask`, with nothing in it that `abilities` says the server refuses: too many stops are cut to the
    /// first ones, more choices to the most it gives.
    ///
    /// # Errors
    /// When the server takes no such prompt at all.
    pub fn render(&self, ask: &Generation, abilities: &Abilities) -> Result<Wire, Unsupported> {
        let ask = abilities.fit(ask)?;
        match self {
            Self::OpenAi => Ok(openai::generate::render(&ask, abilities, "")),
            Self::Mistral => mistral::render(&ask),
            Self::Tgi => Ok(tgi::render(&ask, abilities)),
            Self::LlamaCpp => Ok(llama_cpp::render(&ask, abilities)),
            Self::Triton(model) => triton::render(*model, &ask),
            Self::Vertex(place) => place.render(&ask),
        }
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// When it is an error, or nothing that this dialect has.
    pub fn read(&self, status: StatusCode, body: &[u8]) -> Result<Generated, Fault> {
        if !status.is_success() {
            return Err(Fault::Refused { status, message: error_message(body) });
        }
        match self {
            Self::OpenAi | Self::Mistral => openai::generate::read(body),
            Self::Tgi => tgi::read(body),
            Self::LlamaCpp => llama_cpp::read(body),
            Self::Triton(model) => triton::read(model.form, body),
            Self::Vertex(place) => place.read(body),
        }
    }

    /// A reader for a stream of events that this dialect's server sends.
    #[must_use]
    pub fn events(&self) -> Events {
        let note = match self {
            Self::OpenAi | Self::Mistral => openai::generate::note,
            Self::Tgi => tgi::note,
            Self::LlamaCpp => llama_cpp::note,
            Self::Triton(_) => triton::note,
            Self::Vertex(place) => place.note(),
        };
        Events::new(note, matches!(self, Self::Triton(_)))
    }
}

/// Longest part of a server's own words that is kept.
const MESSAGE_CHARS: usize = 400;

/// A server's own words for its error, whatever shape they have; the beginning of the body where none is known.
#[must_use]
pub fn error_message(body: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let value = value.as_ref().map(|value| value.get(0).unwrap_or(value));
    let found = value.and_then(|value| {
        let places = ["/error/message", "/error", "/message", "/detail", "/detail/0/msg", "/object"];
        places.iter().find_map(|place| value.pointer(place)?.as_str())
    });
    let text = found.map_or_else(|| String::from_utf8_lossy(body), std::borrow::Cow::Borrowed);
    text.trim().chars().take(MESSAGE_CHARS).collect()
}

/// A model's name as one segment of a path.
fn escape(segment: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@');
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if kept(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_found_in_every_shape_they_come_in() {
        for (body, expected) in [
            (r#"{"error":{"message":"too long","type":"x"}}"#, "too long"),
            (r#"{"error":"Input validation error","error_type":"validation"}"#, "Input validation error"),
            (r#"{"object":"error","message":"no suffix"}"#, "no suffix"),
            (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, "field required"),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (r#"[{"error":{"code":403,"message":"denied"}}]"#, "denied"),
            ("<html>bad gateway</html>", "<html>bad gateway</html>"),
            ("", ""),
        ] {
            assert_eq!(error_message(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_models_name_stays_one_segment_of_a_path() {
        assert_eq!(escape("code-gecko@002"), "code-gecko@002");
        assert_eq!(escape("a/../b c?"), "a%2F..%2Fb%20c%3F");
    }
}
