//! Step l: white space at the end of an answer that nobody sees.

use super::{Change, Context};

/// Drops spaces at the end of a line, and an answer of white space alone unless it stands between code and code.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>) -> Option<Change> {
    if !context.rest_of_line().trim().is_empty() {
        return None;
    }
    let kept = if text.trim().is_empty() { "" } else { text.trim_end_matches([' ', '\t']) };
    (kept.len() < text.len()).then(|| Change::new(kept, false))
}
