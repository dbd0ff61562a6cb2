//! The body that a client reads. It owns the request's account and the backend's permit; there is no task and no queue
//! between the two connections, so a client that leaves is noticed by the backend at once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::record::Record;
use crate::backend::Permit;
use crate::dialect::openai::{error_body, usage_in};
use crate::dialect::sse::Scanner;
use crate::error::GatewayError;
use crate::metrics::Outcome;
use crate::pipeline::body::UpstreamBody;

/// Bytes at the end of an answer in which its usage is looked for.
const TAIL_BYTES: usize = 4 * 1024;

/// Why a body broke off; hyper then cuts the connection, which tells the client.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body.
pub struct ResponseBody {
    kind: Kind,
    record: Option<Record>,
}

enum Kind {
    Whole(Option<Bytes>),
    Passing(Box<Passing>),
    Ended,
}

impl ResponseBody {
    /// All of it is known.
    #[must_use]
    pub fn whole(bytes: Bytes, record: Record) -> Self {
        Self { kind: Kind::Whole((!bytes.is_empty()).then_some(bytes)), record: Some(record) }
    }

    /// It comes from a backend.
    #[must_use]
    pub fn passing(passing: Passing, record: Record) -> Self {
        Self { kind: Kind::Passing(Box::new(passing)), record: Some(record) }
    }
}

/// An answer that passes from a backend to a client.
pub struct Passing {
    upstream: UpstreamBody,
    follow: Follow,
    idle: Duration,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    /// Sent last, after the backend's part is over.
    last_words: Option<Bytes>,
    _permit: Permit,
}

enum Follow {
    Events(Box<Scanner>),
    Tail(BytesMut),
}

impl Passing {
    /// Passes `upstream` on until `deadline`, with at most `idle` between two pieces.
    #[must_use]
    pub fn new(
        upstream: UpstreamBody,
        is_stream: bool,
        idle: Duration,
        deadline: Instant,
        permit: Permit,
    ) -> Self {
        let follow = if is_stream { Follow::Events(Box::default()) } else { Follow::Tail(BytesMut::new()) };
        let timer = Box::pin(tokio::time::sleep_until((Instant::now() + idle).min(deadline)));
        Self { upstream, follow, idle, deadline, timer, last_words: None, _permit: permit }
    }

    /// The next piece; `None` at the end, whose outcome then stands in the record.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<Record>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(words) = self.last_words.take() {
            return Poll::Ready((!words.is_empty()).then_some(Ok(words)));
        }
        loop {
            let piece = match Pin::new(&mut self.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => {
                    tracing::warn!(error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "the backend's answer broke off");
                    return Poll::Ready(self.broken(
                        &GatewayError::UpstreamBroken,
                        Outcome::Truncated,
                        record,
                    ));
                }
                Poll::Ready(None) => return Poll::Ready(self.ended(record)),
                Poll::Pending => {
                    ready!(self.timer.as_mut().poll(cx));
                    return Poll::Ready(self.broken(
                        &GatewayError::UpstreamTimeout("next piece"),
                        Outcome::Timeout,
                        record,
                    ));
                }
            };
            self.timer.as_mut().reset((Instant::now() + self.idle).min(self.deadline));
            if let Some(record) = record.as_mut().filter(|_| !piece.is_empty()) {
                record.note_piece(piece.len());
            }
            let piece = self.follow(piece);
            if self.upstream.is_end_stream() && matches!(self.follow, Follow::Tail(_)) {
                // hyper does not ask again once the announced length is there.
                self.ended(record);
            }
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(piece)));
            }
        }
    }

    fn follow(&mut self, piece: Bytes) -> Bytes {
        match &mut self.follow {
            Follow::Events(scanner) => scanner.push(piece),
            Follow::Tail(tail) => {
                let excess = (tail.len() + piece.len()).saturating_sub(TAIL_BYTES);
                let kept = piece.get(piece.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
                drop(tail.split_to(excess.min(tail.len())));
                tail.extend_from_slice(kept);
                piece
            }
        }
    }

    /// The backend ended by itself.
    fn ended(&mut self, record: &mut Option<Record>) -> Option<Result<Bytes, BodyError>> {
        let (usage, outcome, rest) = match &mut self.follow {
            Follow::Tail(tail) => (usage_in(tail), Outcome::Success, Bytes::new()),
            Follow::Events(scanner) => {
                let rest = scanner.finish();
                let outcome = match (scanner.failed, scanner.is_complete()) {
                    (true, _) => Outcome::UpstreamError,
                    (false, true) => Outcome::Success,
                    (false, false) => Outcome::Truncated,
                };
                (scanner.usage, outcome, rest)
            }
        };
        if let Some(record) = record {
            record.set_usage(usage);
            record.set_outcome(outcome);
        }
        if outcome == Outcome::Truncated {
            let event = error_event(&GatewayError::UpstreamBroken);
            // Half an event must not run into ours.
            self.last_words = Some(event);
            let rest =
                if rest.is_empty() { Bytes::new() } else { Bytes::from([&rest[..], b"\n\n"].concat()) };
            return if rest.is_empty() { self.last_words.take().map(Ok) } else { Some(Ok(rest)) };
        }
        self.last_words = Some(Bytes::new());
        (!rest.is_empty()).then_some(Ok(rest))
    }

    /// The backend's part is cut. A stream of events says so in its own words and ends without `[DONE]`; any other body
    /// breaks off, which the client's HTTP library reports.
    fn broken(
        &mut self,
        error: &GatewayError,
        outcome: Outcome,
        record: &mut Option<Record>,
    ) -> Option<Result<Bytes, BodyError>> {
        if let Some(record) = record {
            record.set_outcome(outcome);
            record.reason = Some(error.reason());
        }
        match &self.follow {
            Follow::Events(scanner) => {
                if let Some(record) = record {
                    record.set_usage(scanner.usage);
                }
                self.last_words = Some(Bytes::new());
                Some(Ok(error_event(error)))
            }
            Follow::Tail(_) => Some(Err(error.to_string().into())),
        }
    }
}

fn error_event(error: &GatewayError) -> Bytes {
    let body = error_body(error.status(), &error.to_string(), error.reason());
    Bytes::from([b"data: ", &body[..], b"\n\n"].concat())
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let next = match &mut this.kind {
            Kind::Whole(bytes) => bytes.take().map(Ok),
            Kind::Passing(passing) => ready!(passing.poll_piece(cx, &mut this.record)),
            Kind::Ended => None,
        };
        if next.is_none() || matches!(next, Some(Err(_))) {
            this.kind = Kind::Ended;
            this.record = None;
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Whole(None) | Kind::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            // A stream of events may get a last one of ours, so its length is not the backend's.
            Kind::Passing(passing) if matches!(passing.follow, Follow::Events(_)) => SizeHint::default(),
            Kind::Passing(passing) => passing.upstream.size_hint(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}
