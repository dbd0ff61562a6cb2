//! Which part of a long text is looked at: whole lines round the cursor where that is possible.

use std::ops::Range;

/// Share of the window that stands before the cursor, in quarters.
const BEFORE: usize = 3;

/// At most `bytes` of the text round the cursor, three quarters of them before it; more on one side where the other is
/// short. Both ends are at line starts, or at least on character boundaries where lines are longer than the window.
pub(super) fn around(text: &str, cursor: usize, bytes: usize) -> Range<usize> {
    if text.len() <= bytes {
        return 0..text.len();
    }
    let cursor = floor(text, cursor.min(text.len()));
    let after = text.len() - cursor;
    let before = (bytes / 4 * BEFORE).max(bytes.saturating_sub(after)).min(cursor);
    let start = line_start(text, cursor - before, cursor);
    let start = unindented(text, start, cursor).unwrap_or(start);
    let end = line_end(text, cursor, (start + bytes).min(text.len()));
    start..end
}

/// The first line start within the range, or the first character boundary.
fn line_start(text: &str, from: usize, to: usize) -> usize {
    if from == 0 {
        return 0;
    }
    let from = ceil(text, from);
    // The byte before tells whether a line starts right there.
    let newline =
        text.as_bytes().get(from - 1..to).and_then(|part| part.iter().position(|byte| *byte == b'\n'));
    newline.map_or(from, |at| from + at)
}

/// The first line within the range's first half that is not indented, where a parse finds its way soonest.
fn unindented(text: &str, from: usize, to: usize) -> Option<usize> {
    if from == 0 {
        return None;
    }
    let half = floor(text, from + (to - from) / 2);
    let mut start = from;
    for line in text.get(from..half)?.split_inclusive('\n') {
        if line.starts_with(|first: char| first.is_alphanumeric() || matches!(first, '@' | '#')) {
            return Some(start);
        }
        start += line.len();
    }
    None
}

/// The last line start within the range, or the last character boundary.
fn line_end(text: &str, from: usize, to: usize) -> usize {
    if to == text.len() {
        return to;
    }
    let to = floor(text, to);
    let newline = text.get(from..to).and_then(|part| part.rfind('\n'));
    newline.map_or(to.max(from), |at| from + at + 1)
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_lines_round_the_cursor() {
        let text = "aaa\nbbb\nccc\nddd\neee\n";
        assert_eq!(text.get(around(text, 10, 12)), Some("bbb\nccc\nddd\n"));
        assert_eq!(text.get(around(text, 0, 9)), Some("aaa\nbbb\n"));
        assert_eq!(text.get(around(text, 20, 9)), Some("ddd\neee\n"));
    }

    proptest! {
        #[test]
        fn the_window_is_text_holds_the_cursor_and_keeps_its_size(
            text in "[a\nä😀]{0,80}", cursor in 0_usize..400, bytes in 0_usize..120,
        ) {
            let window = around(&text, cursor, bytes);
            prop_assert!(text.get(window.clone()).is_some());
            prop_assert!(window.len() <= bytes);
            let mut at = cursor.min(text.len());
            while !text.is_char_boundary(at) { at -= 1; }
            prop_assert!(window.start <= at && at <= window.end);
        }
    }
}
