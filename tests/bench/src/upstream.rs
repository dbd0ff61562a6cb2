//! The model server that is none: answers at once what a request orders, whole, as events one after another, or paced.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};

use crate::ask::Order;

/// Serves until the process ends.
pub async fn serve(listen: SocketAddr) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await.context("cannot listen")?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            // A client that leaves ends its own connection and nothing else.
            let _ended =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, hyper::Error> {
    let asks_for_text = request.method() == hyper::Method::POST;
    let body = request.into_body().collect().await?.to_bytes();
    let Some(order) = Order::of(&body) else {
        if asks_for_text {
            // A completion whose prompt the gateway made itself.
            let text = r#"{"choices":[{"index":0,"text":"first + second\n","finish_reason":"stop"}]}"#;
            return Ok(response("application/json", Answer::Whole(Some(text.into()))));
        }
        // What gateways ask on their own: health and models.
        let models =
            format!(r#"{{"object":"list","data":[{{"id":"{}","object":"model"}}]}}"#, crate::ask::MODEL);
        return Ok(response("application/json", Answer::Whole(Some(models.into()))));
    };
    if order.events == 0 {
        return Ok(response("application/json", Answer::Whole(Some(order.answer().into()))));
    }
    let wish = b"\"include_usage\":true";
    let with_usage = body.windows(wish.len()).any(|window| window == wish);
    Ok(response("text/event-stream", Answer::Events(Box::new(Events::new(order, with_usage)))))
}

fn response(kind: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}

enum Answer {
    Whole(Option<Bytes>),
    Events(Box<Events>),
}

struct Events {
    order: Order,
    with_usage: bool,
    next: u32,
    ended: bool,
    /// Events sent at once are still written one by one, as a model's are.
    yielded: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Events {
    fn new(order: Order, with_usage: bool) -> Self {
        let pause = Duration::from_millis(order.pause_ms.into());
        let timer = (order.pause_ms > 0).then(|| Box::pin(tokio::time::sleep(pause)));
        Self { order, with_usage, next: 0, ended: false, yielded: false, timer }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match &mut self.timer {
            Some(timer) => {
                std::task::ready!(timer.as_mut().poll(cx));
                let pause = Duration::from_millis(self.order.pause_ms.into());
                let next = (timer.deadline() + pause).max(Instant::now());
                timer.as_mut().reset(next);
            }
            None if !self.yielded => {
                self.yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => self.yielded = false,
        }
        if self.next == self.order.events {
            self.ended = true;
            return Poll::Ready(Some(Order::ending(self.with_usage).into()));
        }
        self.next += 1;
        Poll::Ready(Some(self.order.event(self.next - 1).into()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut *self {
            Self::Whole(bytes) => bytes.take(),
            Self::Events(events) => std::task::ready!(events.poll(cx)),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) => hyper::body::SizeHint::default(),
        }
    }
}
