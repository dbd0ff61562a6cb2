//! How a model is asked to fill in between two texts: special tokens, their order, what stands for other files, where it
//! stops. Facts are data (`table.rs`), each with its source and whether anything here could confirm it.

mod auto;
mod guard;
mod render;
mod table;
mod verdict;

pub use auto::{by_model_name, by_vocabulary};
pub use guard::{broken, contains_special};
pub use render::{OtherFile, Pieces, render};
pub use table::FAMILIES;
pub use verdict::{Verdict, judge};

/// Which of the two texts comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Prefix, suffix, middle.
    Psm,
    /// Suffix, prefix, middle: what changes with each keystroke is last.
    Spm,
}

/// Who puts the token for the beginning of a sequence in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bos {
    /// The engine, where the model has one at all: the text must not bring its own.
    Engine,
    /// Nobody: the model was trained without.
    Absent,
}

/// Where other files stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In front of everything.
    First,
    /// At the beginning of the text before the cursor.
    InPrefix,
}

/// How other files, and the current one's name, are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// Where they stand.
    pub place: Place,
    /// Before and after the repository's name, once, in front.
    pub repository: Option<(&'static str, &'static str)>,
    /// Before a file's path, between path and text, after the text.
    pub file: (&'static str, &'static str, &'static str),
    /// Before and after the current file's path, behind the other files.
    pub current: Option<(&'static str, &'static str)>,
    /// Path and line end within the text before the cursor.
    pub path_in_prefix: bool,
}

/// Whether a family's facts were held against something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// Against a tokenizer file that a published package ships; tests/data/tokenizers has the excerpt.
    Tokenizer,
    /// By nothing here. The gateway still asks the backend's tokenizer at run time.
    Unconfirmed,
}

/// A family of models that fill in alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Name, as `model.fim.family` of a ModelBackend has it.
    pub name: &'static str,
    /// Which models.
    pub models: &'static str,
    /// Order of the texts.
    pub order: Order,
    /// What stands before the text before the cursor, spaces included.
    pub prefix: &'static str,
    /// What stands before the text after the cursor.
    pub suffix: &'static str,
    /// What asks for the middle; empty where the order alone does.
    pub middle: &'static str,
    /// Tokens of those three that must each be one of the model's.
    pub required: &'static [&'static str],
    /// Tokens that tell the family from others with the same three.
    pub distinctive: &'static [&'static str],
    /// Further special tokens that source text must not bring.
    pub special: &'static [&'static str],
    /// Who begins the sequence.
    pub bos: Bos,
    /// How other files are shown; absent where the model knows no way.
    pub files: Option<Files>,
    /// What ends an answer, most needed first: hosts take 4 or 16, the rest is enforced by us.
    pub stops: &'static [&'static str],
    /// Whether answers do not end by themselves: then a word that begins a statement at the left margin ends them.
    pub endless: bool,
    /// Where the facts come from.
    pub source: &'static str,
    /// Whether anything confirmed them.
    pub confirmed: Confirmed,
}

impl Family {
    /// The family of a name that [`FAMILIES`] has.
    #[must_use]
    pub fn of_name(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.name == name)
    }

    /// The family that a backend's `model.fim.family` means for a model of this name: `Auto` goes by the model's name.
    #[must_use]
    pub fn resolve(setting: &str, model: &str) -> Option<&'static Self> {
        if setting == "Auto" { by_model_name(model) } else { Self::of_name(setting) }
    }

    /// Tokens that the backend's tokenizer must make one id of each.
    #[must_use]
    pub const fn required_tokens(&self) -> &'static [&'static str] {
        self.required
    }

    /// Every special token that source text must not bring.
    pub fn specials(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.required.iter().chain(self.distinctive).chain(self.special).copied()
    }
}
