//! The body of a streamed answer. Dropping it, as hyper does when the client leaves, cancels the request.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use crate::{
    api::{error::ApiError, response::Shape},
    infer::job::Event,
};

/// Turns events into server-sent events; all that are ready go into one frame.
#[derive(Debug)]
pub struct StreamBody {
    shape: Shape,
    events: mpsc::Receiver<Event>,
    /// What is to be sent before the first event.
    opening: String,
    done: bool,
}

impl StreamBody {
    /// A stream of what comes through `events`.
    #[must_use]
    pub fn new(shape: Shape, events: mpsc::Receiver<Event>) -> Self {
        let opening = shape.begin();
        Self { shape, events, opening, done: false }
    }

    fn write(&mut self, event: Option<Event>) -> String {
        match event {
            Some(Event::Text(text)) => self.shape.text(&text),
            Some(Event::End { finish, usage }) => {
                self.done = true;
                self.shape.end(finish, usage)
            }
            Some(Event::Failed(reason)) => {
                self.done = true;
                Shape::failed(&ApiError::Internal(reason).body())
            }
            None => {
                self.done = true;
                Shape::failed(&ApiError::Internal("the computing thread has ended".into()).body())
            }
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut out = std::mem::take(&mut self.opening);
        while !self.done {
            match self.events.poll_recv(context) {
                Poll::Ready(event) => out += &self.write(event),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if out.is_empty() { Poll::Ready(None) } else { Poll::Ready(Some(Ok(Frame::data(out.into())))) }
    }

    fn is_end_stream(&self) -> bool {
        self.done && self.opening.is_empty()
    }
}
