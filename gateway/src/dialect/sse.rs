//! Server-sent events, scanned as they pass. Whole events are forwarded in the memory they came in; an unfinished one is
//! held back until it is whole, so a stream that breaks never shows half an event. An event that is an error or nonsense is
//! not forwarded: whoever reads the stream decides what becomes of it.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

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
    /// Events with JSON that passed.
    pub events: u64,
    /// The last usage that passed.
    pub usage: Option<Usage>,
    /// Why nothing passes any more.
    pub stop: Option<Stop>,
    /// Whether the event that holds the usage alone is kept back, because the client did not ask for it.
    pub hides_usage: bool,
}

/// Why a stream can go on no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// An event told an error; its JSON.
    Failed(Bytes),
    /// An event was no JSON object.
    Malformed,
}

impl Scanner {
    /// Follows a stream; `hides_usage` keeps the event back that holds the usage alone.
    #[must_use]
    pub fn new(hides_usage: bool) -> Self {
        Self { hides_usage, ..Self::default() }
    }

    /// Takes a frame and gives what may be forwarded now; empty while an event is unfinished.
    pub fn push(&mut self, mut frame: Bytes) -> Bytes {
        if self.stop.is_some() {
            return Bytes::new();
        }
        if self.pending.is_empty() {
            let Some(end) = last_boundary(&frame, 0) else {
                self.pending.extend_from_slice(&frame);
                return self.overflow();
            };
            let whole = frame.split_to(end);
            self.pending.extend_from_slice(&frame);
            return self.note(&whole);
        }
        // A boundary is at most four bytes long, so an older one cannot hide before this point.
        let from = self.pending.len().saturating_sub(3);
        self.pending.extend_from_slice(&frame);
        match last_boundary(&self.pending, from) {
            Some(end) => {
                let whole = self.pending.split_to(end).freeze();
                self.note(&whole)
            }
            None => self.overflow(),
        }
    }

    /// What is left when the stream ends by itself: some servers leave out the last empty line. What is left of a stream
    /// that is not complete is half an event, and nobody's.
    pub fn finish(&mut self) -> Bytes {
        let rest = self.pending.split().freeze();
        if rest.is_empty() || self.stop.is_some() {
            return Bytes::new();
        }
        let rest = self.note(&rest);
        if self.stop == Some(Stop::Malformed) {
            // Cut off within: the stream was not complete, which is told by that.
            self.stop = None;
        }
        rest
    }

    /// Whether the stream said that it was complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.done || self.finished
    }

    /// An event larger than any model server sends makes no sense.
    fn overflow(&mut self) -> Bytes {
        if self.pending.len() > EVENT_BYTES {
            self.pending.clear();
            self.stop = Some(Stop::Malformed);
        }
        Bytes::new()
    }

    /// Reads whole events and gives those that may be forwarded.
    fn note(&mut self, events: &Bytes) -> Bytes {
        let (mut at, mut event_at) = (0, 0);
        let mut hidden: Option<(usize, usize)> = None;
        let mut hide = false;
        while at < events.len() {
            let rest = events.get(at..).unwrap_or_default();
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let line = rest.get(..length).unwrap_or_default().trim_ascii_end();
            at += length;
            if line.is_empty() {
                if std::mem::take(&mut hide) {
                    hidden = Some((event_at, at));
                }
                event_at = at;
            } else if let Some(data) = data_of(line) {
                match self.judge(data) {
                    Judgement::Pass => {}
                    Judgement::Hide => hide = true,
                    Judgement::Stop(stop) => {
                        self.stop = Some(stop);
                        return without(&events.slice(..event_at), hidden);
                    }
                }
            }
        }
        if hide {
            hidden = Some((event_at, at));
        }
        without(events, hidden)
    }

    fn judge(&mut self, data: &[u8]) -> Judgement {
        if data == b"[DONE]" {
            self.done = true;
            return Judgement::Pass;
        }
        if data.first() != Some(&b'{') || serde_json::from_slice::<IgnoredAny>(data).is_err() {
            return Judgement::Stop(Stop::Malformed);
        }
        if memmem::find(data, b"\"error\"").is_some() && is_error(data) {
            return Judgement::Stop(Stop::Failed(Bytes::copy_from_slice(data)));
        }
        self.events += 1;
        if let Some(at) = memmem::rfind(data, b"\"finish_reason\":") {
            let value = data.get(at + b"\"finish_reason\":".len()..).unwrap_or_default();
            self.finished |= value.trim_ascii_start().first() == Some(&b'"');
        }
        if memmem::find(data, b"\"usage\"").is_some() {
            let usage = usage_in(data);
            self.usage = usage.or(self.usage);
            if self.hides_usage && usage.is_some() && has_no_choice(data) {
                return Judgement::Hide;
            }
        }
        Judgement::Pass
    }
}

