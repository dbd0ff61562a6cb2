//! Step f: the answer runs on into what already stands after the cursor. First within the cursor's line, then line by
//! line; lines may differ by a few characters. Brackets alone, and a character or two of the cursor's line, prove nothing
//! by themselves.

use super::context::{after_last_line_feed, indentation};
use super::{Change, Context, Guard, newline};

/// Letters and digits that make the beginning of a line tell-tale.
const TELLING: usize = 8;
/// Letters and digits that must be equal before an answer is cut although it goes on differently afterwards.
const TELLING_BLOCK: usize = 60;
const LONG_LINE: usize = 60;
const LONGEST_LINE: usize = 400;

/// Cuts where the text after the cursor begins again.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<Change> {
    let found = find(text, context)?;
    let kept = text.get(..found.at)?;
    let kept = match found.kind {
        Kind::WholeLine => kept.to_owned(),
        Kind::WithinLine => newline::settle(kept, context, guard),
        Kind::NextLines { gap } => {
            let line_feeds = gap.matches('\n').count();
            kept.strip_suffix(gap).unwrap_or_else(|| without_line_feeds(kept, line_feeds)).to_owned()
        }
    };
    let proven = !found.is_weak
        || guard.is_better(&kept, text)
        || context.fit(&kept).excess < context.fit(text).excess;
    (proven && guard.is_no_worse(&kept, text)).then(|| Change::cut(&kept))
}

/// Can a stream be given up: do whole lines of the text after the cursor stand in the answer already?
#[must_use]
pub fn is_decided(text: &str, context: &Context<'_>) -> bool {
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    text.get(..whole)
        .and_then(|text| find(text, context))
        .is_some_and(|found| !found.is_weak && found.lines >= 2)
}

fn without_line_feeds(text: &str, count: usize) -> &str {
    (0..count).fold(text, |text, _| text.strip_suffix('\n').unwrap_or(text))
}

enum Kind<'s> {
    /// The suffix begins with a line of its own.
    WholeLine,
    /// The suffix goes on in the cursor's line.
    WithinLine,
    /// The suffix begins with this end of the cursor's line and these blank lines.
    NextLines { gap: &'s str },
}

struct Found<'s> {
    at: usize,
    kind: Kind<'s>,
    lines: usize,
    is_weak: bool,
}

fn find<'s>(text: &str, context: &Context<'s>) -> Option<Found<'s>> {
    let suffix = context.suffix.get(..super::context::floor(context.suffix, 8 * 1024))?;
    if suffix.trim().is_empty() {
        return None;
    }
    if context.rest_of_line().trim().is_empty() {
        let head = suffix
            .split_inclusive('\n')
            .take_while(|line| line.trim().is_empty())
            .map(str::len)
            .sum::<usize>();
        let (gap, lines) = suffix.split_at_checked(head)?;
        let starts = std::iter::once(0).filter(|_| context.current_line().is_empty());
        let starts = starts.chain(text.match_indices('\n').map(|(at, _)| at + 1));
        return earliest(text, lines, starts, true).map(|(at, lines, is_weak)| Found {
            at,
            kind: Kind::NextLines { gap },
            lines,
            is_weak,
        });
    }
    // A line of its own, with the indentation before it that the cursor has …
    let before = context.current_line();
    if before.trim().is_empty() {
        let starts = std::iter::once(0).chain(text.match_indices('\n').filter_map(|(at, _)| {
            text.get(at + 1..).filter(|line| line.starts_with(before)).map(|_| at + 1 + before.len())
        }));
        if let Some((at, lines, is_weak)) = earliest(text, suffix, starts, true) {
            return Some(Found { at, kind: Kind::WholeLine, lines, is_weak });
        }
    }
    // … or the rest of one.
    let first = suffix.chars().next()?;
    // Where the cursor stood at the beginning of a line, a part of some deeper indentation is no beginning of the suffix.
    let is_own = |at: &usize| {
        let line = after_last_line_feed(text.get(..*at).unwrap_or_default());
        let within_indentation = !line.is_empty() && line.trim().is_empty();
        !(before.is_empty() && first.is_whitespace() && within_indentation)
    };
    let starts = text.match_indices(first).map(|(at, _)| at).filter(is_own);
    let (at, lines, is_weak) = earliest(text, suffix, starts, false)?;
    // An answer that ends the line, and as the line already ends, has taken it over.
    let rest = suffix.split_inclusive('\n').next()?;
    let takes_over = rest.ends_with('\n') && text.get(at..) == Some(rest) && weight(rest) > 0;
    Some(Found { at, kind: Kind::WithinLine, lines, is_weak: is_weak && !takes_over })
}

