//! Bodies on their way: to a backend ([`RequestBody`]) and from one ([`UpstreamBody`]). The body that a client reads is in
//! `server::body`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::translate::Translated;

/// A request's body in pieces that need not lie together in memory; its length is known.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    pieces: [Bytes; 3],
}

impl RequestBody {
    /// Of up to three pieces; empty ones are passed over.
    #[must_use]
    pub fn new(pieces: [Bytes; 3]) -> Self {
        Self { pieces }
    }

    /// All of it, for whoever asked to see it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.pieces.concat()).into_owned()
    }

    /// Of one piece.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self { pieces: [bytes, Bytes::new(), Bytes::new()] }
    }

    fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.iter_mut().find(|piece| !piece.is_empty()).map(std::mem::take);
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

/// An answer on its way from a backend.
pub enum UpstreamBody {
    /// From a connection.
    Incoming(Incoming),
    /// From memory, at once.
    Whole(Option<Bytes>),
    /// From memory, with a pause before each piece but the first.
    Paced(Box<Paced>),
    /// What was read of it already, then the rest.
    Begun(Option<Bytes>, Box<UpstreamBody>),
    /// Events of another dialect's, as OpenAI's.
    Translated(Box<Translated>),
}

/// Pieces with pauses.
pub struct Paced {
    pieces: std::vec::IntoIter<Bytes>,
    delay: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl UpstreamBody {
    /// All at once.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }

    /// A body of which the beginning was read already.
    #[must_use]
    pub fn begun(first: Bytes, rest: Self) -> Self {
        Self::Begun(Some(first), Box::new(rest))
    }

    /// Piece by piece.
    #[must_use]
    pub fn paced(pieces: Vec<Bytes>, delay: Duration) -> Self {
        Self::Paced(Box::new(Paced { pieces: pieces.into_iter(), delay, pause: None }))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Incoming(body) => Pin::new(body).poll_frame(cx),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Translated(translated) => translated.poll(cx),
            Self::Begun(first, rest) => match first.take() {
                Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                None => Pin::new(&mut **rest).poll_frame(cx),
            },
            Self::Paced(paced) => {
                if let Some(pause) = &mut paced.pause {
                    std::task::ready!(pause.as_mut().poll(cx));
                }
                paced.pause = (!paced.delay.is_zero()).then(|| Box::pin(tokio::time::sleep(paced.delay)));
                Poll::Ready(paced.pieces.next().map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_none(),
            Self::Begun(first, rest) => first.is_none() && rest.is_end_stream(),
            Self::Paced(_) | Self::Translated(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Incoming(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Begun(None, rest) => rest.size_hint(),
            Self::Begun(Some(first), rest) => match (first.len() as u64, rest.size_hint().exact()) {
                (first, Some(rest)) => SizeHint::with_exact(first + rest),
                (_, None) => SizeHint::default(),
            },
            Self::Paced(_) | Self::Translated(_) => SizeHint::default(),
        }
    }
}
