//! The body that a client reads. It owns the request's account and the backend's permit; there is no task and no queue
//! between the two connections, so a client that leaves is noticed by the backend at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::failover::Failover;
use super::record::Record;
use crate::backend::Permit;
use crate::backend::circuit::Fault;
use crate::caller::Caller;
use crate::complete;
use crate::config::snapshot::Route;
use crate::dialect::openai::{error_body, usage_in};
use crate::dialect::sse::{Scanner, Stop, status_of};
use crate::error::{GatewayError, is_callers_fault};
use crate::metrics::Outcome;
use crate::pipeline::body::UpstreamBody;
use crate::pipeline::dispatch::Upstream;
use crate::pipeline::prompt::Rendered;

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
    Telling(Box<complete::Stream>),
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

    /// It is a completion of the gateway's own, told as it comes.
    #[must_use]
    pub fn telling(stream: Box<complete::Stream>, record: Record) -> Self {
        Self { kind: Kind::Telling(stream), record: Some(record) }
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
    permit: Permit,
    failover: Option<Box<Failover>>,
}

enum Follow {
    Events(Box<Scanner>),
    Tail(BytesMut),
}

type Piece = Option<Result<Bytes, BodyError>>;

impl Passing {
    /// Passes an answer on until `deadline`, with at most the route's pause between two pieces. `rendered` is kept where a
    /// stream that breaks can be carried on elsewhere.
    #[must_use]
    pub fn new(
        upstream: Upstream,
        route: &Arc<Route>,
        rendered: Rendered,
        caller: Option<Arc<Caller>>,
        deadline: Instant,
    ) -> Self {
        let idle = Duration::from_millis(route.timeout.idle_ms);
        let follow = if upstream.is_stream {
            Follow::Events(scanner(&upstream, &rendered))
        } else {
            Follow::Tail(BytesMut::new())
        };
        let timer = Box::pin(tokio::time::sleep_until((Instant::now() + idle).min(deadline)));
        let failover = Failover::of(route, rendered, caller, &upstream, deadline);
        let Upstream { response, permit, .. } = upstream;
        let upstream = response.into_body();
        Self { upstream, follow, idle, deadline, timer, last_words: None, permit, failover }
    }

    /// Passes an answer on untouched, whatever it is.
    #[must_use]
    pub fn as_it_is(upstream: Upstream, route: &Route, deadline: Instant) -> Self {
        let idle = Duration::from_millis(route.timeout.idle_ms);
        let timer = Box::pin(tokio::time::sleep_until((Instant::now() + idle).min(deadline)));
        let Upstream { response, permit, .. } = upstream;
        let (upstream, follow) = (response.into_body(), Follow::Tail(BytesMut::new()));
        Self { upstream, follow, idle, deadline, timer, last_words: None, permit, failover: None }
    }

    /// The next piece; `None` at the end, whose outcome then stands in the record.
    fn poll_piece(&mut self, cx: &mut Context<'_>, record: &mut Option<Record>) -> Poll<Piece> {
        if let Some(words) = self.last_words.take() {
            return Poll::Ready((!words.is_empty()).then_some(Ok(words)));
        }
        loop {
            if self.failover.as_ref().is_some_and(|failover| failover.is_going()) {
                if let Err(error) = ready!(self.poll_failover(cx, record)) {
                    return Poll::Ready(self.broken(&error, record));
                }
                continue;
            }
            let stop = match &mut self.follow {
                Follow::Events(scanner) => scanner.stop.take(),
                Follow::Tail(_) => None,
            };
            let error = match stop {
                Some(stop) => match self.stopped(&stop, record) {
                    Ok(last) => return Poll::Ready(Some(Ok(last))),
                    Err(error) => error,
                },
                None => match ready!(self.poll_upstream(cx, record)) {
                    Ok(Some(piece)) if piece.is_empty() => continue,
                    Ok(piece) => return Poll::Ready(piece.map(Ok)),
                    Err(error) => error,
                },
            };
            self.permit.blame(Fault::Own);
            let goes_on = self.failover.as_mut().is_some_and(|failover| failover.begin(&self.permit));
            if !goes_on {
                return Poll::Ready(self.broken(&error, record));
            }
            tracing::info!(backend = %self.permit.backend().name, error = %error, "the stream broke; it is carried on elsewhere");
        }
    }

