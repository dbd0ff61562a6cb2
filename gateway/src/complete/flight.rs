//! Generations under way. Each is one future that every request waiting for it drives; when the last of them leaves, it
//! is dropped, and with it the connection to the backend. So nobody's answer is lost because another's client left, and
//! nothing is generated for nobody.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use modelgate_completion::post::Step;
use tokio::time::Instant;

use super::carry_on::carry_on;
use super::clean::Cleaner;
use super::making::Made;
use super::measure::Reuse;
use super::order::{Key, Order};
use super::progress::{Phase, Progress};
use super::read::Reader;
use super::{Choice, Core};
use crate::app::Gateway;
use crate::dialect::openai::Usage;
use crate::error::GatewayError;
use crate::metrics::Outcome;
use crate::pipeline::prompt::Rendered;
use crate::pipeline::{dispatch, prompt};
use crate::server::facts;
use crate::server::record::Record;

/// What a generation came to.
#[derive(Debug)]
pub(super) struct Landed {
    pub choices: Vec<Choice>,
    /// The first answer as the model gave it.
    pub raw: String,
    /// What the backend says it used.
    pub usage: Option<Usage>,
    /// How it went.
    pub outcome: Outcome,
    /// Why it is not whole.
    pub broken: Option<GatewayError>,
    /// Whether the usage stands in an account already: it is counted once, whoever waits.
    pub is_accounted: std::sync::atomic::AtomicBool,
}

pub(super) type Landing = Shared<BoxFuture<'static, Result<Arc<Landed>, GatewayError>>>;

/// A generation under way.
pub(super) struct Flight {
    key: Key,
    place: Key,
    prefix: String,
    landing: Landing,
    pub progress: Arc<Progress>,
    home: Weak<Gateway>,
}

impl Flight {
    /// Waits for its end, and drives it.
    pub(super) fn landing(&self) -> Landing {
        self.landing.clone()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(gateway) = self.home.upgrade() {
            gateway.completions.flights.forget(self);
        }
    }
}

/// The generations under way.
#[derive(Default)]
pub(super) struct Flights {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    by_key: HashMap<Key, Weak<Flight>>,
    by_place: HashMap<Key, Vec<Weak<Flight>>>,
}

/// A generation to wait for.
pub(super) struct Joined {
    pub flight: Arc<Flight>,
    /// How much of its answer is typed already, when that is the beginning of it.
    pub typed: String,
    pub reuse: Option<Reuse>,
}

impl Flights {
    /// The generation of this very request, else one that is answering with what was typed since, else a new one.
    pub(super) fn join(&self, gateway: &Arc<Gateway>, order: Order, record: &Record) -> (Joined, Arc<Order>) {
        let order = Arc::new(order);
        // Dropped after the lock: a generation whose last waiter left meanwhile wants the lock itself.
        let mut seen = Vec::new();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = list.by_key.get(&order.key).and_then(Weak::upgrade) {
            return (Joined { flight, typed: String::new(), reuse: Some(Reuse::Identical) }, order);
        }
        if let Some(there) = list.by_place.get(&order.place) {
            seen.extend(there.iter().filter_map(Weak::upgrade));
        }
        if let Some((flight, typed)) = answering(&seen, &order) {
            return (Joined { flight, typed, reuse: Some(Reuse::Stream) }, order);
        }
        let flight = start(gateway, &order, record);
        list.by_key.insert(order.key, Arc::downgrade(&flight));
        list.by_place.entry(order.place).or_default().push(Arc::downgrade(&flight));
        drop(list);
        (Joined { flight, typed: String::new(), reuse: None }, order)
    }

    /// A generation of its own, for a request that joined one which then went another way.
    pub(super) fn alone(gateway: &Arc<Gateway>, order: &Arc<Order>, record: &Record) -> Arc<Flight> {
        start(gateway, order, record)
    }

    fn forget(&self, flight: &Flight) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.by_key.get(&flight.key).is_some_and(|known| known.strong_count() == 0) {
            list.by_key.remove(&flight.key);
        }
        if let Some(there) = list.by_place.get_mut(&flight.place) {
            there.retain(|known| known.strong_count() > 0);
            if there.is_empty() {
                list.by_place.remove(&flight.place);
            }
        }
    }
}

/// One of these generations that is answering with what was typed since it began, and what that is.
fn answering(flights: &[Arc<Flight>], order: &Order) -> Option<(Arc<Flight>, String)> {
    // What was shown of a stream cannot be taken back when it turns out to go another way than was typed.
    if order.choices > 1 || order.task.stream {
        return None;
    }
    let prefix = order.task.document.prefix.as_str();
    flights.iter().find_map(|flight| {
        let typed = prefix.strip_prefix(flight.prefix.as_str()).filter(|typed| !typed.is_empty())?;
        flight.progress.continues(typed).then(|| (Arc::clone(flight), typed.to_owned()))
    })
}

fn start(gateway: &Arc<Gateway>, order: &Arc<Order>, record: &Record) -> Arc<Flight> {
    let progress = Arc::new(Progress::default());
    let home = Arc::downgrade(gateway);
    let aside = record.aside();
    let until = deadline(record, order);
    let landing = fly(home.clone(), Arc::clone(order), Arc::clone(&progress), aside, until).boxed().shared();
    let prefix = order.task.document.prefix.clone();
    Arc::new(Flight { key: order.key, place: order.place, prefix, landing, progress, home })
}

