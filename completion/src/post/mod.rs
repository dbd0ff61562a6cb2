//! What becomes of a model's answer before an editor shows it: twelve steps in a fixed order, each a pure function in
//! its own file that says whether it changed anything. All text is LF text; the last but two step gives back the
//! file's own indentation and line ends.

mod brackets;
mod clean_end;
mod context;
mod filter;
mod guard;
mod indent;
mod lexis;
mod newline;
mod overlap;
mod place;
mod policy;
mod rank;
mod reflection;
mod repetition;
mod rewrite;
mod run;
mod scope;
mod special;
mod stops;
mod stream;
mod truncation;
mod whitespace;

pub use clean_end::clean_end;
pub use context::{Context, Mode};
pub use guard::Guard;
pub use lexis::{Event, Lexer, Lexis, State};
pub use place::Place;
pub use policy::{Policy, Step};
pub use rank::{Candidate, rank};
pub use run::{Change, Finish, Input, Processed, run, run_watched};
pub(crate) use scope::{definition, is_closer};
pub use stream::{Incremental, Progress, Watch};