/// The first offset at which the text goes on as `lines` does, with the equal lines and whether they prove little.
fn earliest(
    text: &str,
    lines: &str,
    starts: impl Iterator<Item = usize>,
    may_differ: bool,
) -> Option<(usize, usize, bool)> {
    let wanted: Vec<&str> = says(lines).take(12).collect();
    let begins_line = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(|c| c != '\n'));
    starts.filter(begins_line).find_map(|at| {
        let rest =
            text.get(at..).filter(|rest| rest.lines().next().is_some_and(|line| !line.trim().is_empty()))?;
        let equal = compare(rest, &wanted, may_differ)?;
        Some((at, equal.lines, equal.is_weak))
    })
}

struct Equal {
    lines: usize,
    is_weak: bool,
}

fn says(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| line.trim_end()).filter(|line| !line.is_empty())
}

fn weight(line: &str) -> usize {
    line.chars().filter(|c| c.is_alphanumeric()).count()
}

/// Compares line by line, blank lines left out.
fn compare(text: &str, wanted: &[&str], may_differ: bool) -> Option<Equal> {
    let is_open = !text.ends_with('\n');
    let mut given = says(text).peekable();
    let (mut lines, mut letters, mut strong) = (0, 0, 0);
    for (number, want) in wanted.iter().enumerate() {
        let Some(line) = given.next() else { break };
        let is_last = given.peek().is_none();
        if line == *want || (number > 0 && nearly_equal(line, want)) {
            lines += 1;
            letters += weight(want);
            strong += usize::from(weight(want) > if may_differ || number > 0 { 0 } else { 2 });
        } else if is_last && is_open && want.starts_with(line) && (lines > 0 || tells(line, want)) {
            // Cut short within a line that repeats so far.
            return Some(Equal { lines, is_weak: lines == 0 && strong == 0 && weight(line) < TELLING });
        } else {
            // The answer goes on differently: only a long equal part shows that it began anew.
            return (lines >= 2 && letters >= TELLING_BLOCK).then_some(Equal { lines, is_weak: false });
        }
    }
    // Either the answer or the text after the cursor is at its end.
    let at_end = given.peek().is_none();
    let telling = letters >= TELLING && lines >= 2 && (at_end || wanted.len() <= lines);
    let proven = at_end && (strong > 0 || telling);
    (lines > 0 && (at_end || telling)).then_some(Equal { lines, is_weak: !(proven || telling) })
}

fn tells(line: &str, want: &str) -> bool {
    weight(line) >= TELLING || (weight(line) >= 3 && line.trim().len() * 10 >= want.trim().len() * 6)
}

/// Do long lines of the same indentation differ by at most one character in twenty? Short ones that do are a pattern.
fn nearly_equal(one: &str, other: &str) -> bool {
    let longest = one.len().max(other.len());
    let most = longest / 20;
    if !(LONG_LINE..=LONGEST_LINE).contains(&longest)
        || one.len().abs_diff(other.len()) > most
        || indentation(one) != indentation(other)
    {
        return false;
    }
    distance(one.as_bytes(), other.as_bytes(), most) <= most
}

/// Edit distance in bytes, or more than `most`.
fn distance(one: &[u8], other: &[u8], most: usize) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = i;
        let mut best = i + 1;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(other) {
            let next = (diagonal + usize::from(a != b)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = next;
            left = next;
            best = best.min(next);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        if best > most {
            return most + 1;
        }
    }
    row.last().copied().unwrap_or(most + 1)
}
