//! The steps by name, and which of them a user wants.

use std::collections::BTreeSet;

use crate::syntax::Caps;

/// One of the twelve steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// a: special tokens of the model.
    SpecialTokens,
    /// b: stop words.
    StopWords,
    /// c: code fences, thinking, an echo of the cursor's line, a leading space.
    Rewrite,
    /// d: loops.
    Repetition,
    /// e: lines copied from above the cursor.
    Reflection,
    /// f: text that already stands after the cursor.
    SuffixOverlap,
    /// g: closing brackets that are already there.
    Brackets,
    /// h: the end of the block in which the cursor stands.
    Scope,
    /// i: a broken token at the end of an answer that was cut for its length.
    Truncation,
    /// j: the file's indentation and line ends.
    Indentation,
    /// k: answers with nothing but a comment, or too short.
    Filter,
    /// l: white space at the end.
    WhiteSpace,
}

impl Step {
    /// All steps in the order in which they run.
    pub const ALL: [Step; 12] = [
        Step::SpecialTokens,
        Step::StopWords,
        Step::Rewrite,
        Step::Repetition,
        Step::Reflection,
        Step::SuffixOverlap,
        Step::Brackets,
        Step::Scope,
        Step::Truncation,
        Step::Indentation,
        Step::Filter,
        Step::WhiteSpace,
    ];

    /// The name in metrics and configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Step::SpecialTokens => "SpecialTokens",
            Step::StopWords => "StopWords",
            Step::Rewrite => "Rewrite",
            Step::Repetition => "Repetition",
            Step::Reflection => "Reflection",
            Step::SuffixOverlap => "SuffixOverlap",
            Step::Brackets => "Brackets",
            Step::Scope => "Scope",
            Step::Truncation => "Truncation",
            Step::Indentation => "Indentation",
            Step::Filter => "Filter",
            Step::WhiteSpace => "WhiteSpace",
        }
    }
}

/// What a user wants done with answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Steps that do not run. Special tokens and stop words always do.
    pub off: BTreeSet<Step>,
    /// Answers with fewer characters that are not white space are not shown.
    pub min_length: usize,
    /// Answers that are nothing but a comment are not shown, unless the cursor stands in or behind one.
    pub drop_comment_only: bool,
    /// Limits of parsing.
    pub caps: Caps,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            off: BTreeSet::new(),
            min_length: 1,
            drop_comment_only: true,
            caps: Caps { bytes: 10 * 1024, ..Caps::default() },
        }
    }
}

impl Policy {
    /// Does this step run?
    #[must_use]
    pub fn has(&self, step: Step) -> bool {
        matches!(step, Step::SpecialTokens | Step::StopWords) || !self.off.contains(&step)
    }
}
