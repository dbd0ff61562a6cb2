//! The parser behind the steps: it counts what it cannot understand in prefix, completion and suffix together, so that
//! no step makes a file worse than it was. Bytes and time are capped; beyond the cap it has no opinion.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tree_sitter::{InputEdit, ParseOptions, Parser, Point, Tree};

use super::context::{ceil, floor};
use super::place::Place;
use crate::syntax::{Caps, walk};

/// A parser with the file around the cursor.
pub struct Guard<'a> {
    parser: Option<Parser>,
    before: &'a str,
    after: &'a str,
    left: Duration,
    place: Option<&'a Place>,
    last: Option<(String, Tree)>,
    known: Vec<(String, usize)>,
}

impl std::fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("left", &self.left)
            .field("parses", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Guard<'a> {
    /// A guard for one place in a file; without a grammar it has no opinion.
    #[must_use]
    pub fn new(
        grammar: Option<&tree_sitter::Language>,
        prefix: &'a str,
        suffix: &'a str,
        caps: Caps,
    ) -> Guard<'a> {
        let parser = grammar.and_then(|grammar| {
            let mut parser = Parser::new();
            parser.set_language(grammar).ok().map(|()| parser)
        });
        let (before, after) = window(prefix, suffix, caps.bytes);
        Guard { parser, before, after, left: caps.time, place: None, last: None, known: Vec::new() }
    }

    /// Begins with the tree that is known of the place, and leaves it there for the next.
    #[must_use]
    pub fn at(self, place: Option<&'a Place>) -> Guard<'a> {
        Guard { place, ..self }
    }

    /// The number of syntax errors with this completion in its place, or `None` without grammar or beyond the caps.
    pub fn errors(&mut self, completion: &str) -> Option<usize> {
        if let Some((_, errors)) = self.known.iter().find(|(known, _)| known == completion) {
            return Some(*errors);
        }
        let text = format!("{}{completion}{}", self.before, self.after);
        let errors = count_errors(self.parse(text)?);
        self.known.push((completion.to_owned(), errors));
        Some(errors)
    }

    /// Does the first completion parse at least as well as the second? True where the guard has no opinion.
    pub fn is_no_worse(&mut self, one: &str, other: &str) -> bool {
        match (self.errors(one), self.errors(other)) {
            (Some(one), Some(other)) => one <= other,
            _ => true,
        }
    }

    /// Does the first completion parse better than the second? False where the guard has no opinion.
    pub fn is_better(&mut self, one: &str, other: &str) -> bool {
        match (self.errors(one), self.errors(other)) {
            (Some(one), Some(other)) => one < other,
            _ => false,
        }
    }

    /// The tree of prefix and completion without the suffix, and the cursor's offset in it.
    pub fn tree_above(&mut self, completion: &str) -> Option<(&Tree, usize)> {
        let at = self.before.len();
        let text = format!("{}{completion}", self.before);
        self.parse(text).map(|tree| (tree, at))
    }

    fn parse(&mut self, text: String) -> Option<&Tree> {
        if let (Some(place), None) = (self.place, &self.last) {
            if place.tree.get().is_none() {
                self.parse_from_last(format!("{}{}", self.before, self.after));
                // Another may have been faster.
                let _theirs = place.tree.set(self.last.clone());
            }
            self.last = place.tree.get().cloned().flatten();
        }
        self.parse_from_last(text)
    }

    /// Parses what differs from the text before.
    fn parse_from_last(&mut self, text: String) -> Option<&Tree> {
        let parser = self.parser.as_mut()?;
        if self.left.is_zero() {
            return None;
        }
        let started = Instant::now();
        let old = self.last.take().map(|(old, mut tree)| {
            tree.edit(&edit(&old, &text));
            tree
        });
        let left = self.left;
        let mut watch = |_: &tree_sitter::ParseState| {
            if started.elapsed() > left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options = ParseOptions::new().progress_callback(&mut watch);
        let bytes = text.as_bytes();
        let tree = parser.parse_with_options(
            &mut |at, _| bytes.get(at..).unwrap_or_default(),
            old.as_ref(),
            Some(options),
        );
        self.left = self.left.saturating_sub(started.elapsed());
        let Some(tree) = tree else {
            self.left = Duration::ZERO;
            parser.reset();
            return None;
        };
        self.last = Some((text, tree));
        self.last.as_ref().map(|(_, tree)| tree)
    }
}

/// The lines around the cursor within the cap, begun at a line that is not indented where there is one.
fn window<'a>(prefix: &'a str, suffix: &'a str, bytes: usize) -> (&'a str, &'a str) {
    let before = bytes / 4 * 3;
    let start = if prefix.len() <= before {
        0
    } else {
        let from = ceil(prefix, prefix.len() - before);
        let tail = prefix.get(from..).unwrap_or_default();
        let line = |pattern: fn(char) -> bool| {
            let mut starts = tail.match_indices('\n').map(|(at, _)| from + at + 1);
            starts.find(|at| prefix.get(*at..).and_then(|rest| rest.chars().next()).is_some_and(pattern))
        };
        line(|c| c.is_alphanumeric() || c == '@' || c == '#').or_else(|| line(|_| true)).unwrap_or(from)
    };
    let end = floor(suffix, bytes / 4);
    let end = if end == suffix.len() {
        end
    } else {
        suffix.get(..end).and_then(|s| s.rfind('\n')).map_or(end, |at| at + 1)
    };
    (prefix.get(start..).unwrap_or_default(), suffix.get(..end).unwrap_or_default())
}

/// The one edit that turns the old text into the new one.
fn edit(old: &str, new: &str) -> InputEdit {
    let (a, b) = (old.as_bytes(), new.as_bytes());
    let start = common(a.chunks(CHUNK).zip(b.chunks(CHUNK)), a.iter().zip(b));
    let most = a.len().min(b.len()) - start;
    let tail = common(a.rchunks(CHUNK).zip(b.rchunks(CHUNK)), a.iter().rev().zip(b.iter().rev())).min(most);
    let (old_end, new_end) = (a.len() - tail, b.len() - tail);
    InputEdit {
        start_byte: start,
        old_end_byte: old_end,
        new_end_byte: new_end,
        start_position: point(a, start),
        old_end_position: point(a, old_end),
        new_end_position: point(b, new_end),
    }
}

/// Bytes that are compared at once.
const CHUNK: usize = 256;

/// How many bytes are alike from one end on: by chunks first, then one by one.
fn common<'b>(
    chunks: impl Iterator<Item = (&'b [u8], &'b [u8])>,
    bytes: impl Iterator<Item = (&'b u8, &'b u8)>,
) -> usize {
    let whole = chunks.take_while(|(one, other)| one == other).map(|(one, _)| one.len()).sum();
    whole + bytes.skip(whole).take_while(|(one, other)| one == other).count()
}

fn point(text: &[u8], at: usize) -> Point {
    let head = text.get(..at).unwrap_or_default();
    let row = head.iter().filter(|byte| **byte == b'\n').count();
    let column = head.iter().rev().take_while(|byte| **byte != b'\n').count();
    Point { row, column }
}

fn count_errors(tree: &Tree) -> usize {
    if !tree.root_node().has_error() {
        return 0;
    }
    let mut errors = 0;
    walk(tree.root_node(), |node| {
        errors += usize::from(node.is_error() || node.is_missing());
        node.has_error()
    });
    errors
}