enum Judgement {
    Pass,
    Hide,
    Stop(Stop),
}

fn without(events: &Bytes, hidden: Option<(usize, usize)>) -> Bytes {
    match hidden {
        None => events.clone(),
        Some((start, end)) if end >= events.len() => events.slice(..start.min(events.len())),
        Some((0, end)) => events.slice(end..),
        Some((start, end)) => Bytes::from([&events[..start], &events[end..]].concat()),
    }
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    error: Option<&'a serde_json::value::RawValue>,
    object: Option<std::borrow::Cow<'a, str>>,
    choices: Option<Vec<IgnoredAny>>,
    code: Option<serde_json::Value>,
}

/// Errors are `{"error": …}`, or `{"object": "error", …}` as older servers write them.
fn is_error(data: &[u8]) -> bool {
    serde_json::from_slice::<Members<'_>>(data).is_ok_and(|members| {
        members.error.is_some_and(|error| error.get() != "null") || members.object.as_deref() == Some("error")
    })
}

fn has_no_choice(data: &[u8]) -> bool {
    serde_json::from_slice::<Members<'_>>(data)
        .is_ok_and(|members| members.choices.is_some_and(|choices| choices.is_empty()))
}

/// The status that an error in a stream names, as a number under `code` or `status`.
#[must_use]
pub fn status_of(error: &[u8]) -> Option<u16> {
    #[derive(Deserialize)]
    struct Inner {
        code: Option<serde_json::Value>,
        status: Option<serde_json::Value>,
    }
    let members: Members<'_> = serde_json::from_slice(error).ok()?;
    let inner = members.error.and_then(|error| serde_json::from_str::<Inner>(error.get()).ok());
    let codes = inner.into_iter().flat_map(|inner| [inner.code, inner.status]).flatten().chain(members.code);
    codes
        .filter_map(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()))
        .find_map(|code| u16::try_from(code).ok())
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
        assert!(scanner.done && scanner.finished && scanner.stop.is_none());
    }

    #[test]
    fn done_inside_a_text_is_not_the_end() {
        let (scanner, _) =
            run([Bytes::from_static(b"data: {\"text\":\"[DONE]\",\"finish_reason\":null}\n\n")]);
        assert!(!scanner.is_complete());
    }

    #[test]
    fn an_error_in_the_stream_stops_it_and_is_kept() {
        for error in [
            r#"{"error":{"message":"out of memory","code":500}}"#,
            r#"{ "object":"error", "message":"\"error\"", "code": 400 }"#,
        ] {
            let before = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
            let (scanner, out) = run([Bytes::from(format!("{before}data: {error}\n\ndata: [DONE]\n\n"))]);
            assert_eq!(out.concat(), before.as_bytes(), "what follows an error is not shown");
            assert_eq!(scanner.stop, Some(Stop::Failed(Bytes::from(error))));
            assert!(!scanner.is_complete());
        }
        let (scanner, _) = run([Bytes::from_static(
            b"data: {\"choices\":[{\"text\":\"{\\\"error\\\": 1}\"}],\"error\":null}\n\n",
        )]);
        assert_eq!((scanner.stop, scanner.events), (None, 1), "code about errors is no error");
        assert_eq!(status_of(br#"{"error":{"code":"429"}}"#), Some(429));
        assert_eq!(status_of(br#"{"error":{"code":"rate_limit","status":503}}"#), Some(503));
        assert_eq!(status_of(br#"{"object":"error","code":400}"#), Some(400));
    }

    #[test]
    fn nonsense_stops_the_stream_before_it() {
        for nonsense in ["{\"choices\":[{\"text\":\"a\"}", "not json", "[1]", "{\"a\":}"] {
            let frame = Bytes::from(format!("data: {{\"choices\":[]}}\n\ndata: {nonsense}\n\n"));
            let (scanner, out) = run([frame]);
            assert_eq!(out.concat(), b"data: {\"choices\":[]}\n\n", "{nonsense}");
            assert_eq!(scanner.stop, Some(Stop::Malformed), "{nonsense}");
        }
    }

    #[test]
    fn a_usage_that_the_client_did_not_ask_for_is_counted_and_kept_back() {
        let text = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n";
        let done = "data: [DONE]\n\n";
        for frames in [
            vec![format!("{text}{usage}{done}")],
            vec![text.into(), format!("{usage}{done}")],
            vec![format!("{text}{usage}"), done.into()],
        ] {
            let mut scanner = Scanner { hides_usage: true, ..Scanner::default() };
            let out: Vec<Bytes> = frames.into_iter().map(|frame| scanner.push(Bytes::from(frame))).collect();
            assert_eq!(out.concat(), format!("{text}{done}").as_bytes());
            assert_eq!(scanner.usage, Some(Usage { prompt_tokens: 7, completion_tokens: 2 }));
            assert!(scanner.done);
        }
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
