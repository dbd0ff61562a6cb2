//! The account of one request: metrics, log line, usage record and what `/debug/requests` shows, written once, when its
//! answer has ended. The response body owns it, so a stream is accounted when it ends, and one that nobody reads to its end
//! is `canceled`. Stages add what they know by the methods here.

mod head;
mod notes;

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use http::HeaderName;

use super::Connection;
use super::facts::{Facts, Phase, Phases, short};
use super::ids::Ids;
use super::in_flight::Slot;
use super::io::Busy;
use super::reports::Reports;
use super::summary::Summary;
use crate::app::Gateway;
use crate::backend::Backend;
use crate::caller::Caller;
use crate::config::snapshot::Snapshot;
use crate::dialect::openai::Usage;
use crate::limit::Ticket;
use crate::metrics::{Metrics, Operation, Outcome};
use crate::series::{BackendSeries, Handler};
use crate::trace::Context;
use head::{Head, TOLD, bounded, told, version};
pub use notes::Step;

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
    head: Head,
    metrics: Arc<Metrics>,
    reports: Arc<Reports>,
    nobody: Arc<BackendSeries>,
    caller: Option<Arc<Caller>>,
    backend: Option<Arc<Backend>>,
    operation: Option<Operation>,
    outcome: Option<Outcome>,
    usage: Option<Usage>,
    first_piece: Option<Instant>,
    ticket: Option<Ticket>,
    phases: Phases,
    facts: Facts,
    steps: Option<Arc<Mutex<Vec<Step>>>>,
    trace: Option<Context>,
    /// Absent for an account beside the request's own, which writes nothing.
    busy: Option<Busy>,
}
impl Record {
    /// Begins the account of a request.
    #[must_use]
    pub fn new(
        gateway: &Gateway,
        snapshot: &Snapshot,
        connection: &Connection,
        request: &http::request::Parts,
        ids: Ids,
    ) -> Self {
        let began = Instant::now();
        let kept = |name: &HeaderName| Some((name.clone(), request.headers.get(name)?.clone()));
        Self {
            began,
            handler: Handler::Other,
            request_id: ids.request_id,
            slot: None,
            status: None,
            reason: None,
            head: Head {
                time: SystemTime::now(),
                method: request.method.clone(),
                uri: request.uri.clone(),
                version: request.version,
                // Values share the memory that the head was read into; nothing is copied.
                headers: TOLD.iter().filter_map(kept).collect(),
                client_request_id: ids.client_request_id,
                gateway: snapshot.config.gateway.clone(),
                client: connection.peer,
            },
            metrics: Arc::clone(&gateway.metrics),
            reports: Arc::clone(&gateway.reports),
            nobody: Arc::clone(&snapshot.nobody),
            caller: None,
            backend: None,
            operation: None,
            outcome: None,
            usage: None,
            first_piece: None,
            ticket: None,
            phases: Phases::new(began),
            facts: Facts::default(),
            steps: None,
            trace: gateway.reports.trace(&request.headers),
            busy: Some(connection.activity.begin(request.version)),
        }
    }

    /// An account for work that several requests may wait for: it gathers facts, and writes nothing when it ends.
    #[must_use]
    pub fn aside(&self) -> Self {
        Self {
            began: self.began,
            handler: self.handler,
            request_id: self.request_id.clone(),
            slot: None,
            status: None,
            reason: None,
            head: self.head.clone(),
            metrics: Arc::clone(&self.metrics),
            reports: Arc::clone(&self.reports),
            nobody: Arc::clone(&self.nobody),
            caller: self.caller.clone(),
            backend: None,
            operation: self.operation,
            outcome: None,
            usage: None,
            first_piece: None,
            ticket: None,
            phases: Phases::new(Instant::now()),
            facts: Facts::default(),
            steps: self.steps.clone(),
            trace: self.trace,
            busy: None,
        }
    }

    /// Takes over what was gathered aside about backends and times.
    pub fn adopt(&mut self, aside: &Self) {
        self.phases.join(&aside.phases);
        self.facts.join(&aside.facts);
    }

