//! What becomes of the line feed at a cut: a whole line that is inserted before another one keeps it, a completion of
//! the cursor's own line does not. The parser decides, and the shape of the file when both parse.

use super::context::after_last_line_feed;
use super::{Context, Guard};

/// The text up to a cut at a line boundary, with one line feed at its end or none.
#[must_use]
pub fn settle(kept: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> String {
    let core = kept.trim_end_matches('\n');
    if core.len() == kept.len() || core.is_empty() {
        return core.to_owned();
    }
    let with = format!("{core}\n");
    let wanted =
        wants_line_feed(context) || (is_line_of_its_own(context.suffix) && !ends_in_indentation(core));
    let (first, second) = if wanted { (with, core.to_owned()) } else { (core.to_owned(), with) };
    match (guard.errors(&first), guard.errors(&second)) {
        (Some(one), Some(two)) if two < one => second,
        _ => first,
    }
}

/// Does a whole line end at a cut? So it is where nothing at all stands before the cursor on its line, and at the end of
/// a file.
#[must_use]
pub fn wants_line_feed(context: &Context<'_>) -> bool {
    context.current_line().is_empty() || context.suffix.is_empty()
}

/// Text that goes on within a line has one space in front at most.
fn is_line_of_its_own(suffix: &str) -> bool {
    suffix.starts_with('\t') || suffix.starts_with("  ")
}

fn ends_in_indentation(text: &str) -> bool {
    after_last_line_feed(text).trim().is_empty()
}
