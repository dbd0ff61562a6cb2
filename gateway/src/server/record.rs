//! The account of one request: metrics, log line, usage record and what `/debug/requests` shows, written once, when its
//! answer has ended. The response body owns it, so a stream is accounted when it ends, and one that nobody reads to its end
//! is `canceled`. Stages add what they know by the methods here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use super::Connection;
use super::facts::{Attempt, Facts, Limited, Phase, Phases, short};
use super::ids::Ids;
use super::in_flight::Slot;
use super::io::Busy;
use super::reports::Reports;
use super::summary::{Summary, Told};
use crate::app::Gateway;
use crate::backend::Backend;
use crate::caller::Caller;
use crate::config::snapshot::Snapshot;
use crate::dialect::openai::Usage;
use crate::limit::Ticket;
use crate::metrics::{Metrics, Operation, Outcome};
use crate::series::{BackendSeries, Handler};
use crate::telemetry::content;
use crate::trace::Context;

/// Status in metrics of a request whose client left before it had an answer.
const CLIENT_GONE: u16 = 499;
/// Bytes of a header's value or a path that are kept.
const TEXT_BYTES: usize = 256;

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

/// What a step made of a text.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The text before it.
    pub before: String,
    /// The text after it.
    pub after: String,
}

/// The request's head, in the memory it came in.
#[derive(Clone)]
struct Head {
    time: SystemTime,
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    client_request_id: Option<String>,
    gateway: String,
    client: std::net::SocketAddr,
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
        let told = |name: &HeaderName| Some((name.clone(), request.headers.get(name)?.clone()));
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
                headers: TOLD.iter().filter_map(told).collect(),
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

    /// What passed since the last call of this was `phase`.
    pub fn note_phase(&mut self, phase: Phase) {
        self.phases.end(phase);
    }

    /// This route takes it, for this model.
    pub fn note_route(&mut self, route: &str, model: Option<&str>) {
        self.facts.route = Some(short(route));
        self.facts.model_asked = model.map(short);
    }

    /// A backend that could answer: `verdict` is `chosen` or why not, `score` what it was weighed by.
    pub fn note_candidate(&mut self, backend: &str, verdict: &'static str, score: Option<f64>) {
        self.facts.add_candidate(backend, verdict, score);
    }

    /// Why the backend that was chosen was chosen.
    pub fn note_because(&mut self, reason: &'static str) {
        self.facts.because = Some(reason);
    }

    /// A sending to a backend that began at `began` has its head, or has failed: `result` is `ok` or the reason.
    pub fn note_attempt(
        &mut self,
        backend: &str,
        endpoint: Option<&str>,
        began: Instant,
        result: &'static str,
    ) {
        let milliseconds = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
        self.facts.add_attempt(Attempt {
            backend: short(backend),
            endpoint: endpoint.map(short),
            result,
            began_ms: milliseconds(self.began, began),
            took_ms: milliseconds(began, Instant::now()),
        });
    }

    /// A limit refused or delayed it.
    pub fn note_limit(&mut self, limit: &str, by: &'static str, resets_in_s: Option<f64>) {
        self.facts.limited = Some(Limited { limit: short(limit), by, resets_in_s });
    }

    /// Text before and after the cursor, of which only lengths are kept.
    pub fn note_prompt(&mut self, prefix: &str, suffix: Option<&str>) {
        self.facts.prompt_length = Some((prefix.chars().count(), prefix.trim().chars().count()));
        self.facts.suffix_length = suffix.map(|suffix| suffix.chars().count());
    }

    /// The completion as the model gave it and as the client gets it, of which only lengths are kept.
    pub fn note_output(&mut self, given: &str, kept: &str, score: Option<f64>) {
        self.facts.output_length = Some((given.chars().count(), kept.chars().count()));
        self.facts.output_score = score;
    }

    /// Keeps the texts of steps, for whoever tries a completion; nothing else ever does.
    pub fn keep_steps(&mut self) {
        self.steps = Some(Arc::default());
    }

