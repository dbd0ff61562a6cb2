//! Step c: what chat models put around code, and how completion models begin: thinking, prose and code fences, an echo
//! of the cursor's line or of the prompt, one space too many.

use super::{Change, Context, Guard, newline};

/// An echo of the prompt is looked for in so many lines before the cursor …
const ECHOED_LINES: usize = 40;
/// … or in the whole of a short file.
const ECHOED_BYTES: usize = 4096;

/// All of it, in this order.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<Change> {
    let mut now = text.to_owned();
    let mut cut = false;
    if let Some(rest) = without_thinking(&now) {
        now = rest.to_owned();
    }
    if let Some((inner, closed)) = without_fence(&now, context, guard) {
        now = inner;
        cut = closed;
    }
    if let Some(rest) = without_echo(&now, context, guard) {
        now = rest.to_owned();
    }
    if let Some(rest) = without_leading_space(&now, context) {
        now = rest.to_owned();
    }
    (now != text).then(|| Change::new(&now, cut))
}

/// What stands behind the thinking that the answer begins with; nothing if it never ends.
fn without_thinking(text: &str) -> Option<&str> {
    let body = ["<think>", "<thinking>"].iter().find_map(|open| text.trim_start().strip_prefix(open))?;
    let end = body
        .find("</think")
        .map(|at| body.get(at..).and_then(|rest| rest.find('>')).map_or(body.len(), |e| at + e + 1));
    let rest = end.and_then(|end| body.get(end..)).unwrap_or_default();
    Some(rest.trim_start_matches('\n'))
}

/// The code within a fence, and whether the fence was closed.
fn without_fence(text: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<(String, bool)> {
    let is_marker = |line: &str| line.trim().starts_with("```");
    if !text.contains("```") || context.prefix.contains("```") || context.suffix.contains("```") {
        return None;
    }
    let mut at = 0;
    let mut open = None;
    let mut prose = String::new();
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if is_marker(line) {
            match open {
                // The first marker opens the block if only prose or nothing stands before it …
                None if prose.trim().is_empty() || is_prose(&prose) => open = Some(at),
                // … otherwise it closes one whose opening was part of the prompt.
                None => return Some((closed(text.get(..start)?, context, guard), true)),
                Some(from) => return Some((closed(text.get(from..start)?, context, guard), true)),
            }
        } else if open.is_none() {
            prose.push_str(line);
        }
    }
    open.map(|from| (text.get(from..).unwrap_or_default().to_owned(), false))
}

/// The line feed before a closing fence belongs to the fence, to the code, or to both.
fn closed(code: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> String {
    let bare = code.strip_suffix('\n').unwrap_or(code);
    if bare.ends_with('\n') {
        return code.to_owned();
    }
    newline::settle(code, context, guard)
}

/// A sentence or two such as "Here is the code:".
fn is_prose(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let sentence = |line: &&str| {
        let line = line.trim();
        line.ends_with([':', '.', '!'])
            && line.split_whitespace().count() >= 3
            && line.starts_with(char::is_alphabetic)
            && !line.contains(['(', '=', '{', ';'])
    };
    lines.len() <= 3 && lines.iter().all(sentence)
}

/// The answer without a beginning that repeats the lines up to the cursor.
fn without_echo<'t>(text: &'t str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<&'t str> {
    let current = context.current_line();
    // Several lines of the prompt, the cursor's line last.
    let starts = context.prefix.rmatch_indices('\n').map(|(at, _)| at + 1).take(ECHOED_LINES);
    let starts = starts.chain((context.prefix.len() <= ECHOED_BYTES).then_some(0)).skip(1);
    let echoes = starts.filter_map(|at| context.prefix.get(at..));
    let telling = |echo: &&str| echo.chars().filter(|c| c.is_alphanumeric()).count() >= 10;
    let longest = echoes.filter(|echo| text.starts_with(echo)).filter(telling).last();
    if let Some(echo) = longest
        && !current.trim().is_empty()
    {
        return text.get(echo.len()..);
    }
    // The cursor's line alone: only if the file parses better without it, since `f(f(` is code.
    let echo = if text.starts_with(current) { current } else { current.trim_start() };
    if echo.trim().chars().count() < 3 {
        return None;
    }
    let rest = text.strip_prefix(echo)?;
    let is_sentence = echo.len() >= 12 && echo.trim().contains(' ');
    let unparsed = guard.errors(text).is_none();
    (guard.is_better(rest, text) || (unparsed && is_sentence)).then_some(rest)
}

/// The answer without the one space that follows a space before the cursor.
fn without_leading_space<'t>(text: &'t str, context: &Context<'_>) -> Option<&'t str> {
    let current = context.current_line();
    let rest = text.strip_prefix(' ')?;
    let doubled = current.ends_with(' ') && !current.trim().is_empty();
    let begins_word = rest.starts_with(|c: char| c.is_alphanumeric() || "_\"'([{&*!-".contains(c));
    // Two spaces stand before a comment, in a string, and where columns are aligned.
    let is_text = context.is_in_text()
        || context.lexis.is_comment(rest)
        || current.trim_end().len() + 1 < current.len();
    (doubled && begins_word && !is_text).then_some(rest)
}
