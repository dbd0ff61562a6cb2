//! Modelgate's completion engine: what a model is asked for the place under the cursor, and what becomes of its answer.
//!
//! Everything here is a pure function of its arguments: no network, no files, no tasks, nothing of our other crates. The
//! gateway calls it between parsing a request and answering it.
//!
//! - [`language`]: which language a document is in.
//! - [`text`]: documents as LF text, and the way back to their own line endings.
//! - [`syntax`]: syntax trees under a cap of bytes and time.
//! - [`post`]: what becomes of an answer, in twelve steps; [`eval`] measures them.

pub mod eval;
pub mod language;
pub mod post;
pub mod syntax;
pub mod text;

pub use language::{Language, detect};
pub use text::{Document, Eol, Restore, SourceText};
