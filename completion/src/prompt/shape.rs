//! One line or several: what the cursor's place asks for. It decides where the answer stops and how long it may get.

use crate::language::{Blocks, Language};
use crate::text::Document;

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The rest of the line.
    Line,
    /// A block: until a blank line or the next statement at the top level.
    Block,
}

/// Tokens of an answer of one line.
const LINE_TOKENS: usize = 64;
/// Top-level keywords that become stops.
const KEYWORDS: usize = 8;
/// Characters that an editor puts behind the cursor by itself.
const CLOSERS: &str = ")]}\"'`:;,> \t";

impl Shape {
    /// What the cursor's place asks for.
    #[must_use]
    pub fn of(document: &Document) -> Self {
        let (before, after) = (document.line_before(), document.line_after());
        if !after.chars().all(|character| CLOSERS.contains(character)) {
            return Self::Line;
        }
        let line = before.trim();
        if line.is_empty() {
            return if after.trim().is_empty() { Self::Block } else { Self::Line };
        }
        let opens = document.language().is_some_and(|language| language.opens_block(line));
        if opens || line.ends_with(['{', '[', '(']) && after.trim().is_empty() {
            return Self::Block;
        }
        Self::Line
    }

    /// Tokens of the answer, where `most` are allowed.
    #[must_use]
    pub fn max_tokens(self, most: usize) -> usize {
        match self {
            Self::Line => most.min(LINE_TOKENS),
            Self::Block => most,
        }
    }

    /// What ends the answer, most needed first. A model that is `endless` needs the next statement as an end everywhere.
    #[must_use]
    pub fn stops(self, document: &Document, endless: bool) -> Vec<String> {
        if self == Self::Line {
            return vec!["\n".into()];
        }
        let mut stops = vec!["\n\n".to_owned()];
        // Within a block, a statement that begins at the left margin is the next one.
        let inside = endless || document.line_before().starts_with([' ', '\t']) || opens(document);
        if let (Some(language), true) = (document.language(), inside) {
            let words = language.top_level_keywords().filter(|word| !word.is_empty());
            stops.extend(words.take(KEYWORDS).map(|word| format!("\n{word}{}", end(word))));
        }
        stops
    }
}

fn opens(document: &Document) -> bool {
    document.language().is_some_and(|language: Language| {
        language.blocks() == Blocks::Colon && language.opens_block(document.line_before())
    })
}

/// A word ends with a space, a mark with itself.
fn end(word: &str) -> &'static str {
    if word.ends_with(char::is_alphanumeric) { " " } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_s_place_decides() {
        let table = [
            ("def f(a):", "", Shape::Block),
            ("def f(a):\n    ", "\n", Shape::Block),
            ("x = call(a, ", ")", Shape::Line),
            ("x = ", " + 1", Shape::Line),
            ("return ", "", Shape::Line),
            ("items = [", "", Shape::Block),
            ("items = [", "]", Shape::Line),
            ("    ", "tail", Shape::Line),
        ];
        for (prefix, suffix, shape) in table {
            let document = Document::new(prefix, suffix, "a.py", None);
            assert_eq!(Shape::of(&document), shape, "{prefix:?} | {suffix:?}");
        }
    }

    #[test]
    fn a_line_ends_with_the_line_and_a_block_before_the_next_statement() {
        let line = Document::new("x = ", "", "a.py", None);
        assert_eq!(Shape::Line.stops(&line, false), ["\n"]);
        let block = Document::new("def f():\n    ", "", "a.py", None);
        let stops = Shape::Block.stops(&block, false);
        assert_eq!(stops.first().map(String::as_str), Some("\n\n"));
        assert!(stops.contains(&"\ndef ".to_owned()) && stops.contains(&"\n@".to_owned()), "{stops:?}");
        let top = Document::new("", "", "a.py", None);
        assert_eq!(Shape::Block.stops(&top, false), ["\n\n"]);
        assert!(Shape::Block.stops(&top, true).contains(&"\ndef ".to_owned()));
        assert_eq!((Shape::Line.max_tokens(256), Shape::Block.max_tokens(256)), (64, 256));
    }
}
