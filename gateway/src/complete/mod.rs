//! The completion core that every completion protocol calls: task → prompt → backend → clean text, before a deadline.
//! Protocols (GitLab's, OpenAI's with a suffix, Tabby's, …) translate to [`CompletionTask`] and from [`Completed`] and know
//! nothing of what is between.
//!
//! ```text
//! task ─ order ─┬─ typed_ahead: the rest of an earlier answer
//!               ├─ flight: a generation under way that answers it too
//!               └─ flight: a new one ─ prompt ─ dispatch ─ read ─ clean ─ answer
//! ```

mod carry_on;
mod clean;
mod flight;
mod identify;
mod latest;
mod making;
mod measure;
mod order;
mod pool;
mod progress;
mod read;
mod stream;
mod task;
mod typed_ahead;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use modelgate_api::v1alpha1::{Compat, OnUnavailable};

use crate::app::Gateway;
use crate::config::snapshot::{Route, Snapshot};
use crate::error::GatewayError;
use crate::gitlab;
use crate::metrics::Outcome;
use crate::pipeline::admit as admission;
use crate::server::facts;
use crate::server::record::Record;
use clean::Cleaner;
use flight::{Flight, Flights, Joined, Landed};
use latest::Newest;
use measure::Reuse;

pub(crate) use carry_on::Said;
pub use identify::identify;
pub(crate) use making::{DEFAULT_WINDOW, Made, family_of, template_of};
pub use measure::Measures;
pub(crate) use order::Order;
pub use progress::{Phase, Progress};
pub use stream::{Ending, Head, Stream, Telling, Words, stream};
pub use task::{
    Choice, Completed, CompletionTask, ContextItem, Finish, Message, Project, PromptOverride, SourceDocument,
    Unavailable,
};

/// What completions share in one process.
#[derive(Default)]
pub struct Core {
    flights: Flights,
    typed_ahead: typed_ahead::TypedAhead,
    latest: latest::Latest,
    pool: pool::Pool,
}

/// What GitLab's completion routes do when no backend can answer.
#[must_use]
pub fn unavailable_for_gitlab(snapshot: &Snapshot) -> Unavailable {
    match (snapshot.config.completion.on_unavailable, snapshot.config.compat) {
        (Some(OnUnavailable::Error), _) => Unavailable::Error,
        (None, Compat::Strict) => Unavailable::Seed,
        (Some(OnUnavailable::Empty), _) | (None, Compat::Current) => Unavailable::Empty,
    }
}

/// What other protocols' completion routes do when no backend can answer.
#[must_use]
pub fn unavailable_elsewhere(snapshot: &Snapshot) -> Unavailable {
    match snapshot.config.completion.on_unavailable {
        Some(OnUnavailable::Empty) => Unavailable::Empty,
        Some(OnUnavailable::Error) | None => Unavailable::Error,
    }
}

/// Answers a task. An answer without choices is a success of the protocol; its `outcome` tells what really happened.
///
/// # Errors
/// The failure, where the task's `unavailable` lets it show.
pub async fn run(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    route: &Arc<Route>,
    task: CompletionTask,
    record: &mut Record,
) -> Result<Completed, GatewayError> {
    let order = begin(snapshot, route, task, record);
    let unavailable = order.task.unavailable;
    let language = gitlab::language(&order.task.document.file_name);
    let experiments = order.experiments.clone();
    let answered = answer(gateway, snapshot, order, record).await;
    let answered = match answered {
        Ok(answered) => answered,
        Err(error) if is_shown(unavailable, &error) => return Err(error),
        Err(error) => {
            tracing::warn!(error = %error, route = %route.name, request_id = %record.request_id, "no completion; the editor is told that there is none");
            Answered { reason: Some(error.reason()), ..Answered::nothing(error.outcome()) }
        }
    };
    answered.note_in(record);
    Ok(Completed {
        choices: answered.choices,
        backend: record.backend().unwrap_or_default().into(),
        model: record.model().unwrap_or_default().into(),
        language,
        usage: record.usage(),
        experiments,
        outcome: answered.outcome,
    })
}

/// Notes what is asked for and decides what does not depend on the backend.
fn begin(snapshot: &Snapshot, route: &Arc<Route>, task: CompletionTask, record: &mut Record) -> Order {
    let document = &task.document;
    record.note_route(&route.name, task.model.as_deref());
    record.note_prompt(&document.prefix, Some(&document.suffix));
    record.note_language(gitlab::language(&document.file_name));
    record.note_project(task.project.as_ref().and_then(|project| project.id.as_deref()?.parse().ok()));
    record.note_request_bytes(document.prefix.len());
    record.note_phase(facts::Phase::Route);
    let order = Order::new(snapshot, route, task);
    record.note_experiments(&order.experiments);
    order
}

/// Lets an order in, in the place of the editor's older one.
async fn admit(
    gateway: &Gateway,
    snapshot: &Snapshot,
    order: &Order,
    record: &mut Record,
) -> Result<Newest, GatewayError> {
    let admitted = admission::completion(snapshot, order, record).await;
    record.note_phase(facts::Phase::Queue);
    admitted?;
    Ok(gateway.completions.latest.take_over(order.editor, order.key))
}

/// Choices and how they came about.
struct Answered {
    choices: Vec<Choice>,
    /// What the model said first, of which only the length is told.
    raw: String,
    outcome: Outcome,
    reason: Option<&'static str>,
}

impl Answered {
    fn nothing(outcome: Outcome) -> Self {
        Self { choices: Vec::new(), raw: String::new(), outcome, reason: None }
    }

