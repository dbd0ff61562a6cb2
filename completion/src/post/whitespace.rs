//! Step l: white space at the end of an answer that nobody sees.

use super::context::after_last_line_feed;
use super::{Change, Context};

/// Drops spaces at the end of a line, and an answer of white space alone unless it stands between code and code or ends
/// the last line of the file.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>) -> Option<Change> {
    if !context.rest_of_line().trim().is_empty() {
        return None;
    }
    if text.trim().is_empty() {
        let ends_file =
            context.suffix.is_empty() && text == "\n" && !context.current_line().trim().is_empty();
        return (!ends_file && !text.is_empty()).then(|| Change::new("", false));
    }
    // Indentation is where the next line begins.
    let is_indentation = after_last_line_feed(text).trim().is_empty();
    let kept = text.trim_end_matches([' ', '\t']);
    (!is_indentation && kept.len() < text.len()).then(|| Change::new(kept, false))
}
