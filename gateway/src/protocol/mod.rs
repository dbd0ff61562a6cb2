//! Completion protocols of other servers, as their clients speak them: body → task, completion → body, error → body.
//! Everything here is pure; `pipeline::fill` carries tasks to the completion core. What each honours of its original stands
//! in docs/protocols.md.

mod body;
pub mod depth;
pub mod llama_cpp;
pub mod mistral;
pub mod tabby;

use crate::complete::CompletionTask;

pub use body::BadBody;

/// A completion as a client asks for it.
#[derive(Debug)]
pub struct Asked {
    /// What the core is asked. Whose request it is, is filled in later.
    pub task: CompletionTask,
    /// Whether the answer is wanted as a stream of events.
    pub stream: bool,
    /// The caller's own user, where the request names one.
    pub user: Option<String>,
    /// Members of the answer that are wanted; absent means all (llama.cpp).
    pub fields: Option<Vec<String>>,
}

/// What an answer says besides the completion.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The request's id.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that answers, or the one asked for when none does.
    pub model: String,
    /// Members of the answer that are wanted; absent means all (llama.cpp).
    pub fields: Option<Vec<String>>,
}

/// One event of a stream.
fn event(data: &serde_json::Value) -> String {
    format!("data: {data}\n\n")
}

/// The end of a stream, where the protocol marks it.
const DONE: &str = "data: [DONE]\n\n";
