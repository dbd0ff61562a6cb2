//! What the steps know of the place where the completion goes.

use std::cell::OnceCell;

use super::lexis::{Event, Lexer, Lexis, State, closer};
use super::place::Place;

/// How much of an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The rest of the cursor's line.
    Single,
    /// A block.
    #[default]
    Multi,
}

/// The text on both sides of the cursor, in LF form, and what was derived from it.
#[derive(Debug)]
pub struct Context<'a> {
    /// Text before the cursor.
    pub prefix: &'a str,
    /// Text after the cursor.
    pub suffix: &'a str,
    /// Special tokens of the model's family.
    pub specials: &'a [String],
    /// Stop words of this request.
    pub stops: &'a [String],
    /// How the language writes strings and comments.
    pub lexis: Lexis,
    /// How much is wanted.
    pub mode: Mode,
    /// What was found out about the place before.
    pub(super) place: Option<&'a Place>,
    open: OnceCell<Open>,
}

/// Only so much of the text after the cursor is looked at by the bracket rule, in bytes.
const SUFFIX_SEEN: usize = 8 * 1024;
/// Only so much of the text before the cursor, in bytes.
const PREFIX_SEEN: usize = 256 * 1024;

/// The lexer and the open brackets where the cursor's line begins.
#[derive(Debug, Clone)]
pub(super) struct Open {
    lexer: Lexer,
    stack: Vec<u8>,
}

/// How the brackets of a completion fit between those before and those after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fit {
    /// Closing brackets that close nothing.
    pub excess: usize,
    /// Where in the completion a bracket closes one that was opened before it, or none.
    pub unmatched: Vec<usize>,
}

/// A line of a completion with what the lexer knew at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeLine<'t> {
    /// Its offset in the completion.
    pub start: usize,
    /// Its text without the line feed.
    pub text: &'t str,
    /// It begins outside strings and comments and outside the round and square brackets opened in the completion.
    pub is_code: bool,
    /// It begins outside strings and comments, but in brackets opened in the completion.
    pub is_in_brackets: bool,
}

