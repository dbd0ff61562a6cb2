//! Step j: the answer is indented as the file is. The indentation that already stands before the cursor is not doubled,
//! and tabs and spaces follow the file's habit.

use super::context::indentation;
use super::{Change, Context, Guard};

/// Only so many lines near the cursor are asked for the habit.
const LINES_SEEN: usize = 400;

/// Mends the first line's indentation, then the unit of the others.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<Change> {
    if context.is_in_text() {
        return None;
    }
    let mut now = text.to_owned();
    if let Some(rest) = without_doubled(&now, context, guard) {
        now = rest.to_owned();
    }
    if let Some(changed) = in_unit_of_file(&now, context) {
        now = changed;
    }
    (now != text).then(|| Change::new(&now, false))
}

/// The answer without the indentation it repeats from before the cursor, where the file would not accept both.
fn without_doubled<'t>(text: &'t str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<&'t str> {
    let current = context.current_line();
    if current.is_empty() || !current.trim().is_empty() {
        return None;
    }
    let rest = text.strip_prefix(current)?;
    let above = context.prefix.lines().rev().skip(1).find(|line| !line.trim().is_empty())?;
    let deepest = indentation(above) + unit(context).map_or(4, Unit::width) * usize::from(opens_block(above));
    let given = current.len() + indentation(text);
    let first = text.lines().next().unwrap_or_default();
    let too_deep =
        given > deepest && !first.trim().is_empty() && !above.trim_end().ends_with(['(', '[', ',', '\\']);
    // Who repeats it writes either the cursor's indentation or the next block's.
    let repeats = [current.len(), deepest].contains(&indentation(text));
    (too_deep && repeats && guard.is_no_worse(rest, text)).then_some(rest)
}

fn opens_block(line: &str) -> bool {
    line.trim_end().ends_with(['{', ':', '(', '['])
        || line.trim_end().ends_with("=>")
        || line.trim_end().ends_with("do")
}

/// One level of indentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Tab,
    Spaces(usize),
}

impl Unit {
    fn width(self) -> usize {
        match self {
            Unit::Tab => 1,
            Unit::Spaces(width) => width,
        }
    }
}

/// The file's habit, if it has one: tabs only, or spaces only.
fn unit(context: &Context<'_>) -> Option<Unit> {
    let lines =
        context.prefix.lines().rev().take(LINES_SEEN).chain(context.suffix.lines().skip(1).take(LINES_SEEN));
    unit_of(lines)
}

fn unit_of<'l>(lines: impl Iterator<Item = &'l str>) -> Option<Unit> {
    let (mut tabs, mut spaces) = (0, Vec::new());
    for line in lines.filter(|line| !line.trim().is_empty()) {
        match line.as_bytes().first() {
            Some(b'\t') => tabs += 1,
            Some(b' ') => spaces.push(indentation(line)),
            _ => {}
        }
    }
    match (tabs, spaces.len()) {
        (tabs, 0) if tabs > 0 => Some(Unit::Tab),
        (0, some) if some > 0 => {
            let smallest = spaces.iter().copied().min()?;
            let regular = spaces.iter().filter(|width| **width % smallest == 0).count();
            ((2..=8).contains(&smallest) && regular * 10 >= some * 9).then_some(Unit::Spaces(smallest))
        }
        _ => None,
    }
}

/// Tabs for spaces or spaces for tabs, when the answer keeps to one and the file to the other.
fn in_unit_of_file(text: &str, context: &Context<'_>) -> Option<String> {
    let file = unit(context)?;
    let is_first_indented = context.current_line().is_empty();
    let lines = || text.lines().skip(usize::from(!is_first_indented));
    let answer = unit_of(lines())?;
    if file.width() == answer.width() || matches!((file, answer), (Unit::Spaces(_), Unit::Spaces(_))) {
        return None;
    }
    let mut changed = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number == 0 && !is_first_indented {
            changed.push_str(line);
            continue;
        }
        let depth = indentation(line);
        let (levels, rest) = (depth / answer.width(), depth % answer.width());
        match file {
            Unit::Tab => changed.push_str(&"\t".repeat(levels)),
            Unit::Spaces(width) => changed.push_str(&" ".repeat(levels * width)),
        }
        changed.push_str(&" ".repeat(rest));
        changed.push_str(line.get(depth..).unwrap_or_default());
    }
    Some(changed)
}
