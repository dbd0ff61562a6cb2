//! What the model is told besides the text round the cursor, from the same file: imports that the cut took away, the heads
//! of classes and functions that enclose the cursor and begin before the cut, signatures of what follows.

mod extract;
mod heads;
mod kinds;

use std::collections::HashSet;
use std::ops::Range;

pub use extract::{Item, Part, items};

use crate::language::Language;
use crate::text::Document;
use crate::tokens::Counter;

/// Lines of a signature or head that are shown.
const MAX_LINES: usize = 6;

/// Whether items are found in documents of a language.
#[must_use]
pub const fn is_known(language: Language) -> bool {
    let kinds = kinds::of(language);
    !(kinds.imports.is_empty() && kinds.functions.is_empty())
}

/// What stands at the top of the prompt's text before the cursor: the items that fit, by priority, as lines of the
/// document's language. Nothing that is `visible` anyway is said twice. Empty, or ends with a line end.
#[must_use]
pub fn header(
    document: &Document,
    items: &[Item],
    visible: &Range<usize>,
    budget: usize,
    counter: &dyn Counter,
) -> String {
    let whole = document.whole();
    let shown = whole.get(visible.clone()).unwrap_or_default();
    let mut seen: HashSet<&str> = shown.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut left = budget;
    let (mut imports, mut signatures, mut heads) = (String::new(), String::new(), String::new());
    for part in [Part::Import, Part::Head, Part::Signature] {
        for item in items.iter().filter(|item| item.part == part && is_hidden(item, visible)) {
            let first = item.text.lines().next().unwrap_or_default().trim();
            if first.is_empty() || !seen.insert(first) {
                continue;
            }
            let Some(text) = shown_as(document.language(), item) else { continue };
            let tokens = counter.count(&text);
            if tokens > left {
                continue;
            }
            left -= tokens;
            match part {
                Part::Import => imports.push_str(&text),
                Part::Signature => signatures.push_str(&text),
                Part::Head => heads.push_str(&text),
            }
        }
    }
    [imports, signatures, heads].concat()
}

/// Imports and heads that end, or at least begin, before what is shown; signatures that begin after it.
fn is_hidden(item: &Item, visible: &Range<usize>) -> bool {
    match item.part {
        Part::Import | Part::Head => item.range.start < visible.start,
        Part::Signature => item.range.start >= visible.end,
    }
}

/// Imports and heads are code of the file, in front of code of the file; signatures come from behind the cursor and are
/// told as comments, every line of them.
fn shown_as(language: Option<Language>, item: &Item) -> Option<String> {
    let lines: Vec<&str> = item.text.lines().take(MAX_LINES).collect();
    let text = lines.join("\n");
    let text = match item.part {
        Part::Signature => language?.comment(&text)?,
        Part::Import | Part::Head => text,
    };
    Some(format!("{}\n", text.trim_end()))
}
