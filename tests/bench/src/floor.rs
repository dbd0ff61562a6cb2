//! The floor: a bare pass-through of hyper, without any feature. What a gateway costs above it is the gateway's own.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Sender = SendRequest<Incoming>;
type Pool = Rc<RefCell<Vec<Sender>>>;

/// Serves until the process ends.
pub async fn serve(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.context("cannot listen")?;
    let pool = Pool::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pool = Rc::clone(&pool);
        tokio::task::spawn_local(async move {
            let pass = service_fn(|request| pass(request, to, Rc::clone(&pool)));
            let _ended =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await;
        });
    }
}

async fn pass(request: Request<Incoming>, to: SocketAddr, pool: Pool) -> Result<Response<Passing>> {
    let mut sender = idle(to, &pool).await?;
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Passing { body, sender: Some(sender), pool }))
}

async fn idle(to: SocketAddr, pool: &Pool) -> Result<Sender> {
    loop {
        let Some(mut sender) = pool.borrow_mut().pop() else { break };
        if sender.ready().await.is_ok() {
            return Ok(sender);
        }
    }
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// The backend's body; its connection goes back to the pool at the end.
struct Passing {
    body: Incoming,
    sender: Option<Sender>,
    pool: Pool,
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.body.is_end_stream()
            && let Some(sender) = self.sender.take()
        {
            self.pool.borrow_mut().push(sender);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
