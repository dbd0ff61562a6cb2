//! Step k: answers that are not worth showing.

use super::policy::Policy;
use super::{Change, Context, Guard};

/// Empties an answer that is nothing but a comment where none was begun, or shorter than wanted.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>, guard: &mut Guard<'_>, policy: &Policy) -> Option<Change> {
    let length = text.chars().filter(|c| !c.is_whitespace()).take(policy.min_length).count();
    // White space alone is the last step's business.
    let too_short = length > 0 && length < policy.min_length;
    let comment_only = policy.drop_comment_only
        && !text.trim().is_empty()
        && is_comment_only(text, context)
        && guard.is_no_worse("", text);
    (too_short || comment_only).then(|| Change::cut(""))
}

fn is_comment_only(text: &str, context: &Context<'_>) -> bool {
    let is_comment = |line: &str| context.lexis.is_comment(line);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let before = context.current_line();
    if !before.trim().is_empty() || context.is_in_text() || !lines.all(is_comment) {
        return false;
    }
    // A comment that is being written goes on in the line above or below.
    let above = context.prefix.lines().rev().find(|line| !line.trim().is_empty());
    let below = context.suffix.lines().find(|line| !line.trim().is_empty());
    !above.is_some_and(is_comment) && !below.is_some_and(is_comment)
}
