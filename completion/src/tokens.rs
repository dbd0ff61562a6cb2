//! Counting tokens. A prompt that is too long is refused or cut by the engine in the wrong place, so what is counted here
//! must not be less than what the engine counts.

/// Counts the tokens of a text.
pub trait Counter {
    /// Tokens of the text; never fewer than the engine will count, if the counter is to be trusted.
    fn count(&self, text: &str) -> usize;

    /// Whether the number is the model's own, and no bound.
    fn is_exact(&self) -> bool {
        false
    }
}

/// How many tokens a prompt has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// The number.
    pub tokens: usize,
    /// Whether a tokenizer counted them; otherwise it is a bound.
    pub exact: bool,
}

/// A bound for the tokenizers of code models, where none is loaded: a word has a token for each three small letters begun
/// and for each two capitals, a digit, a sign and a line end one each, a single space none, a run of spaces one and one
/// more for each sixteen; a character beyond ASCII one less than its bytes. `docs/completion-engine.md` has it beside what
/// real tokenizers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound;

/// Small letters that one token stands for at least.
const SMALL: usize = 3;
/// Capitals that one token stands for at least.
const CAPITALS: usize = 2;
/// Spaces of a run that one token stands for at least.
const SPACES: usize = 16;

/// A word or a run of spaces that has not ended yet.
#[derive(Default)]
struct Run {
    small: usize,
    capitals: usize,
    spaces: usize,
}

impl Run {
    const fn is_word(&self) -> bool {
        self.small + self.capitals > 0
    }

    /// Its tokens; a new one begins.
    fn end(&mut self) -> usize {
        let run = std::mem::take(self);
        let spaces = if run.spaces > 1 { 1 + run.spaces / SPACES } else { 0 };
        spaces + run.small.div_ceil(SMALL) + run.capitals.div_ceil(CAPITALS)
    }
}

impl Counter for Bound {
    fn count(&self, text: &str) -> usize {
        let (mut tokens, mut run) = (0, Run::default());
        for character in text.chars() {
            if character.is_ascii_alphabetic() {
                if run.spaces > 0 {
                    tokens += run.end();
                }
                if character.is_ascii_lowercase() {
                    run.small += 1;
                } else {
                    run.capitals += 1;
                }
            } else if character == ' ' {
                if run.is_word() {
                    tokens += run.end();
                }
                run.spaces += 1;
            } else {
                tokens += run.end() + character.len_utf8().saturating_sub(1).max(1);
            }
        }
        // A single space at the end has no word to join.
        tokens + usize::from(run.spaces == 1) + run.end()
    }
}

/// One token for each byte: no tokenizer that can spell every byte makes more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes;

impl Counter for Bytes {
    fn count(&self, text: &str) -> usize {
        text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bound_counts_words_signs_and_runs() {
        let table = [
            ("", 0),
            ("def", 1),
            ("return", 2),
            ("MAX_SIZE", 5),
            ("getName", 3),
            ("a b", 2),
            ("x = 12;\n", 6),
            ("        x", 2),
            ("é", 1),
            ("a ", 2),
        ];
        for (text, tokens) in table {
            assert_eq!(Bound.count(text), tokens, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_never_count_less_than_the_whole(text in any::<String>(), cut in any::<proptest::sample::Index>()) {
            let mut at = cut.index(text.len() + 1);
            while !text.is_char_boundary(at) { at -= 1; }
            let (left, right) = text.split_at(at);
            prop_assert!(Bound.count(left) + Bound.count(right) >= Bound.count(&text));
            prop_assert!(Bound.count(&text) <= Bytes.count(&text));
        }
    }
}