async fn fly(
    gateway: Weak<Gateway>,
    order: Arc<Order>,
    progress: Arc<Progress>,
    mut record: Record,
    until: Instant,
) -> Result<Arc<Landed>, GatewayError> {
    let gateway = gateway.upgrade().ok_or(GatewayError::Internal)?;
    let done = make(&gateway, &order, &progress, &mut record, until).await;
    progress.keep(record);
    done
}

async fn make(
    gateway: &Gateway,
    order: &Arc<Order>,
    progress: &Arc<Progress>,
    record: &mut Record,
    until: Instant,
) -> Result<Arc<Landed>, GatewayError> {
    let core = &gateway.completions;
    let made = match Made::is_wanted(order) {
        true => {
            let making = Arc::clone(order);
            core.pool.run(move || Made::new(&making)).await?
        }
        false => Made::default(),
    };
    let made = Arc::new(made);
    let rendered = prompt::completion(order, &made, progress, until);
    progress.enter(Phase::Queue);
    let upstream = dispatch::send(&order.route, &rendered, record).await?;
    let asked = made.of(upstream.permit.backend()).map(Arc::clone);
    progress.set_asked(asked.clone());
    progress.enter(Phase::FirstToken);
    if record.wants_steps()
        && let Ok((request, _)) = rendered.request_to(upstream.permit.backend(), upstream.permit.endpoint())
    {
        record.note_step("request to the backend", "", &request.body().text());
    }
    let reader = Reader::new(upstream, &order.route, dispatch::deadline(&order.route, record.began));
    let making = Arc::clone(order);
    let cleaner = core.pool.run(move || Arc::new(Cleaner::new(&making, asked.as_deref()))).await?;
    let (broken, usage) = follow(core, reader, &cleaner, order, &rendered, progress, record).await;
    if let Ok(true) = broken {
        gateway.metrics.completion.stopped_early.inc();
    }
    record.note_phase(facts::Phase::Answer);
    progress.enter(Phase::PostProcess);
    let raws = progress.raws();
    let broken = match broken {
        Ok(_) => None,
        Err(error) if raws.iter().all(|raw| raw.text.is_empty()) => return Err(error),
        Err(error) => Some(error),
    };
    let raw = raws.first().map(|raw| raw.text.clone()).unwrap_or_default();
    let seen: Vec<String> = match record.wants_steps() {
        true => raws.iter().map(|raw| raw.text.clone()).collect(),
        false => Vec::new(),
    };
    let cleaned = core.pool.run(move || cleaner.clean(&raws)).await?;
    for step in &cleaned.steps {
        gateway.metrics.completion.step(*step);
    }
    record.note_phase(facts::Phase::Postprocess);
    note_steps(record, order, &seen, &cleaned.traces);
    let choices = cleaned.choices;
    let outcome = match &broken {
        None => Outcome::Success,
        Some(GatewayError::UpstreamTimeout(_)) => Outcome::Timeout,
        Some(_) => Outcome::Truncated,
    };
    Ok(Arc::new(Landed { choices, raw, usage, outcome, broken, is_accounted: false.into() }))
}

/// What each step made of each answer, for whoever asked for texts.
fn note_steps(record: &Record, order: &Order, raws: &[String], traces: &[Vec<(Step, Option<String>)>]) {
    for (number, (raw, trace)) in raws.iter().zip(traces).enumerate() {
        let of = if raws.len() > 1 { format!(" {}", number + 1) } else { String::new() };
        record.note_step(&format!("answer of the model{of}"), &order.task.document.prefix, raw);
        let mut text = raw;
        for (step, made) in trace {
            let after = made.as_ref().unwrap_or(text);
            record.note_step(&format!("{}{of}", step.name()), text, after);
            text = after;
        }
    }
}

/// Reads the answer to its end, from elsewhere where it breaks off; also tells what it used. Afterwards the backend is free.
async fn follow(
    core: &Core,
    mut reader: Reader,
    cleaner: &Arc<Cleaner>,
    order: &Order,
    rendered: &Rendered,
    progress: &Progress,
    record: &mut Record,
) -> (Result<bool, GatewayError>, Option<Usage>) {
    let mut done = read(core, &mut reader, cleaner, order, progress, record).await;
    let mut said = None;
    if let Err(error) = &done {
        reader.blame();
        if let Some((rest, before)) = carry_on(order, rendered, progress, &reader, error, record).await {
            (reader, said) = (rest, Some(before));
            done = read(core, &mut reader, cleaner, order, progress, record).await;
        }
    }
    (done, reader.usage.map(|usage| said.map_or(usage, |said| said.counted_in(usage))))
}

/// Reads until nothing more is wanted; tells whether that was before the backend's own end.
async fn read(
    core: &Core,
    reader: &mut Reader,
    cleaner: &Arc<Cleaner>,
    order: &Order,
    progress: &Progress,
    record: &mut Record,
) -> Result<bool, GatewayError> {
    while let Some(pieces) = reader.next().await? {
        let mut grown = BTreeSet::new();
        for piece in pieces {
            if !piece.text.is_empty() {
                record.note_piece(piece.text.len());
                progress.begin_answer();
                grown.insert(piece.index);
            }
            progress.push(order.choices, &piece);
        }
        for index in grown {
            let Some(text) = progress.unfinished(index) else { continue };
            let cleaner = Arc::clone(cleaner);
            if core.pool.run(move || cleaner.is_decided(index, &text)).await? && progress.cut(index) {
                return Ok(true);
            }
        }
    }
    progress.end();
    Ok(false)
}

/// When a request must be answered.
pub(super) fn deadline(record: &Record, order: &Order) -> Instant {
    (Instant::from_std(record.began) + order.deadline).min(dispatch::deadline(&order.route, record.began))
}
