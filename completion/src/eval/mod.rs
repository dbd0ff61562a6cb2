//! How good the rules are, measured without a model: correct completions must come through as they are, spoilt ones must
//! come back whole. The samples are infilling problems, each a file cut in three.

mod form;
mod measure;
mod mutation;
mod report;
mod sample;
mod time;
mod typing;

pub use form::Form;
pub use measure::{Cell, Options, Outcome, measure};
pub use mutation::Mutation;
pub use report::Report;
pub use sample::{Sample, Set, light, read};
pub use time::{Times, long_file, time};
pub use typing::typing;
