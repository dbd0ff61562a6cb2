//! Step i: an answer that ended because its tokens were used up ends in the middle of something. The last whole line
//! stays, or at least no broken token.

use super::{Change, Context, Guard, newline};

/// So many tokens may go at most.
const MOST_TOKENS: usize = 6;

/// Cuts what is broken at the end. Only for answers whose end no other step decided.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<Change> {
    if text.is_empty() || text.ends_with('\n') {
        return None;
    }
    let token = last_token(text, context);
    let line = text.rfind('\n').and_then(|at| text.get(..=at)).filter(|head| !head.trim().is_empty());
    if let Some(line) = line {
        let line = newline::settle(line, context, guard);
        // A line that ends where the file goes on would glue or part what belongs together: then the token only.
        if guard.is_no_worse(&line, text) && !guard.is_better(token, &line) {
            return Some(Change::cut(&line));
        }
    }
    // What the token belonged to goes too where the file would be worse with it.
    let mut token = token;
    for _ in 0..MOST_TOKENS {
        if guard.is_no_worse(token, text) {
            return (token.len() < text.len()).then(|| Change::cut(token));
        }
        token = last_token(token.trim_end(), context);
    }
    None
}

/// The text without the token at its end that may be broken.
fn last_token<'t>(text: &'t str, context: &Context<'_>) -> &'t str {
    if let Some(start) = context.open_text_start(text) {
        return text.get(..start).unwrap_or_default();
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_operator = |c: char| "=<>!&|+-*/%^~?:.@$#\\".contains(c);
    let word = text.trim_end_matches(is_word);
    let operator = text.trim_end_matches(is_operator);
    if word.len() < text.len() {
        word
    } else if operator.len() < text.len() {
        operator
    } else {
        let mut characters = text.chars();
        characters.next_back();
        characters.as_str()
    }
}
