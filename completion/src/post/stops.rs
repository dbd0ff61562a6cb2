//! Step b: stop words, and the end of the line where only that is wanted. The backend was sent as many stop words as it
//! takes; all of them hold here.

use super::{Change, Context, Mode, newline};

/// Cuts at the first stop word, or behind the first line that says something.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>) -> Option<Change> {
    let word = context
        .stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| text.find(stop.as_str()))
        .min();
    let line = (context.mode == Mode::Single).then(|| line_end(text, context)).flatten();
    let at = match (word, line) {
        (Some(word), Some(line)) => word.min(line),
        (word, line) => word.or(line)?,
    };
    (at < text.len()).then(|| Change::cut(text.get(..at).unwrap_or_default()))
}

/// Where the first line ends that is not blank; with its line feed if it is inserted whole.
fn line_end(text: &str, context: &Context<'_>) -> Option<usize> {
    let begin = text.find(|c: char| !c.is_whitespace())?;
    let end = begin + text.get(begin..)?.find('\n')?;
    Some(if newline::wants_line_feed(context) { end + 1 } else { end })
}

/// Is the wanted line complete?
#[must_use]
pub fn is_decided(text: &str, context: &Context<'_>) -> bool {
    context.mode == Mode::Single && line_end(text, context).is_some()
}
