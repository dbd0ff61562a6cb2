//! Prompts: what a backend is asked for the place under the cursor, within its window.

mod build;
mod chat;
pub mod cut;
mod seed;
mod shape;
pub mod stability;

pub use build::build;
pub use chat::{Instruction, generation};
pub use seed::{SEED_WINDOW, SeedExperiment, enclosing, seed};
pub use shape::Shape;

use crate::family::{Family, OtherFile};
use crate::syntax::Caps;
use crate::tokens::{Counter, Estimate};

/// A file or snippet that the client sent along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextItem {
    /// Its name or path.
    pub name: String,
    /// Its text.
    pub content: String,
}

/// What a backend takes.
#[derive(Clone, Copy)]
pub struct BackendTraits<'a> {
    /// How its model fills in; `None` for a model that only continues a text.
    pub family: Option<&'static Family>,
    /// Whether it takes prefix and suffix by themselves and knows the template (Mistral, Vertex, llama.cpp's `/infill`).
    pub infill: bool,
    /// Whether it takes other files beside those two (llama.cpp's `input_extra`).
    pub files: bool,
    /// Tokens of prompt and answer together.
    pub window: usize,
    /// Counts tokens as its model does, or bounds them.
    pub counter: &'a dyn Counter,
}

/// What an operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Tokens of an answer at most.
    pub max_tokens: usize,
    /// Tokens of a prompt at most, however large the window is; less is faster.
    pub max_prompt: usize,
    /// Percent of the prompt for the text after the cursor.
    pub suffix_percent: usize,
    /// Percent of the prompt for other files at most.
    pub files_percent: usize,
    /// Percent of the prompt for imports, heads and signatures at most.
    pub header_percent: usize,
    /// What parsing may cost.
    pub caps: Caps,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_tokens: 256,
            max_prompt: 8192,
            suffix_percent: 20,
            files_percent: 25,
            header_percent: 15,
            caps: Caps { bytes: 12 * 1024, ..Caps::default() },
        }
    }
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// What the backend gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptKind {
    /// One text, with the family's special tokens in it as text.
    Raw {
        /// The text.
        text: String,
    },
    /// Two texts; the backend knows how to put them together.
    Infill {
        /// Text before the cursor.
        prefix: String,
        /// Text after the cursor.
        suffix: String,
        /// Other files, the nearest last; only for backends that take them.
        files: Vec<OtherFile>,
    },
    /// A conversation.
    Chat {
        /// Its messages.
        messages: Vec<Message>,
    },
}

/// A piece of a prompt and how many tokens it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// `prefix`, `suffix`, `header` or `files`.
    pub name: &'static str,
    /// Its tokens.
    pub tokens: usize,
}

/// A prompt, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What the backend gets.
    pub kind: PromptKind,
    /// What ends the answer, most needed first: hosts take 4 or 16 of them, all are enforced on the answer.
    pub stops: Vec<String>,
    /// Tokens of the answer at most.
    pub max_tokens: usize,
    /// Tokens of the prompt.
    pub tokens: Estimate,
    /// What the prompt is made of.
    pub sections: Vec<Section>,
    /// One line or several.
    pub shape: Shape,
    /// Where the shown part of the text before the cursor begins.
    pub shown_from: usize,
}

/// No prompt can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// The window holds not even the template.
    #[error(
        "the window of {window} tokens holds no prompt beside {reserved} tokens of answer and template; raise contextLength"
    )]
    Window {
        /// The window.
        window: usize,
        /// What is taken before any source text.
        reserved: usize,
    },
}
