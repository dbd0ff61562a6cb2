//! The steps for an answer that is still coming: as soon as its end is decided the backend can be told to stop, and
//! what no later piece can change can go to a client that reads along.

use super::context::Context;
use super::run::{Finish, Input, Processed, run};
use super::{overlap, repetition, scope, special, stops};

/// An end that the parser refused is not asked for at every further line.
const MOST_TRIES: usize = 8;
/// Lines after the cursor with which the end of an answer is compared before it is sent on.
const SUFFIX_LINES: usize = 12;
/// Lines before the cursor, likewise.
const PREFIX_LINES: usize = 400;

/// What a piece of the answer led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The answer goes on.
    More,
    /// Its end is decided: no further piece changes the result.
    Cut,
}

/// An answer as it arrives.
#[derive(Debug)]
pub struct Incremental<'a> {
    input: Input<'a>,
    context: Context<'a>,
    raw: String,
    sent: String,
    watch: Watch,
    is_cut: bool,
}

/// Looks at an answer that grows, for its end.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Up to here the raw text was asked for an end.
    seen: usize,
    tries: usize,
}

impl<'a> Incremental<'a> {
    /// Begins; the input's own `raw` and `finish` are not used.
    #[must_use]
    pub fn new(input: Input<'a>) -> Incremental<'a> {
        Incremental {
            context: input.context(),
            input,
            raw: String::new(),
            sent: String::new(),
            watch: Watch::default(),
            is_cut: false,
        }
    }

    /// Takes the next piece. Pieces after a cut are ignored.
    pub fn push(&mut self, piece: &str) -> Progress {
        if !self.is_cut {
            self.raw.push_str(piece);
            let input = Input { raw: &self.raw, ..self.input };
            self.is_cut = self.watch.look_with(&input, &self.context) == Progress::Cut;
        }
        if self.is_cut { Progress::Cut } else { Progress::More }
    }

    /// What the model answered so far, up to the cut.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Bytes of the answer when its end was decided.
    #[must_use]
    pub fn decided_at(&self) -> Option<usize> {
        self.is_cut.then_some(self.raw.len())
    }

    /// Whole lines that can be sent on now because no later piece changes them; empty if there are none.
    pub fn ready(&mut self) -> String {
        // A stop word that spans lines may have begun.
        let begun = special::held_back(&self.raw, self.input.stops.iter().map(String::as_str));
        let sure = self.raw.get(..self.raw.len() - begun).unwrap_or_default();
        let Some(whole) = sure.rfind('\n').and_then(|at| sure.get(..=at)) else { return String::new() };
        if self.is_cut || begins_with_talk(whole) {
            return String::new();
        }
        let settled = run(&Input { raw: whole, finish: Finish::Stop, ..self.input }).text;
        let stable = settled.get(..self.stable(&settled)).unwrap_or_default().to_owned();
        self.send(&stable)
    }

    /// Ends the answer: what is still to be sent, and the whole. The result is that of [`run`] on the same raw text.
    pub fn finish(&mut self, finish: Finish) -> (String, Processed) {
        let finish = if self.is_cut { Finish::Stop } else { finish };
        let processed = run(&Input { raw: &self.raw, finish, ..self.input });
        let rest = self.send(&processed.text);
        (rest, processed)
    }

    /// What comes after what was sent. A result that does not begin with it has nothing that could be added.
    fn send(&mut self, text: &str) -> String {
        let Some(rest) = text.strip_prefix(self.sent.as_str()).map(str::to_owned) else {
            return String::new();
        };
        self.sent.push_str(&rest);
        rest
    }

    /// The length up to the lines that a later piece could still take away: blank lines, comments, closing brackets, and
    /// those that stand in the file already or repeat.
    fn stable(&self, text: &str) -> usize {
        let mut end = text.len();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for (at, line) in lines.iter().enumerate().rev() {
            let line = line.trim();
            let repeats = at
                .checked_sub(1)
                .and_then(|before| lines.get(before))
                .is_some_and(|before| before.trim() == line);
            if !(repeats || self.is_in_file(line) || self.context.lexis.is_comment(line)) {
                // The line feed behind it may belong to what is cut.
                return end - usize::from(text.get(..end).is_some_and(|text| text.ends_with('\n')));
            }
            end = lines.iter().take(at).map(|line| line.len()).sum();
        }
        0
    }

    fn is_in_file(&self, line: &str) -> bool {
        !line.contains(char::is_alphanumeric)
            || self.context.suffix.lines().take(SUFFIX_LINES).any(|other| other.trim() == line)
            || self.context.prefix.lines().rev().take(PREFIX_LINES).any(|other| other.trim() == line)
    }
}

impl Watch {
    /// Looks at the whole answer so far, which is the input's `raw`; each time it is longer, or as it was.
    pub fn look(&mut self, input: &Input<'_>) -> Progress {
        self.look_with(input, &input.context())
    }

    fn look_with(&mut self, input: &Input<'_>, context: &Context<'_>) -> Progress {
        if self.is_decided(input, context) { Progress::Cut } else { Progress::More }
    }

    fn is_decided(&mut self, input: &Input<'_>, context: &Context<'_>) -> bool {
        if special::apply(input.raw, context).is_some_and(|change| change.cut) {
            return true;
        }
        if stops::apply(input.raw, context).is_some_and(|change| change.cut) {
            return !begins_with_talk(input.raw) && self.ends_when_run(input);
        }
        let Some(whole) = input.raw.rfind('\n').map(|at| at + 1).filter(|at| *at > self.seen) else {
            return false;
        };
        self.seen = whole;
        let text = input.raw.get(..whole).unwrap_or_default().replace("\r\n", "\n");
        if begins_with_talk(&text) {
            return text.matches("```").count() >= 2 && self.ends_when_run(input);
        }
        let looks_decided = stops::is_decided(&text, context)
            || repetition::is_decided(&text, context)
            || overlap::is_decided(&text, context)
            || scope::is_decided(&text, context);
        looks_decided && self.ends_when_run(input)
    }

    fn ends_when_run(&mut self, input: &Input<'_>) -> bool {
        self.tries += 1;
        self.tries <= MOST_TRIES && run(&Input { finish: Finish::Stop, ..*input }).cut_by.is_some()
    }
}

/// Thinking and fenced code are read to their end before anything is sent.
fn begins_with_talk(text: &str) -> bool {
    text.trim_start().starts_with("<think") || text.contains("```")
}
