//! What a stream needs so that it can be carried on elsewhere when it breaks: the request, what the client has been shown,
//! and the addresses that were tried. Kept only for streams for which there is an elsewhere.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::backend::Permit;
use crate::backend::endpoint::Endpoint;
use crate::caller::Caller;
use crate::config::snapshot::Route;
use crate::error::GatewayError;
use crate::limits;
use crate::pipeline::dispatch::{self, Upstream};
use crate::pipeline::prompt::Rendered;
use crate::pipeline::resume::{self, Splice};

type Going = Pin<Box<dyn Future<Output = Result<Upstream, GatewayError>> + Send>>;

/// A stream's way out.
pub struct Failover {
    route: Arc<Route>,
    rendered: Rendered,
    caller: Option<Arc<Caller>>,
    tried: Arc<Endpoint>,
    deadline: Instant,
    shown: BytesMut,
    /// A stream is carried on once; one that is too long, never.
    spent: bool,
    going: Option<Going>,
    splice: Option<Splice>,
}

impl Failover {
    /// The way out of a stream that has begun, where there is one.
    #[must_use]
    pub fn of(
        route: &Arc<Route>,
        rendered: Rendered,
        caller: Option<Arc<Caller>>,
        upstream: &Upstream,
        deadline: Instant,
    ) -> Option<Box<Self>> {
        let known = || route.answering().map(|(backend, _)| backend.endpoint_count()).sum::<usize>();
        let body = rendered.openai_body().filter(|body| body.len() <= limits::RESUMABLE_BODY_BYTES);
        if !upstream.is_stream || route.retries == 0 || body.is_none() || known() < 2 {
            return None;
        }
        Some(Box::new(Self {
            route: Arc::clone(route),
            rendered,
            caller,
            tried: Arc::clone(upstream.permit.endpoint()),
            deadline,
            shown: BytesMut::new(),
            spent: false,
            going: None,
            splice: None,
        }))
    }

    /// The request as it was first sent.
    #[must_use]
    pub fn rendered(&self) -> &Rendered {
        &self.rendered
    }

    /// Whether it is being carried on just now.
    #[must_use]
    pub fn is_going(&self) -> bool {
        self.going.is_some()
    }

    /// Events on their way to the client: noted, and fitted to those that it has where they come from elsewhere.
    ///
    /// # Errors
    /// [`GatewayError::Unresumable`] when they are not the rest of what it has.
    pub fn pass(&mut self, events: Bytes) -> Result<Bytes, GatewayError> {
        if let Some(splice) = &mut self.splice {
            return splice.push(&events).ok_or(GatewayError::Unresumable);
        }
        if !self.spent {
            if self.shown.len() + events.len() > limits::RESUMABLE_BYTES {
                self.spent = true;
                self.shown = BytesMut::new();
            } else {
                self.shown.extend_from_slice(&events);
            }
        }
        Ok(events)
    }

    /// Sets out, where the rest can rightly be asked for and the route's budget allows it.
    pub fn begin(&mut self, broken: &Permit) -> bool {
        let series = &broken.backend().series.routing;
        let going = (!std::mem::replace(&mut self.spent, true)).then(|| self.request(broken)).flatten();
        let allowed = going.is_some() && self.route.budget.take(std::time::Instant::now());
        if allowed {
            series.resumed.inc();
        } else {
            series.unresumed.inc();
        }
        self.going = going.filter(|_| allowed);
        self.going.is_some()
    }

    fn request(&mut self, broken: &Permit) -> Option<Going> {
        let api = self.rendered.api;
        let shown = resume::delivered(&std::mem::take(&mut self.shown))?;
        let body = resume::request(api, self.rendered.openai_body()?, &shown, broken.backend().is_paid())?;
        let rendered = self.rendered.with_body(body)?;
        self.splice = Some(Splice::new(api, shown));
        let (route, deadline, caller) = (Arc::clone(&self.route), self.deadline, self.caller.clone());
        let mut tried = vec![Arc::clone(&self.tried)];
        Some(Box::pin(async move {
            dispatch::elsewhere(&route, &rendered, caller.as_deref(), &mut tried, deadline).await
        }))
    }

    /// Waits until the rest has begun.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Upstream, GatewayError>> {
        let Some(going) = &mut self.going else { return Poll::Ready(Err(GatewayError::Unresumable)) };
        let result = ready!(going.as_mut().poll(cx));
        self.going = None;
        Poll::Ready(result)
    }
}
