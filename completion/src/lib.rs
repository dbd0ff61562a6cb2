//! Modelgate's completion engine: what a model is asked for the place under the cursor, and what becomes of its answer.
//!
//! Everything here is a pure function of its arguments: no network, no files, no tasks, nothing of our other crates. The
//! gateway calls it between parsing a request and answering it.
//!
//! - [`language`]: which language a document is in.
//! - [`text`]: documents as LF text, and the way back to their own line endings.
//! - [`syntax`]: syntax trees under a cap of bytes and time.
//! - [`family`]: special tokens and templates of the families of models that fill in.
//! - [`tokens`], [`context`], [`prompt`]: what fits, what else is told, and the prompt itself.
//! - [`gguf`]: what a model file says of its vocabulary.
//! - [`post`]: what becomes of an answer, in twelve steps; [`eval`] measures them.

pub mod context;
pub mod eval;
pub mod family;
pub mod gguf;
pub mod language;
pub mod post;
pub mod prompt;
pub mod syntax;
pub mod text;
pub mod tokens;

pub use family::Family;
pub use language::{Language, detect};
pub use prompt::{Prompt, PromptKind, build};
pub use text::{Document, Eol, Restore, SourceText};
