//! Where the text round the cursor is cut. The head of a prompt must be the same for one keystroke and the next, or the
//! engine computes all of it again: so the cut before the cursor is anchored at a line that stays the choice while the
//! cursor moves on by hundreds of tokens, and only then goes to the next such line.

use crate::tokens::Counter;

/// Tokens by which the anchor may stand further on than the budget asks for.
const STEP: usize = 512;
/// Bytes between the places where a line that alone is too long is cut.
const QUANTUM: usize = 256;
/// Lines after the cursor's that are shown in any case, blank ones not counted.
const NEXT_LINES: usize = 2;

/// Offset at which the text before the cursor begins, so that the rest has at most `budget` tokens: a line start, if the
/// cursor's line itself is not too long.
#[must_use]
pub fn prefix(text: &str, budget: usize, counter: &dyn Counter) -> usize {
    let step = STEP.min(budget / 2);
    let mut tokens = 0;
    let mut end = text.len();
    let mut best: Option<(u32, usize)> = None;
    let mut last = text.len();
    loop {
        let start =
            text.get(..end.saturating_sub(1)).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = text.get(start..end).unwrap_or_default();
        tokens += counter.count(line);
        if tokens > budget {
            break;
        }
        last = start;
        if start == 0 {
            return 0;
        }
        if tokens + step >= budget {
            let rank = rank(line);
            // Of equals the earliest, which shows the most.
            if best.is_none_or(|(most, _)| rank >= most) {
                best = Some((rank, start));
            }
        }
        end = start;
    }
    match best {
        Some((_, start)) => start,
        None if last < text.len() => last,
        None => within_line(text, budget, counter),
    }
}

/// How good a line is as an anchor: by its own text, so that it stays the same wherever it stands in the file.
fn rank(line: &str) -> u32 {
    let line = line.trim();
    if line.len() < 4 {
        return 0;
    }
    // FNV-1a: the same in every process and version, unlike the standard library's hasher.
    let hash = line.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash >> 33).trailing_zeros() + 1
}

/// The first place in the last line, on a grid, after which no more than the budget stands.
fn within_line(text: &str, budget: usize, counter: &dyn Counter) -> usize {
    let start = text.rfind('\n').map_or(0, |at| at + 1);
    let fits = |at: usize| text.get(at..).is_some_and(|rest| counter.count(rest) <= budget);
    let grid = |step: usize| ceil(text, (start + step * QUANTUM).min(text.len()));
    let mut steps = first(0, (text.len() - start) / QUANTUM + 1, |step| fits(grid(step)));
    if grid(steps) < text.len() {
        return grid(steps);
    }
    // Less than a quantum fits.
    steps = first(0, QUANTUM.min(text.len()), |back| {
        fits(ceil(text, text.len() - QUANTUM.min(text.len()) + back))
    });
    ceil(text, text.len() - QUANTUM.min(text.len()) + steps)
}

/// Offset up to which the text after the cursor is shown: whole lines within `budget` tokens, and at least what stands on
/// the cursor's line and the next two lines with text, as far as `limit` allows.
#[must_use]
pub fn suffix(text: &str, budget: usize, limit: usize, counter: &dyn Counter) -> usize {
    let (mut end, mut tokens, mut shown) = (0, 0, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let count = counter.count(line);
        let wanted = shown < NEXT_LINES || index == 0;
        if tokens + count > limit.max(budget)
            || (tokens + count > budget && !wanted)
            || (tokens + count > limit)
        {
            if end == 0 {
                return chars_within(line, limit, counter);
            }
            break;
        }
        tokens += count;
        end += line.len();
        shown += usize::from(index > 0 && !line.trim().is_empty());
    }
    end
}

/// As much of a line's beginning as the budget holds.
fn chars_within(line: &str, budget: usize, counter: &dyn Counter) -> usize {
    let fits = |at: usize| counter.count(line.get(..floor(line, at)).unwrap_or_default()) <= budget;
    floor(line, first(0, line.len() + 1, |at| !fits(at)).saturating_sub(1))
}

/// The first number of a range for which `holds`, if it holds for all after it; the range's end if for none.
fn first(mut low: usize, mut high: usize, holds: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Bound, Bytes};
    use proptest::prelude::*;

    #[test]
    fn what_fits_is_not_cut() {
        assert_eq!(prefix("a\nb\n", 100, &Bound), 0);
        assert_eq!(suffix("a\nb\n", 100, 100, &Bound), 4);
    }

    #[test]
    fn the_next_two_lines_with_text_are_shown_beyond_the_budget() {
        let text = "\n\nfirst line\n\nsecond line\nthird line\n";
        assert_eq!(text.get(..suffix(text, 0, 100, &Bound)), Some("\n\nfirst line\n\nsecond line\n"));
        assert_eq!(text.get(..suffix(text, 0, 8, &Bound)), Some("\n\nfirst line\n\n"));
    }

    #[test]
    fn the_cut_stays_while_the_cursor_moves_on() {
        let source: String =
            (0..400).map(|line| format!("    value_{line} = compute({line}, other)\n")).collect();
        let mut cuts: Vec<usize> = Vec::new();
        for end in (source.len() - 3000)..source.len() {
            let cut = prefix(&source[..end], 1500, &Bound);
            assert!(cut > 0 && source.as_bytes()[cut - 1] == b'\n');
            cuts.push(cut);
        }
        cuts.dedup();
        assert!(cuts.len() <= 15, "{} different cuts in 3000 keystrokes", cuts.len());
    }

    proptest! {
        #[test]
        fn cuts_are_on_character_boundaries_and_within_the_budget(
            text in "[ab \nä😀]{0,120}", budget in 0_usize..60, limit in 0_usize..60, long in 0_usize..3,
        ) {
            let text = text + &"xyz ä".repeat(long * 200);
            for counter in [&Bound as &dyn Counter, &Bytes] {
                let at = prefix(&text, budget, counter);
                prop_assert!(text.is_char_boundary(at));
                prop_assert!(counter.count(&text[at..]) <= budget);
                let limit = limit.max(budget);
                let end = suffix(&text, budget, limit, counter);
                prop_assert!(text.is_char_boundary(end));
                prop_assert!(counter.count(&text[..end]) <= limit);
            }
        }
    }
}