    /// A newer one took its place.
    fn replaced() -> Self {
        Self { reason: Some("superseded"), ..Self::nothing(Outcome::Canceled) }
    }

    fn note_in(&self, record: &mut Record) {
        if let Some(choice) = self.choices.first() {
            record.note_output(&self.raw, &choice.text, choice.logprob);
        }
        record.reason = self.reason.or(record.reason);
        record.set_outcome(self.outcome);
    }
}

async fn answer(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    order: Order,
    record: &mut Record,
) -> Result<Answered, GatewayError> {
    let core = &gateway.completions;
    let newest = admit(gateway, snapshot, &order, record).await?;
    if let Some(answered) = remainder(gateway, snapshot, &order, record) {
        return Ok(answered);
    }
    let deadline = flight::deadline(record, &order);
    let (mut joined, order) = core.flights.join(gateway, order, record);
    if let Some(reuse) = joined.reuse {
        gateway.metrics.completion.reused(reuse);
        record.note_cache(reuse.as_str());
    }
    loop {
        let Joined { flight, typed, .. } = &joined;
        let landed = tokio::select! {
            biased;
            landed = flight.landing() => landed,
            () = newest.replaced() => {
                gateway.metrics.completion.superseded.inc();
                flight.progress.note_in(record);
                return Ok(Answered::replaced());
            }
            () = tokio::time::sleep_until(deadline) => {
                flight.progress.note_in(record);
                return late(gateway, &order, flight, typed).await;
            }
        };
        flight.progress.note_in(record);
        let answered = landed.map(|landed| (rest(&landed, typed), landed));
        match answered {
            Ok((Some(choices), landed)) => return Ok(settle(core, &order, choices, &landed, record)),
            Err(error) if typed.is_empty() => return Err(error),
            // It went another way than was typed.
            Ok((None, _)) | Err(_) => {
                joined = Joined {
                    flight: Flights::alone(gateway, &order, record),
                    typed: String::new(),
                    reuse: None,
                };
            }
        }
    }
}

/// What is left of the answers when `typed` is their beginning.
fn rest(landed: &Landed, typed: &str) -> Option<Vec<Choice>> {
    if typed.is_empty() {
        return Some(landed.choices.clone());
    }
    let rest =
        |choice: &Choice| Some(Choice { text: choice.text.strip_prefix(typed)?.into(), ..choice.clone() });
    let rest: Vec<Choice> =
        landed.choices.iter().filter_map(rest).filter(|rest| !rest.text.trim().is_empty()).collect();
    (!rest.is_empty()).then_some(rest)
}

/// A generation has ended: the account gets what it cost, unless another has it, and the next keystrokes get its rest.
fn settle(
    core: &Core,
    order: &Order,
    choices: Vec<Choice>,
    landed: &Landed,
    record: &mut Record,
) -> Answered {
    if !landed.is_accounted.swap(true, Ordering::Relaxed) {
        record.set_usage(landed.usage);
    }
    let mut outcome = landed.outcome;
    if let ([choice], Outcome::Success) = (choices.as_slice(), outcome) {
        let (backend, model) = (record.backend().unwrap_or_default(), record.model().unwrap_or_default());
        core.typed_ahead.keep(order.place, &order.task.document.prefix, choice, backend, model);
    }
    if choices.is_empty() && outcome == Outcome::Success {
        outcome = Outcome::Empty;
    }
    let reason = landed.broken.as_ref().map(GatewayError::reason);
    Answered { choices, raw: landed.raw.clone(), outcome, reason }
}

/// Time is up: what is whole by itself is answered.
async fn late(
    gateway: &Gateway,
    order: &Arc<Order>,
    flight: &Flight,
    typed: &str,
) -> Result<Answered, GatewayError> {
    gateway.metrics.completion.cut(flight.progress.phase());
    let mut raws = flight.progress.raws();
    for raw in &mut raws {
        raw.text = raw.text.strip_prefix(typed).unwrap_or_default().into();
    }
    let raw = raws.first().map(|raw| raw.text.clone()).unwrap_or_default();
    let (order, asked) = (Arc::clone(order), flight.progress.asked());
    let clean = move || Cleaner::new(&order, asked.as_deref()).clean(&raws);
    let cleaned = gateway.completions.pool.run(clean).await?;
    Ok(Answered { choices: cleaned.choices, raw, outcome: Outcome::Deadline, reason: Some("deadline") })
}

/// Whether the caller sees the error as one.
fn is_shown(unavailable: Unavailable, error: &GatewayError) -> bool {
    match unavailable {
        Unavailable::Error => true,
        Unavailable::Empty => false,
        Unavailable::Seed => !matches!(
            error,
            GatewayError::UpstreamStatus { status, .. } if matches!(status.as_u16(), 400 | 500)
        ),
    }
}

/// The rest of an earlier answer of which the beginning was typed.
fn remainder(gateway: &Gateway, snapshot: &Snapshot, order: &Order, record: &mut Record) -> Option<Answered> {
    let found = gateway.completions.typed_ahead.find(&order.place, &order.task.document.prefix)?;
    gateway.metrics.completion.reused(Reuse::TypedAhead);
    record.note_cache("typed_ahead");
    if let Some(backend) = snapshot.backends.get(&found.backend) {
        record.set_backend(backend);
    }
    let raw = found.choice.text.clone();
    Some(Answered { choices: vec![found.choice], raw, outcome: Outcome::Success, reason: None })
}
