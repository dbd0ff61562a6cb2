//! The account of one request: metrics and one log line, written once, when its answer has ended. The response body owns
//! it, so a stream is accounted when it ends, and one that nobody reads to its end is `canceled`.

use std::sync::Arc;
use std::time::Instant;

use http::Method;

use super::Connection;
use super::in_flight::Slot;
use super::io::Busy;
use crate::backend::Backend;
use crate::caller::Caller;
use crate::dialect::openai::Usage;
use crate::limit::Ticket;
use crate::metrics::{Metrics, Operation, Outcome};
use crate::series::{BackendSeries, Handler};

/// Status in metrics of a request whose client left before it had an answer.
const CLIENT_GONE: u16 = 499;

/// The account.
pub struct Record {
    /// When the head had arrived.
    pub began: Instant,
    /// Which path it matched.
    pub handler: Handler,
    /// Value of `X-Request-ID`.
    pub request_id: String,
    /// Place among the requests under way.
    pub slot: Option<Slot>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Small word when something went wrong.
    pub reason: Option<&'static str>,
    method: Method,
    metrics: Arc<Metrics>,
    nobody: Arc<BackendSeries>,
    caller: Option<Arc<Caller>>,
    backend: Option<Arc<Backend>>,
    operation: Option<Operation>,
    outcome: Option<Outcome>,
    usage: Option<Usage>,
    first_piece: Option<Instant>,
    peer: std::net::SocketAddr,
    client: std::net::IpAddr,
    ticket: Option<Ticket>,
    _busy: Busy,
}

impl Record {
    /// Begins the account of a request.
    #[must_use]
    pub fn new(
        metrics: Arc<Metrics>,
        nobody: Arc<BackendSeries>,
        connection: &Connection,
        request: &http::request::Parts,
        request_id: String,
    ) -> Self {
        Self {
            began: Instant::now(),
            handler: Handler::Other,
            request_id,
            slot: None,
            status: None,
            reason: None,
            method: request.method.clone(),
            metrics,
            nobody,
            caller: None,
            backend: None,
            operation: None,
            outcome: None,
            usage: None,
            first_piece: None,
            peer: connection.peer,
            client: connection.peer.ip().to_canonical(),
            ticket: None,
            _busy: connection.activity.begin(request.version),
        }
    }

    /// Notes what is asked of a model, as the path tells.
    pub fn set_operation_of_handler(&mut self) {
        self.operation = match self.handler {
            Handler::GitlabCompletions
            | Handler::GitlabCodeCompletions
            | Handler::GitlabGenerations
            | Handler::GitlabExperimental
            | Handler::GitlabComponents
            | Handler::GitlabSuggestions => Some(Operation::CodeCompletion),
            Handler::Completions => Some(Operation::TextCompletion),
            Handler::Chat => Some(Operation::Chat),
            Handler::GitlabToken
            | Handler::GitlabModels
            | Handler::Models
            | Handler::Healthz
            | Handler::Ready
            | Handler::Other => None,
        };
    }

    /// It is no request for a model after all, such as a preflight.
    pub fn clear_operation(&mut self) {
        self.operation = None;
    }

    /// The client's address, as a trusted proxy tells it.
    pub fn set_client(&mut self, client: std::net::IpAddr) {
        self.client = client;
    }

    /// The client's address.
    #[must_use]
    pub fn client(&self) -> std::net::IpAddr {
        self.client
    }

    /// What limits reserved for it, until its answer has ended.
    pub fn set_ticket(&mut self, ticket: Option<Ticket>) {
        self.ticket = ticket;
    }

    /// Headers that tell of limits.
    #[must_use]
    pub fn limit_headers(&self) -> Option<&http::HeaderMap> {
        self.ticket.as_ref().map(|ticket| &ticket.headers)
    }

    /// It speaks for this caller.
    pub fn set_caller(&mut self, caller: Arc<Caller>) {
        self.caller = Some(caller);
    }

    /// Whom it speaks for; `None` before it was let in.
    #[must_use]
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
    }

    /// This backend answers it.
    pub fn set_backend(&mut self, backend: &Arc<Backend>) {
        if let Some(slot) = &self.slot {
            slot.set_backend(&backend.name);
        }
        self.backend = Some(Arc::clone(backend));
    }

    /// Model of the backend that answers it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.backend.as_ref().map(|backend| backend.config.model.as_str())
    }

    /// Name of the backend that answers it.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.backend.as_ref().map(|backend| backend.name.as_str())
    }

    /// What the backend says it used.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// How it ended. The first word counts.
    pub fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// What the backend says it used.
    pub fn set_usage(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }

    /// The first piece of the answer is there.
    pub fn note_piece(&mut self) {
        if self.first_piece.is_none() {
            let now = Instant::now();
            self.first_piece = Some(now);
            if let Some(backend) = &self.backend {
                backend.series.first_token.observe((now - self.began).as_secs_f64());
            }
        }
    }

    fn write(&self) {
        let took = self.began.elapsed();
        let outcome = self.outcome.unwrap_or(Outcome::Canceled);
        let status = self.status.unwrap_or(CLIENT_GONE);
        self.metrics.http.observe(self.handler, &self.method, status, took);
        if let Some(operation) = self.operation {
            let series = self.backend.as_ref().map_or(&*self.nobody, |backend| &backend.series);
            series.observe(operation, outcome, took);
            if let Some(usage) = self.usage {
                series.input_tokens.inc_by(usage.prompt_tokens);
                series.output_tokens.inc_by(usage.completion_tokens);
            }
        }
        let line = (self.handler.as_str(), self.method.as_str(), outcome.as_str());
        let backend = self.backend.as_ref().map(|backend| backend.name.as_str());
        if matches!(self.handler, Handler::Healthz | Handler::Ready) {
            tracing::debug!(target: "access", request_id = %self.request_id, handler = line.0, method = line.1, status, "request");
            return;
        }
        tracing::info!(
            target: "access",
            request_id = %self.request_id,
            client = %self.client,
            peer = %self.peer,
            tenant = self.caller.as_ref().map(|caller| caller.tenant.as_str()),
            handler = line.0,
            method = line.1,
            status,
            outcome = line.2,
            reason = self.reason,
            backend,
            duration_s = took.as_secs_f64(),
            first_piece_s = self.first_piece.map(|first| (first - self.began).as_secs_f64()),
            input_tokens = self.usage.map(|usage| usage.prompt_tokens),
            output_tokens = self.usage.map(|usage| usage.completion_tokens),
            "request"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            let used = self.usage.map(|usage| usage.prompt_tokens.saturating_add(usage.completion_tokens));
            ticket.used(used, self.backend.is_some());
        }
        self.write();
    }
}