impl<'a> Context<'a> {
    /// A context without special tokens or stop words.
    #[must_use]
    pub fn new(prefix: &'a str, suffix: &'a str, lexis: Lexis) -> Context<'a> {
        Context {
            prefix,
            suffix,
            specials: &[],
            stops: &[],
            lexis,
            mode: Mode::Multi,
            place: None,
            open: OnceCell::new(),
        }
    }

    /// The part of the cursor's line that stands before it.
    #[must_use]
    pub fn current_line(&self) -> &'a str {
        after_last_line_feed(self.prefix)
    }

    /// The part of the cursor's line that stands after it.
    #[must_use]
    pub fn rest_of_line(&self) -> &'a str {
        self.suffix.split('\n').next().unwrap_or_default()
    }

    /// Is the cursor within a string or comment that began before it?
    #[must_use]
    pub fn is_in_text(&self) -> bool {
        let mut lexer = self.open().lexer.clone();
        lexer.feed(self.current_line(), |_, _| {});
        lexer.state() != State::Code
    }

    /// The lexer's state behind the completion.
    #[must_use]
    pub fn state_after(&self, completion: &str) -> State {
        let mut lexer = self.open().lexer.clone();
        lexer.feed(&format!("{}{completion}", self.current_line()), |_, _| {});
        lexer.state()
    }

    /// The offset where the string or comment begins in which the completion ends, if it begins within it.
    #[must_use]
    pub fn open_text_start(&self, completion: &str) -> Option<usize> {
        if self.state_after(completion) == State::Code || self.is_in_text() {
            return None;
        }
        // The last boundary behind which nothing is open; texts are short, and this is asked once.
        let line = after_last_line_feed(completion);
        let from = completion.len() - line.len();
        line.char_indices()
            .rev()
            .map(|(at, _)| from + at)
            .find(|at| completion.get(..*at).is_some_and(|head| self.state_after(head) == State::Code))
    }

    /// How the completion's brackets fit.
    #[must_use]
    pub fn fit(&self, completion: &str) -> Fit {
        let before = self.current_line();
        let seen = floor(self.suffix, SUFFIX_SEEN);
        let text = format!("{before}{completion}{}", self.suffix.get(..seen).unwrap_or_default());
        let Open { mut lexer, mut stack } = self.open().clone();
        let (start, end) = (before.len(), before.len() + completion.len());
        let mut fit = Fit::default();
        let mut floor = usize::MAX;
        lexer.feed(&text, |at, event| {
            let inside = (start..end).contains(&at);
            if inside {
                floor = floor.min(stack.len());
            }
            match event {
                Event::Open(bracket) => stack.push(bracket),
                Event::Close(bracket) => {
                    let partner = stack.iter().rposition(|open| closer(*open) == bracket);
                    if inside && partner.is_none_or(|at| at < floor) {
                        fit.unmatched.push(at - start);
                    }
                    match partner {
                        Some(at) => stack.truncate(at),
                        None => fit.excess += 1,
                    }
                    floor = if inside { floor.min(stack.len()) } else { floor };
                }
                Event::LineStart(_) => {}
            }
        });
        fit
    }

    /// The lines of a completion; the first is the rest of the cursor's line.
    #[must_use]
    pub fn lines<'t>(&self, completion: &'t str) -> Vec<CodeLine<'t>> {
        let before = self.current_line();
        let text = format!("{before}{completion}");
        let mut lexer = self.open().lexer.clone();
        let mut depth = 0usize;
        let mut starts = Vec::new();
        lexer.feed(&text, |at, event| match event {
            Event::Open(b'(' | b'[') => depth += 1,
            Event::Close(b')' | b']') => depth = depth.saturating_sub(1),
            Event::Open(_) if self.lexis.offside => depth += 1,
            Event::Close(_) if self.lexis.offside => depth = depth.saturating_sub(1),
            Event::LineStart(state) => starts.push((at - before.len(), state == State::Code, depth > 0)),
            Event::Open(_) | Event::Close(_) => {}
        });
        let first = std::iter::once((0, false, false));
        first
            .chain(starts)
            .filter_map(|(start, is_code, is_in_brackets)| {
                let rest = completion.get(start..).filter(|rest| start == 0 || !rest.is_empty())?;
                let text = rest.split('\n').next()?;
                let (is_code, is_in_brackets) = (is_code && !is_in_brackets, is_code && is_in_brackets);
                Some(CodeLine { start, text, is_code, is_in_brackets })
            })
            .collect()
    }

    fn open(&self) -> &Open {
        match self.place {
            Some(place) => place.open.get_or_init(|| self.find_open()),
            None => self.open.get_or_init(|| self.find_open()),
        }
    }

    fn find_open(&self) -> Open {
        {
            let mut lexer = Lexer::new(self.lexis);
            let mut stack = Vec::new();
            let whole = self.prefix.len() - self.current_line().len();
            let from = ceil(self.prefix, whole.saturating_sub(PREFIX_SEEN));
            lexer.feed(self.prefix.get(from..whole).unwrap_or_default(), |_, event| match event {
                Event::Open(bracket) => stack.push(bracket),
                Event::Close(bracket) => {
                    if let Some(at) = stack.iter().rposition(|open| closer(*open) == bracket) {
                        stack.truncate(at);
                    }
                }
                Event::LineStart(_) => {}
            });
            Open { lexer, stack }
        }
    }
}

/// What stands behind the last line feed.
pub(crate) fn after_last_line_feed(text: &str) -> &str {
    text.rsplit('\n').next().unwrap_or_default()
}

/// Number of bytes of indentation.
pub(crate) fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// The greatest char boundary at or below `at`.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The least char boundary at or above `at`.
pub(crate) fn ceil(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}
