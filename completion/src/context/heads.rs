//! Heads of classes and functions round the cursor by indentation and keywords alone: for text that is not parsed.

use super::{Item, Part};
use crate::post::{definition, is_closer};

/// Lines above the cursor that are looked at.
const MOST_LINES: usize = 5000;

/// Heads of the text before the cursor that begin before `end`, the outermost first.
pub(super) fn above(prefix: &str, end: usize) -> Vec<Item> {
    let mut found = Vec::new();
    let mut stop = prefix.len();
    let mut level = None;
    for _ in 0..MOST_LINES {
        let start =
            prefix.get(..stop).and_then(|before| before.rfind('\n')).map_or(0, |line_feed| line_feed + 1);
        let line = prefix.get(start..stop).unwrap_or_default();
        let depth = line.len() - line.trim_start().len();
        let is_blank = line.trim().is_empty();
        let is_cursor = stop == prefix.len();
        match level {
            // The cursor's line says how deep it stands, even with nothing on it yet.
            None if is_cursor && depth > 0 => level = Some(depth),
            None if is_blank => {}
            None => level = Some(depth + usize::from(definition(line).is_some())),
            Some(_) => {}
        }
        if let Some(inner) = level
            && !is_blank
            && depth < inner
            && !is_closer(line)
        {
            level = Some(depth);
            if definition(line).is_some() && start < end {
                let text = line.trim_end().to_owned();
                found.push(Item { part: Part::Head, range: start..stop, text });
            }
        }
        if start == 0 || level == Some(0) && !is_cursor {
            break;
        }
        stop = start - 1;
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_the_lines_that_enclose_the_cursor() {
        // Text before the cursor, heads.
        let table: [(&str, &[&str]); 6] = [
            (
                "class A:\n    x = 1\n\n    def f(self):\n        pass\n\n    def g(self):\n        if x:\n            ",
                &["class A:", "    def g(self):"],
            ),
            ("class A\n  def f\n    1\n  end\n\n  def g\n    x = ", &["class A", "  def g"]),
            ("func f():\n\treturn 1\n\nfunc g():\n\t", &["func g():"]),
            ("def f():\n", &["def f():"]),
            ("def f():\n    return 1\n\nx = ", &[]),
            ("", &[]),
        ];
        for (prefix, heads) in table {
            let found = above(prefix, prefix.len());
            let texts: Vec<&str> = found.iter().map(|item| item.text.as_str()).collect();
            assert_eq!(texts, heads, "{prefix:?}");
            for item in &found {
                assert!(prefix.get(item.range.clone()).is_some_and(|text| text.trim_end() == item.text));
            }
        }
        let all = "class A:\n    def f(self):\n        x";
        assert_eq!(above(all, 9).len(), 1, "only what begins before the end");
    }
}
