//! What every completion protocol asks of the core, and what it gets back. Protocols only translate to and from these.

use http::HeaderMap;
use std::time::Duration;

use crate::dialect::openai::Usage;
use crate::metrics::Outcome;

/// A completion that was asked for, in no protocol's words.
#[derive(Clone, Debug, Default)]
pub struct CompletionTask {
    /// The file round the cursor.
    pub document: SourceDocument,
    /// Further files and snippets that the client sent.
    pub context: Vec<ContextItem>,
    /// How many completions are wanted; 0 counts as 1.
    pub choices: u32,
    /// Model that the request names, where it names one.
    pub model: Option<String>,
    /// A prompt that the client made itself; absent lets the gateway make one from the document.
    pub prompt: Option<PromptOverride>,
    /// Whether a whole piece of code is wanted, which has a limit of its own.
    pub generation: bool,
    /// Tokens of the answer that the client asks for; the configuration's limit holds all the same.
    pub max_tokens: Option<u32>,
    /// Temperature that the client asks for.
    pub temperature: Option<f64>,
    /// Nucleus that the client asks for.
    pub top_p: Option<f64>,
    /// Stop words that the client asks for.
    pub stops: Vec<String>,
    /// Project that the request names.
    pub project: Option<Project>,
    /// Whose request it is: nothing made for one tenant is ever shown to another. Empty for anonymous callers.
    pub tenant: String,
    /// The user, for what is sticky by user; empty when unknown.
    pub subject: String,
    /// The editor that asks, as far as the client says; with the tenant and the file's name it tells which completion
    /// replaces which.
    pub editor: String,
    /// What becomes of a request that no backend can answer.
    pub unavailable: Unavailable,
    /// Whether the client reads along.
    pub stream: bool,
    /// Time that the caller gives, from the request's head; it can only shorten the configured one.
    pub deadline: Option<Duration>,
    /// Headers of the caller that backends get to see.
    pub headers: HeaderMap,
}

/// The file round the cursor, as the client sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SourceDocument {
    /// Name or relative path; may be empty.
    pub file_name: String,
    /// The editor's name of the language.
    pub language_identifier: Option<String>,
    /// The text before the cursor.
    pub prefix: String,
    /// The text after the cursor.
    pub suffix: String,
}

/// A file or snippet that the client sent along.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContextItem {
    /// Name or path.
    pub name: String,
    /// Its text.
    pub content: String,
    /// Whether it is a part of a file only.
    pub snippet: bool,
}

/// A prompt that the client made itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PromptOverride {
    /// To be continued as it is.
    Text(String),
    /// A conversation.
    Messages(Vec<Message>),
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A project that a request names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Project {
    /// Its number, as text, where the request has one.
    pub id: Option<String>,
    /// Its full path, where the request has one.
    pub path: Option<String>,
}

/// What becomes of a request that no backend can answer (waking, rolling, full, limited or failing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unavailable {
    /// A success without a choice: editors switch themselves off after a few errors.
    Empty,
    /// What the gateway of 2023 did: empty for an upstream's 400 and 500 and for an answer that broke off, else an error.
    Seed,
    /// The error itself.
    #[default]
    Error,
}

/// What the core answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Completed {
    /// The completions, best first; those with nothing to offer are left out.
    pub choices: Vec<Choice>,
    /// Name of the backend that answered; empty when none did.
    pub backend: String,
    /// Its model; empty when none answered.
    pub model: String,
    /// Language of the file by GitLab's names, where known.
    pub language: Option<&'static str>,
    /// What the backend says it used.
    pub usage: Option<Usage>,
    /// Experiments that took part, with the index of their variant.
    pub experiments: Vec<(String, i64)>,
    /// How it really went, whatever the protocol makes of it. The account already has it.
    pub outcome: Outcome,
}

impl Completed {
    /// No choice, and why.
    #[must_use]
    pub fn nothing(outcome: Outcome) -> Self {
        Self {
            choices: Vec::new(),
            backend: String::new(),
            model: String::new(),
            language: None,
            usage: None,
            experiments: Vec::new(),
            outcome,
        }
    }

    /// Whether an error was turned into this empty answer.
    #[must_use]
    pub fn is_swallowed(&self) -> bool {
        self.choices.is_empty()
            && !matches!(self.outcome, Outcome::Success | Outcome::Empty | Outcome::Deadline)
    }
}

/// One completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its text, ready to be put at the cursor.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Mean logarithm of its tokens' probabilities, where the backend tells.
    pub logprob: Option<f64>,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model or post-processing found its end.
    Stop,
    /// Tokens or time were used up.
    Length,
}

impl Finish {
    /// The word that clients know.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}
