//! Step d: a model that has lost its way repeats a line, a block or a few characters for ever. One copy stays.

use std::collections::BTreeSet;

use super::{Change, Context, Guard, newline};

/// So many equal lines one after the other are a loop when they reach the end of the answer …
const EQUAL_LINES_AT_END: usize = 3;
/// … and anywhere in it.
const EQUAL_LINES: usize = 5;
/// So many equal blocks of two to `LONGEST_BLOCK` lines are a loop at the end of the answer.
const EQUAL_BLOCKS: usize = 3;
const LONGEST_BLOCK: usize = 12;

/// Keeps the first copy of what repeats. The cursor's line counts with the part before the cursor.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<Change> {
    if let Some(end) = in_line(text) {
        return Some(Change::cut(text.get(..end)?));
    }
    let lines = Lines::new(text, context.current_line());
    let (kept, is_known) = lines.loop_at_end().or_else(|| lines.loop_within())?;
    let kept = text.get(..kept)?;
    Some(if is_known { Change::cut(kept) } else { Change::cut(&newline::settle(kept, context, guard)) })
}

/// Can a stream be given up: is there already a loop that no further text turns into a proper answer?
#[must_use]
pub fn is_decided(text: &str, context: &Context<'_>) -> bool {
    let lines = Lines::new(text, context.current_line());
    let looping = |period: usize| {
        let copies = if period == 1 { EQUAL_LINES } else { EQUAL_BLOCKS + 1 };
        lines.run(period).is_some_and(|run| run.copies >= copies)
    };
    (1..=LONGEST_BLOCK).any(looping) || in_line(text).is_some()
}

struct Lines<'t> {
    lines: Vec<Line<'t>>,
    /// The last line has no line feed.
    open: bool,
}

struct Line<'t> {
    before: &'t str,
    text: &'t str,
    /// Where it ends in the answer, after its line feed.
    end: usize,
}

impl PartialEq for Line<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().eq(other.bytes())
    }
}

impl Line<'_> {
    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.before.bytes().chain(self.text.bytes())
    }

    fn begins(&self, other: &Self) -> bool {
        let length = self.before.len() + self.text.len();
        other.before.len() + other.text.len() >= length && self.bytes().eq(other.bytes().take(length))
    }

    fn weight(&self) -> usize {
        self.before.chars().chain(self.text.chars()).filter(|c| c.is_alphanumeric()).count()
    }
}

/// Equal blocks at the end of an answer.
struct Run {
    copies: usize,
    /// The lines up to the end of the first copy.
    kept: usize,
    /// Letters and digits in a copy: brackets alone say nothing.
    weight: usize,
    /// The last copy is cut short within a line.
    broken: bool,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str, before: &'t str) -> Lines<'t> {
        let mut end = 0;
        let line = |(number, line): (usize, &'t str)| {
            end += line.len();
            let before = if number == 0 { before } else { "" };
            Line { before, text: line.strip_suffix('\n').unwrap_or(line), end }
        };
        Lines {
            lines: text.split_inclusive('\n').enumerate().map(line).collect(),
            open: !text.ends_with('\n'),
        }
    }

    fn run(&self, period: usize) -> Option<Run> {
        let count = self.lines.len();
        let (last, same) = (self.lines.last()?, self.lines.get(count.checked_sub(1 + period)?)?);
        let broken = self.open && last != same && last.begins(same);
        let whole = if broken { count - 1 } else { count };
        let whole = self.lines.get(..whole)?;
        let equal =
            whole.iter().rev().zip(whole.iter().rev().skip(period)).take_while(|(a, b)| a == b).count();
        let first = whole.len().checked_sub(equal + period)?;
        let weight = whole.get(first..first + period)?.iter().map(Line::weight).sum();
        Some(Run { copies: (equal + period) / period, kept: first + period, weight, broken })
    }

    /// Where the first copy ends, and whether its line feed is known to be in or out.
    fn loop_at_end(&self) -> Option<(usize, bool)> {
        (1..=LONGEST_BLOCK).find_map(|period| {
            let run = self.run(period)?;
            let enough = if period == 1 { EQUAL_LINES_AT_END } else { EQUAL_BLOCKS };
            if run.copies < enough || run.weight == 0 {
                return None;
            }
            let end = self.lines.get(run.kept - 1)?.end;
            // Without a line feed after the last copy each copy came after one, so the first copy had none either.
            Some(if self.open && !run.broken { (end - 1, true) } else { (end, !self.open) })
        })
    }

    fn loop_within(&self) -> Option<(usize, bool)> {
        let loops = |window: &&[Line<'_>]| {
            let letters = window.first().is_some_and(|line| line.text.chars().any(char::is_alphabetic));
            letters && window.windows(2).all(|pair| pair.first() == pair.last())
        };
        let window = self.lines.windows(EQUAL_LINES).find(loops)?;
        Some((window.first()?.end, false))
    }
}

/// A few characters over and over at the end of the last line.
fn in_line(text: &str) -> Option<usize> {
    let start = text.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(start..)?.as_bytes();
    for (shortest, copies) in [(10, 4), (3, 8)] {
        for period in shortest..=(line.len() / copies).min(200) {
            let equal =
                line.iter().rev().zip(line.iter().rev().skip(period)).take_while(|(a, b)| a == b).count();
            if equal + period < period * copies {
                continue;
            }
            let end = (0..=start + line.len() - equal).rev().find(|at| text.is_char_boundary(*at))?;
            let unit = text.as_bytes().get(end.saturating_sub(period)..end)?;
            let letters = unit.iter().filter(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()).count();
            // A ruler of dashes or a table of zeros is proper text.
            return (letters >= 2 && unit.iter().collect::<BTreeSet<_>>().len() > 2).then_some(end);
        }
    }
    None
}