    /// Takes over when the answer began from an account that measured it.
    pub fn adopt_first_piece(&mut self, at: Option<Instant>) {
        self.first_piece = self.first_piece.or(at);
    }

    /// Notes what is asked of a model, as the path tells.
    pub fn set_operation_of_handler(&mut self) {
        self.operation = match self.handler {
            Handler::GitlabRoot
            | Handler::GitlabCompletions
            | Handler::GitlabCodeCompletions
            | Handler::GitlabGenerations
            | Handler::GitlabExperimental
            | Handler::GitlabComponents
            | Handler::GitlabSuggestions
            | Handler::MistralFim
            | Handler::Infill
            | Handler::TabbyCompletions => Some(Operation::CodeCompletion),
            Handler::Completions => Some(Operation::TextCompletion),
            Handler::Chat => Some(Operation::Chat),
            Handler::Embeddings => Some(Operation::Embeddings),
            Handler::GitlabToken
            | Handler::GitlabModels
            | Handler::Models
            | Handler::Model
            | Handler::LlamaHealth
            | Handler::LlamaProps
            | Handler::TabbyHealth
            | Handler::TabbySetting
            | Handler::TabbyEvents
            | Handler::Docs
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
        self.head.client.set_ip(client);
    }

    /// The client's address.
    #[must_use]
    pub fn client(&self) -> std::net::IpAddr {
        self.head.client.ip().to_canonical()
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

    /// The backend that answers it.
    #[must_use]
    pub fn answering(&self) -> Option<&Arc<Backend>> {
        self.backend.as_ref()
    }

    /// What the backend says it used.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// How it ended, as far as that is known.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Its place in a trace, when traces are exported.
    #[must_use]
    pub fn trace(&self) -> Option<Context> {
        self.trace
    }

    /// Times of its phases so far.
    #[must_use]
    pub fn phases(&self) -> &Phases {
        &self.phases
    }

    /// How it ended. The first word counts.
    pub fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// What the backend says it used.
    pub fn set_usage(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }

    fn write(&mut self) {
        let last = if self.backend.is_some() { Phase::Answer } else { Phase::Postprocess };
        self.phases.end(last);
        let took = self.began.elapsed();
        let outcome = self.outcome.unwrap_or(Outcome::Canceled);
        let status = self.status.unwrap_or(CLIENT_GONE);
        self.metrics.http.observe(self.handler, &self.head.method, status, took);
        if let Some(operation) = self.operation {
            let series = self.backend.as_ref().map_or(&*self.nobody, |backend| &backend.series);
            series.observe(operation, outcome, took);
            self.metrics.observe_phases(&self.phases);
            if let Some(usage) = self.usage {
                series.input_tokens.inc_by(usage.prompt_tokens);
                series.output_tokens.inc_by(usage.completion_tokens);
            }
        }
        self.reports.tell(Summary {
            time: self.head.time,
            request_id: std::mem::take(&mut self.request_id),
            client_request_id: self.head.client_request_id.take(),
            method: short(self.head.method.as_str()),
            path: bounded(self.head.uri.path()),
            http_version: version(self.head.version),
            handler: self.handler,
            client: self.head.client,
            told: told(&self.head),
            status,
            outcome,
            reason: self.reason,
            duration: took,
            first_piece: self.first_piece.map(|first| first - self.began),
            phases: self.phases.clone(),
            operation: self.operation,
            gateway: std::mem::take(&mut self.head.gateway),
            backend: self.backend.as_ref().map(|backend| backend.name.clone()),
            model: self.backend.as_ref().map(|backend| backend.config.model.clone()),
            usage: self.usage,
            caller: self.caller.take(),
            trace: self.trace,
            facts: std::mem::take(&mut self.facts),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            let used = self.usage.map(|usage| usage.prompt_tokens.saturating_add(usage.completion_tokens));
            ticket.used(used, self.backend.is_some());
        }
        if self.busy.is_some() {
            self.write();
        }
    }
}