    /// The texts of steps, where they were kept.
    pub fn take_steps(&mut self) -> Vec<Step> {
        let steps = self.steps.take();
        steps
            .map(|steps| std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    /// Whether anybody asks for texts; asked before one is made for it.
    #[must_use]
    pub fn wants_steps(&self) -> bool {
        self.steps.is_some() || content::is_on()
    }

    /// What a step made of a text: for the log where texts were asked for by name, and for whoever tries a completion.
    pub fn note_step(&self, name: &str, before: &str, after: &str) {
        content::step(&self.request_id, name, before, after);
        if let Some(steps) = &self.steps {
            steps.lock().unwrap_or_else(PoisonError::into_inner).push(Step {
                name: name.into(),
                before: before.into(),
                after: after.into(),
            });
        }
    }

    /// Symbols of the file that went into the prompt.
    pub fn note_symbols(&mut self, count: usize) {
        self.facts.symbols = Some(count);
    }

    /// Language of the file.
    pub fn note_language(&mut self, language: Option<&'static str>) {
        self.facts.language = language;
    }

    /// Project that it is for.
    pub fn note_project(&mut self, id: Option<i64>) {
        self.facts.project_id = id;
    }

    /// Experiments that took part.
    pub fn note_experiments(&mut self, experiments: &[(String, i64)]) {
        self.facts.experiments =
            experiments.iter().take(8).map(|(name, variant)| (short(name), *variant)).collect();
    }

    /// A stream is asked for.
    pub fn note_stream(&mut self, stream: bool) {
        self.facts.stream = stream;
    }

    /// A backend failed with this status.
    pub fn note_model_status(&mut self, status: u16) {
        self.facts.model_status = Some(status);
    }

    /// It was answered from there, without a backend of its own.
    pub fn note_cache(&mut self, whence: &'static str) {
        self.facts.cache = Some(whence);
    }

    /// Bytes of the body that a backend is sent.
    pub fn note_request_bytes(&mut self, bytes: usize) {
        self.facts.request_bytes = bytes as u64;
    }

    /// A piece of the backend's answer of this many bytes is there.
    pub fn note_piece(&mut self, bytes: usize) {
        self.facts.answer.0 += bytes as u64;
        self.facts.answer.1 += 1;
        if self.first_piece.is_none() {
            let now = Instant::now();
            self.first_piece = Some(now);
            if let Some(backend) = &self.backend {
                backend.series.first_token.observe((now - self.began).as_secs_f64());
            }
        }
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

const INSTANCE_ID: HeaderName = HeaderName::from_static("x-gitlab-instance-id");
const GLOBAL_USER_ID: HeaderName = HeaderName::from_static("x-gitlab-global-user-id");
const REALM: HeaderName = HeaderName::from_static("x-gitlab-realm");
const HOST_NAME: HeaderName = HeaderName::from_static("x-gitlab-host-name");
const GITLAB_VERSION: HeaderName = HeaderName::from_static("x-gitlab-version");
const LANGUAGE_SERVER: HeaderName = HeaderName::from_static("x-gitlab-language-server-version");
/// Headers whose values are logged.
const TOLD: [HeaderName; 8] =
    [HOST, USER_AGENT, INSTANCE_ID, GLOBAL_USER_ID, REALM, HOST_NAME, GITLAB_VERSION, LANGUAGE_SERVER];

fn told(head: &Head) -> Told {
    // A value that is no visible ASCII is left out: it could disturb a log.
    let text = |name: &HeaderName| {
        head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(bounded)
    };
    Told {
        user_agent: text(&USER_AGENT),
        instance_id: text(&INSTANCE_ID),
        global_user_id: text(&GLOBAL_USER_ID),
        realm: text(&REALM),
        host_name: text(&HOST_NAME),
        gitlab_version: text(&GITLAB_VERSION),
        language_server_version: text(&LANGUAGE_SERVER),
        host: head.uri.authority().map(|authority| bounded(authority.as_str())).or_else(|| text(&HOST)),
    }
}

/// A text of ASCII cut to what is kept.
fn bounded(text: &str) -> String {
    text.get(..text.len().min(TEXT_BYTES)).unwrap_or_default().to_owned()
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