    /// One piece of the backend's, or `None` at its proper end.
    fn poll_upstream(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<Record>,
    ) -> Poll<Result<Option<Bytes>, GatewayError>> {
        let piece = match Pin::new(&mut self.upstream).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "the backend's answer broke off");
                return Poll::Ready(Err(GatewayError::UpstreamBroken));
            }
            Poll::Ready(None) => return Poll::Ready(self.ended(record)),
            Poll::Pending => {
                ready!(self.timer.as_mut().poll(cx));
                let over = Instant::now() >= self.deadline;
                let phase = if over { "whole answer" } else { "next piece" };
                return Poll::Ready(Err(GatewayError::UpstreamTimeout(phase)));
            }
        };
        self.timer.as_mut().reset((Instant::now() + self.idle).min(self.deadline));
        if let Some(record) = record.as_mut().filter(|_| !piece.is_empty()) {
            record.note_piece(piece.len());
        }
        let piece = self.follow(piece)?;
        if self.upstream.is_end_stream() && matches!(self.follow, Follow::Tail(_)) {
            // hyper does not ask again once the announced length is there.
            self.ended(record)?;
        }
        Poll::Ready(Ok(Some(piece)))
    }

    fn follow(&mut self, piece: Bytes) -> Result<Bytes, GatewayError> {
        match &mut self.follow {
            Follow::Events(scanner) => {
                let events = scanner.push(piece);
                self.failover.as_mut().map_or(Ok(events.clone()), |failover| failover.pass(events))
            }
            Follow::Tail(tail) => {
                let excess = (tail.len() + piece.len()).saturating_sub(TAIL_BYTES);
                let kept = piece.get(piece.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
                drop(tail.split_to(excess.min(tail.len())));
                tail.extend_from_slice(kept);
                Ok(piece)
            }
        }
    }

    /// The backend ended by itself: properly, with what is left to be sent, or not.
    fn ended(&mut self, record: &mut Option<Record>) -> Result<Option<Bytes>, GatewayError> {
        let (usage, rest) = match &mut self.follow {
            Follow::Tail(tail) => (usage_in(tail), Bytes::new()),
            Follow::Events(scanner) => {
                let rest = scanner.finish();
                if !scanner.is_complete() || scanner.stop.is_some() {
                    // Half an event is not shown; a whole one that lacks its empty line is sent with it.
                    if rest.is_empty() {
                        return if scanner.stop.is_some() {
                            Ok(Some(rest))
                        } else {
                            Err(GatewayError::UpstreamBroken)
                        };
                    }
                    let rest = Bytes::from([&rest[..], b"\n\n"].concat());
                    return self
                        .failover
                        .as_mut()
                        .map_or(Ok(rest.clone()), |failover| failover.pass(rest))
                        .map(Some);
                }
                let usage = scanner.usage;
                let rest = self.failover.as_mut().map_or(Ok(rest.clone()), |failover| failover.pass(rest))?;
                (usage, rest)
            }
        };
        if let Some(record) = record {
            record.set_usage(usage);
            record.set_outcome(Outcome::Success);
        }
        self.last_words = Some(Bytes::new());
        Ok((!rest.is_empty()).then_some(rest))
    }

    /// An event was an error or nonsense. What is the caller's own fault is told in the backend's words.
    fn stopped(&mut self, stop: &Stop, record: &mut Option<Record>) -> Result<Bytes, GatewayError> {
        let Stop::Failed(event) = stop else { return Err(GatewayError::UpstreamMalformed("no event")) };
        let status = status_of(event).and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.filter(|status| status.is_client_error() || status.is_server_error());
        let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
        let error = GatewayError::UpstreamStatus { status, body: Bytes::new(), retry_after: None };
        if !is_callers_fault(status) {
            return Err(error);
        }
        if let Some(record) = record {
            record.set_outcome(error.outcome());
            record.reason = Some(error.reason());
        }
        self.last_words = Some(Bytes::new());
        Ok(Bytes::from([b"data: ", &event[..], b"\n\n"].concat()))
    }

    fn poll_failover(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<Record>,
    ) -> Poll<Result<(), GatewayError>> {
        let Some(failover) = &mut self.failover else { return Poll::Ready(Ok(())) };
        let upstream = ready!(failover.poll(cx))?;
        if let Some(record) = record {
            record.set_backend(upstream.permit.backend());
            record.note_because("resumed");
            let at = Some(upstream.permit.endpoint().base());
            record.note_attempt(&upstream.permit.backend().name, at, std::time::Instant::now(), "resumed");
        }
        self.follow = Follow::Events(scanner(&upstream, failover.rendered()));
        let Upstream { response, permit, .. } = upstream;
        (self.upstream, self.permit) = (response.into_body(), permit);
        self.timer.as_mut().reset((Instant::now() + self.idle).min(self.deadline));
        Poll::Ready(Ok(()))
    }

    /// The backend's part is cut. A stream of events says so in its own words and ends without `[DONE]`; any other body
    /// breaks off, which the client's HTTP library reports.
    fn broken(&mut self, error: &GatewayError, record: &mut Option<Record>) -> Piece {
        let outcome = match error {
            GatewayError::UpstreamBroken => Outcome::Truncated,
            error => error.outcome(),
        };
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
                self.failover = None;
                Some(Ok(error_event(error)))
            }
            Follow::Tail(_) => Some(Err(error.to_string().into())),
        }
    }
}

fn scanner(upstream: &Upstream, rendered: &Rendered) -> Box<Scanner> {
    Box::new(Scanner::new(rendered.asks_for_usage(upstream.permit.backend())))
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
            Kind::Telling(stream) => {
                let Some(record) = &mut this.record else { return Poll::Ready(None) };
                ready!(stream.poll(cx, record)).map(|told| told.map_err(BodyError::from))
            }
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
            Kind::Telling(_) => SizeHint::default(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}
