//! Step e: lines that the completion only copies from what stands above the cursor.

use super::{Change, Context};

/// Lines repeated right from above the cursor, when the answer begins with them.
const ECHOED_LINES: usize = 2;
/// A run of copied lines anywhere ends the answer from this length on; shorter ones are a file's own habits.
const COPIED_LINES: usize = 6;
/// Only so much of the file above is compared, the nearest part.
const LINES_ABOVE: usize = 400;

/// Drops an echo of the lines right above the cursor, then cuts where the answer goes on to copy the file.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>) -> Option<Change> {
    // The rest of the cursor's line is never a copy.
    let tail = text.find('\n').map_or(text.len(), |at| at + 1);
    let (tail, rest) =
        if context.current_line().trim().is_empty() { ("", text) } else { text.split_at_checked(tail)? };
    let above: Vec<&str> = whole_lines(context.prefix).rev().take(LINES_ABOVE).collect();
    let lines: Vec<&str> = rest.split_inclusive('\n').collect();
    let echoed = echo(&lines, &above);
    let rest = rest.get(lines.iter().take(echoed).map(|line| line.len()).sum()..)?;
    let lines = lines.get(echoed..)?;
    let kept: usize =
        copy_begins(lines, &above).map_or(rest.len(), |at| lines.iter().take(at).map(|l| l.len()).sum());
    let cut = kept < rest.len();
    (echoed > 0 || cut).then(|| Change::new(&format!("{tail}{}", rest.get(..kept).unwrap_or_default()), cut))
}

fn whole_lines(prefix: &str) -> impl DoubleEndedIterator<Item = &str> {
    let whole = prefix.rfind('\n').map_or(0, |at| at + 1);
    prefix.get(..whole).unwrap_or_default().split_inclusive('\n').filter(|line| says_something(line))
}

/// The number of lines in front that repeat as many lines above the cursor, in their order.
fn echo(lines: &[&str], above: &[&str]) -> usize {
    let says: Vec<(usize, &str)> =
        lines.iter().copied().enumerate().filter(|(_, line)| says_something(line)).collect();
    let most = says.len().min(above.len()).min(40);
    let repeated = (ECHOED_LINES..=most).rev().find(|count| {
        says.iter().take(*count).map(|(_, line)| *line).eq(above.iter().take(*count).rev().copied())
    });
    // An answer that is nothing but an echo of two lines may be a pattern that the user goes on with.
    repeated.and_then(|count| says.get(count - 1)).map_or(0, |(at, _)| at + 1)
}

/// Where a long run begins that also stands above, line for line.
fn copy_begins(lines: &[&str], above: &[&str]) -> Option<usize> {
    let says: Vec<(usize, &str)> =
        lines.iter().copied().enumerate().filter(|(_, line)| says_something(line)).collect();
    let forward: Vec<&str> = above.iter().rev().copied().collect();
    let copied = |window: &&[(usize, &str)]| {
        let wanted = || window.iter().map(|(_, line)| *line);
        let dense = wanted().filter(|line| line.chars().filter(|c| c.is_alphanumeric()).count() >= 6).count();
        dense * 2 >= COPIED_LINES && forward.windows(COPIED_LINES).any(|run| run.iter().copied().eq(wanted()))
    };
    says.windows(COPIED_LINES).find(copied).and_then(|window| window.first()).map(|(at, _)| *at)
}

fn says_something(line: &str) -> bool {
    line.chars().any(char::is_alphanumeric)
}
