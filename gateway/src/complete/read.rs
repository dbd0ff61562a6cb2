//! A backend's answer, piece by piece, in whatever its server speaks: events of a stream, or the one whole answer of a
//! server that does not stream.

use std::sync::Arc;

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use tokio::time::{Duration, Instant, timeout_at};

use super::Finish;
use crate::backend::Backend;
use crate::backend::circuit::Fault;
use crate::backend::endpoint::Endpoint;
use crate::config::snapshot::Route;
use crate::dialect::openai::Usage;
use crate::dialect::{self, Dialect, Event, Events};
use crate::error::GatewayError;
use crate::limits;
use crate::pipeline::body::UpstreamBody;
use crate::pipeline::dispatch::Upstream;

/// A piece of one of the answers.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    /// Which answer.
    pub index: usize,
    /// Its text.
    pub text: String,
    /// Why the answer ended, with its last piece.
    pub finish: Option<Finish>,
    /// Mean logarithm of its tokens' likelihood.
    pub logprob: Option<f64>,
}

/// Reads an answer. Dropping it before the end closes the connection, so the backend stops.
pub(super) struct Reader {
    upstream: Upstream,
    dialect: Arc<Dialect>,
    events: Events,
    idle: Duration,
    until: Instant,
    bytes: usize,
    is_complete: bool,
    is_over: bool,
    /// What the backend says it used.
    pub usage: Option<Usage>,
}

impl Reader {
    pub(super) fn new(upstream: Upstream, route: &Route, until: Instant) -> Self {
        let dialect = upstream.permit.backend().dialect();
        Self {
            events: dialect.events(),
            dialect,
            upstream,
            idle: Duration::from_millis(route.timeout.idle_ms),
            until,
            bytes: 0,
            is_complete: false,
            is_over: false,
            usage: None,
        }
    }

    /// Who answers.
    pub(super) fn backend(&self) -> &Arc<Backend> {
        self.upstream.permit.backend()
    }

    /// At which address.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.upstream.permit.endpoint()
    }

    /// The answer broke off, and the address is to blame.
    pub(super) fn blame(&self) {
        self.upstream.permit.blame(Fault::Own);
    }

    /// The next pieces; none are possible, `None` is the end.
    ///
    /// # Errors
    /// When the answer breaks off, says that it failed, pauses too long or makes no sense.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Piece>>, GatewayError> {
        if self.is_over {
            return Ok(None);
        }
        if !self.upstream.is_stream {
            self.is_over = true;
            return self.whole().await.map(Some);
        }
        let frame = timeout_at((Instant::now() + self.idle).min(self.until), self.body().frame())
            .await
            .map_err(|_| GatewayError::UpstreamTimeout("next piece"))?;
        let told = match frame {
            Some(frame) => {
                let data = frame.map_err(|_| GatewayError::UpstreamBroken)?.into_data().unwrap_or_default();
                self.bytes += data.len();
                if self.bytes > limits::ANSWER_BYTES {
                    return Err(GatewayError::UpstreamBroken);
                }
                self.events.push(&data)
            }
            None => {
                self.is_over = true;
                self.events.finish()
            }
        };
        let mut pieces = Vec::new();
        for event in told {
            match event {
                Event::Text { index, text, logprob } => pieces.push(piece(index, text, None, logprob)),
                Event::End { index, finish } => {
                    self.is_complete = true;
                    pieces.push(piece(index, String::new(), Some(of(finish)), None));
                }
                Event::Usage(usage) => self.usage = Some(usage),
                Event::Failed(why) => {
                    tracing::warn!(backend = %self.upstream.permit.backend().name, why, "the backend broke off its answer");
                    return Err(GatewayError::UpstreamBroken);
                }
                Event::Done => (self.is_complete, self.is_over) = (true, true),
            }
        }
        if self.is_over && !self.is_complete {
            return Err(GatewayError::UpstreamBroken);
        }
        Ok(Some(pieces))
    }

    fn body(&mut self) -> &mut UpstreamBody {
        self.upstream.response.body_mut()
    }

    async fn whole(&mut self) -> Result<Vec<Piece>, GatewayError> {
        let until = self.until;
        let collecting = Limited::new(self.body(), limits::ANSWER_BYTES).collect();
        let collected = timeout_at(until, collecting);
        let collected = collected.await.map_err(|_| GatewayError::UpstreamTimeout("whole answer"))?;
        let bytes = collected.map_err(|_| GatewayError::UpstreamBroken)?.to_bytes();
        let generated = self.dialect.read(StatusCode::OK, &bytes)?;
        self.usage = generated.usage;
        if generated.choices.is_empty() {
            return Err(GatewayError::UpstreamBroken);
        }
        let whole = |(index, choice): (u32, dialect::Choice)| {
            // A server that gives no reason has sent all it had.
            let finish = choice.finish.map_or(Finish::Stop, of);
            piece(index, choice.text, Some(finish), choice.logprob)
        };
        Ok((0..).zip(generated.choices).map(whole).collect())
    }
}

fn piece(index: u32, text: String, finish: Option<Finish>, logprob: Option<f64>) -> Piece {
    Piece { index: usize::try_from(index).unwrap_or(usize::MAX), text, finish, logprob }
}

/// What a server withheld is short of an end, like what it had no tokens for.
fn of(finish: dialect::Finish) -> Finish {
    match finish {
        dialect::Finish::Stop => Finish::Stop,
        dialect::Finish::Length | dialect::Finish::Filtered => Finish::Length,
    }
}
