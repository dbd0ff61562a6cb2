//! Server-sent events, scanned as they pass. Whole events are forwarded in the memory they came in; an unfinished one is
//! held back until it is whole, so a stream that breaks never shows half an event.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::openai::{Usage, usage_in};
use crate::limits::EVENT_BYTES;

/// Follows one stream.
#[derive(Debug, Default)]
pub struct Scanner {
    pending: BytesMut,
    /// The `[DONE]` event passed.
    pub done: bool,
    /// A choice's `finish_reason` passed.
    pub finished: bool,
    /// An event with an error passed.
    pub failed: bool,
    /// The last usage that passed.
    pub usage: Option<Usage>,
}

impl Scanner {
    /// Takes a frame and gives what may be forwarded now; empty while an event is unfinished.
    pub fn push(&mut self, mut frame: Bytes) -> Bytes {
        if self.pending.is_empty() {
            let Some(end) = last_boundary(&frame, 0) else {
                self.pending.extend_from_slice(&frame);
                return self.overflow();
            };
            let whole = frame.split_to(end);
            self.pending.extend_from_slice(&frame);
            self.note(&whole);
            return whole;
        }
        // A boundary is at most four bytes long, so an older one cannot hide before this point.
        let from = self.pending.len().saturating_sub(3);
        self.pending.extend_from_slice(&frame);
        match last_boundary(&self.pending, from) {
            Some(end) => {
                let whole = self.pending.split_to(end).freeze();
                self.note(&whole);
                whole
            }
            None => self.overflow(),
        }
    }

    /// What is left when the stream ends by itself: some servers leave out the last empty line.
    pub fn finish(&mut self) -> Bytes {
        let rest = self.pending.split().freeze();
        self.note(&rest);
        rest
    }

    /// Whether the stream said that it was complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.done || self.finished
    }

    /// An event larger than any model server sends is passed on in pieces rather than kept.
    fn overflow(&mut self) -> Bytes {
        if self.pending.len() > EVENT_BYTES { self.pending.split().freeze() } else { Bytes::new() }
    }

    fn note(&mut self, events: &[u8]) {
        if memmem::find(events, b"[DONE]").is_some() {
            self.done |=
                events.split(|byte| *byte == b'\n').any(|line| data_of(line) == Some(b"[DONE]".as_slice()));
        }
        if let Some(at) = memmem::rfind(events, b"\"finish_reason\":") {
            let value = events.get(at + b"\"finish_reason\":".len()..).unwrap_or_default();
            self.finished |= value.trim_ascii_start().first() == Some(&b'"');
        }
        if memmem::find(events, b"\"error\"").is_some() {
            let is_error = |line| data_of(line).is_some_and(|data| data.starts_with(b"{\"error\""));
            self.failed |= events.split(|byte| *byte == b'\n').any(is_error);
        }
        if memmem::find(events, b"\"usage\"").is_some() {
            self.usage = usage_in(events).or(self.usage);
        }
    }
}

/// The data of a `data:` line, without the spaces around it.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii)
}

/// End of the last empty line that ends at or after `from`.
fn last_boundary(bytes: &[u8], from: usize) -> Option<usize> {
    let mut end = bytes.len();
    while let Some(at) = memchr::memrchr(b'\n', bytes.get(from..end)?).map(|at| at + from) {
        let before = bytes.get(..at).unwrap_or_default();
        if before.ends_with(b"\n") || before.ends_with(b"\n\r") {
            return Some(at + 1);
        }
        end = at;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    const STREAM: &[u8] = b"data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n: ping\r\n\r\ndata: {\"choices\":[{\"text\":\"[DONE]\",\"finish_reason\": \"stop\"}]}\n\ndata: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

    fn run(frames: impl IntoIterator<Item = Bytes>) -> (Scanner, Vec<Bytes>) {
        let mut scanner = Scanner::default();
        let mut out: Vec<Bytes> = frames.into_iter().map(|frame| scanner.push(frame)).collect();
        out.push(scanner.finish());
        (scanner, out)
    }

    #[test]
    fn whole_events_are_forwarded_in_the_memory_they_came_in() {
        let frame = Bytes::from_static(STREAM);
        let mut scanner = Scanner::default();
        let out = scanner.push(frame.clone());
        assert_eq!(out.as_ptr(), frame.as_ptr());
        assert_eq!(out, frame);
        assert_eq!(scanner.usage, Some(Usage { prompt_tokens: 7, completion_tokens: 2 }));
        assert!(scanner.done && scanner.finished && !scanner.failed);
    }

    #[test]
    fn done_inside_a_text_is_not_the_end() {
        let (scanner, _) =
            run([Bytes::from_static(b"data: {\"text\":\"[DONE]\",\"finish_reason\":null}\n\n")]);
        assert!(!scanner.is_complete());
    }

    #[test]
    fn an_error_in_the_stream_is_seen() {
        let (scanner, _) =
            run([Bytes::from_static(b"data: {\"error\":{\"message\":\"out of memory\"}}\n\n")]);
        assert!(scanner.failed);
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_bytes_and_facts(cuts in proptest::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let frames = cuts.windows(2).map(|cut| Bytes::from_static(&STREAM[cut[0]..cut[1]]));
            let (scanner, out) = run(frames);
            prop_assert_eq!(out.concat(), STREAM);
            prop_assert!(scanner.done && scanner.finished);
            prop_assert_eq!(scanner.usage, Some(Usage { prompt_tokens: 7, completion_tokens: 2 }));
            for piece in &out[..out.len() - 1] {
                prop_assert!(piece.is_empty() || piece.ends_with(b"\n\n") || piece.ends_with(b"\n\r\n"), "half an event: {:?}", piece);
            }
        }
    }
}
