//! Server-sent events → pieces of text. Frames may be cut anywhere: a line counts when its end has come. What the data of
//! an event means is the dialect's; this is the framing that all share.

use bytes::BytesMut;

use super::{Finish, error_message};
use crate::dialect::openai::Usage;
use crate::limits::EVENT_BYTES;

/// What a stream tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A piece of an answer.
    Text {
        /// Which answer, from 0.
        index: u32,
        /// Its text, never empty.
        text: String,
        /// Mean logarithm of its tokens' likelihood.
        logprob: Option<f64>,
    },
    /// An answer's end.
    End {
        /// Which answer, from 0.
        index: u32,
        /// Why.
        finish: Finish,
    },
    /// What it cost.
    Usage(Usage),
    /// The server broke off with these words.
    Failed(String),
    /// The server says that nothing follows.
    Done,
}

/// Turns the data of one event into what it tells. `false` when the data is nothing that the dialect has.
pub(super) type Note = fn(&[u8], &mut Vec<Event>) -> bool;

/// Reads one stream.
#[derive(Debug)]
pub struct Events {
    note: Note,
    pending: BytesMut,
    data: Vec<u8>,
    is_error: bool,
    /// The stream's end is the answer's, where its events do not tell it; each tells its own tokens.
    closes: bool,
    tokens: u64,
    ended: bool,
    failed: bool,
}

impl Events {
    pub(super) fn new(note: Note, closes: bool) -> Self {
        Self {
            note,
            pending: BytesMut::new(),
            data: Vec::new(),
            is_error: false,
            closes,
            tokens: 0,
            ended: false,
            failed: false,
        }
    }

    /// Takes a frame and gives what it tells. After a failure nothing more is told.
    pub fn push(&mut self, frame: &[u8]) -> Vec<Event> {
        let mut told = Vec::new();
        let from = self.pending.len();
        self.pending.extend_from_slice(frame);
        let mut searched = from;
        while let Some(at) = memchr::memchr(b'\n', self.pending.get(searched..).unwrap_or_default()) {
            let line = self.pending.split_to(searched + at + 1);
            searched = 0;
            self.line(line.trim_ascii_end(), &mut told);
        }
        if self.pending.len() + self.data.len() > EVENT_BYTES {
            self.pending.clear();
            self.data.clear();
            self.fail("sent an event that is too large", &mut told);
        }
        told
    }

    /// What is left when the stream ends by itself: some servers leave out the last empty line.
    pub fn finish(&mut self) -> Vec<Event> {
        let mut told = Vec::new();
        let line = self.pending.split();
        self.line(line.trim_ascii_end(), &mut told);
        self.dispatch(&mut told);
        if self.closes && !self.ended && !self.failed {
            self.ended = true;
            told.push(Event::End { index: 0, finish: Finish::Stop });
        }
        told
    }

    /// Whether the stream said that it was complete, by an end of an answer or by its last event.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ended && !self.failed
    }

    fn line(&mut self, line: &[u8], told: &mut Vec<Event>) {
        if line.is_empty() {
            return self.dispatch(told);
        }
        // llama.cpp of 2023 and 2024 writes `error:` where the standard knows only `data:`.
        let (value, is_error) = match (line.strip_prefix(b"data:"), line.strip_prefix(b"error:")) {
            (Some(value), _) => (value, false),
            (None, Some(value)) => (value, true),
            (None, None) => return,
        };
        if !self.data.is_empty() {
            self.data.push(b'\n');
        }
        self.is_error |= is_error;
        self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
    }

    fn dispatch(&mut self, told: &mut Vec<Event>) {
        let data = std::mem::take(&mut self.data);
        let is_error = std::mem::take(&mut self.is_error);
        let data = data.trim_ascii();
        if data.is_empty() || self.failed {
            return;
        }
        if is_error {
            return self.fail(&error_message(data), told);
        }
        let before = told.len();
        if data == b"[DONE]" {
            told.push(Event::Done);
        } else if !(self.note)(data, told) {
            return self.fail("sent an event that cannot be read", told);
        }
        for event in told.get_mut(before..).unwrap_or_default() {
            if let (Event::Usage(usage), true) = (&mut *event, self.closes) {
                self.tokens = self.tokens.saturating_add(usage.completion_tokens);
                usage.completion_tokens = self.tokens;
            }
            self.ended |= matches!(event, Event::End { .. } | Event::Done);
            self.failed |= matches!(event, Event::Failed(_));
        }
    }

    fn fail(&mut self, why: &str, told: &mut Vec<Event>) {
        self.failed = true;
        told.push(Event::Failed(why.to_owned()));
    }
}

/// Tells a piece of text, if it is one.
pub(super) fn text(told: &mut Vec<Event>, index: u32, text: String, logprob: Option<f64>) {
    if !text.is_empty() {
        told.push(Event::Text { index, text, logprob });
    }
}
