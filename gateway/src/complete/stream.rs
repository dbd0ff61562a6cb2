//! A completion for a client that reads along: clean text goes out as soon as no later piece of the model's answer can change
//! it, and the whole is what [`super::run`] would have answered. The response body owns the stream, and with it the place at
//! the backend; a client that leaves ends both. How it is told is the protocol's.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::clean::Cleaner;
use super::flight::{self, Flight, Joined, Landed, Landing};
use super::latest::Newest;
use super::order::Order;
use super::{Answered, CompletionTask, Finish, admit, begin, is_shown, late, remainder, settle};
use crate::app::Gateway;
use crate::config::snapshot::{Route, Snapshot};
use crate::dialect::openai::Usage;
use crate::error::GatewayError;
use crate::gitlab;
use crate::server::record::Record;

/// What there is to tell.
#[derive(Debug)]
pub enum Telling<'a> {
    /// Before anything else, and once.
    Begin(&'a Head),
    /// A piece of one of the answers, ready to be put behind what was told of it before.
    Piece {
        /// Which answer.
        index: usize,
        /// Its text.
        text: &'a str,
    },
    /// After everything else, and once.
    End(&'a Ending),
}

/// A protocol's words for it; none cuts the connection, where nothing else tells a client that it has half an answer.
pub type Words = Box<dyn FnMut(Telling<'_>) -> Option<String> + Send>;

/// What is known when a stream begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// Name of the backend that answers; empty when none does.
    pub backend: String,
    /// Its model; empty when none answers.
    pub model: String,
    /// Language of the file by GitLab's names, where known.
    pub language: Option<&'static str>,
    /// Experiments that took part, with the index of their variant.
    pub experiments: Vec<(String, i64)>,
}

/// How a stream ends.
#[derive(Debug, Default)]
pub struct Ending {
    /// Why each answer that was told ended, in their order; fewer than asked for when there was nothing to offer.
    pub finishes: Vec<Finish>,
    /// What the backend says it used.
    pub usage: Option<Usage>,
    /// Why the answer is not whole.
    pub error: Option<GatewayError>,
}

/// A stream that has begun.
pub struct Stream {
    words: Words,
    /// What is to be told next; nothing cuts the connection.
    queue: VecDeque<Option<Bytes>>,
    going: Option<Going>,
}

type Going = Pin<Box<dyn Future<Output = (Source, Step)> + Send>>;

/// Where the pieces come from.
struct Source {
    gateway: Arc<Gateway>,
    order: Arc<Order>,
    flight: Arc<Flight>,
    landing: Landing,
    newest: Newest,
    deadline: Instant,
    cleaner: Option<Arc<Cleaner>>,
    /// Bytes of the model's answer that were looked at.
    seen: usize,
    sent: String,
}

enum Step {
    /// A piece that can be told.
    Text(String),
    /// The generation has ended.
    Landed(Arc<Landed>),
    /// It was given up, with this to show for it.
    GivenUp(Answered),
    Failed(GatewayError),
}

/// Begins to answer a task piece by piece. Returns when the first piece is there, or at the deadline when the model has
/// begun by then; until it has begun, the deadline holds for it as for any completion. A deadline that the caller gives
/// holds for the whole.
///
/// # Errors
/// The failure, where nothing was told yet and the task's `unavailable` lets it show.
pub async fn stream(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    route: &Arc<Route>,
    task: CompletionTask,
    words: Words,
    record: &mut Record,
) -> Result<Stream, GatewayError> {
    let order = begin(snapshot, route, CompletionTask { stream: true, ..task }, record);
    let unavailable = order.task.unavailable;
    let mut head = Head {
        language: gitlab::language(&order.task.document.file_name),
        experiments: order.experiments.clone(),
        ..Head::default()
    };
    let mut stream = Stream { words, queue: VecDeque::new(), going: None };
    match first(gateway, snapshot, order, record).await {
        Ok((source, step)) => {
            if let Some(source) = &source {
                source.flight.progress.note_in(record);
            }
            head.backend = record.backend().unwrap_or_default().into();
            head.model = record.model().unwrap_or_default().into();
            stream.tell(Telling::Begin(&head));
            match (source, step) {
                (source, Some(step)) => stream.take(source, step, record),
                (Some(source), None) => stream.go_on(source),
                (None, None) => {}
            }
        }
        Err(error) if is_shown(unavailable, &error) => return Err(error),
        Err(error) => {
            tracing::warn!(error = %error, route = %route.name, request_id = %record.request_id, "no completion; the editor is told that there is none");
            stream.tell(Telling::Begin(&head));
            let nothing = Answered { reason: Some(error.reason()), ..Answered::nothing(error.outcome()) };
            stream.end(&nothing, "", None, record);
        }
    }
    Ok(stream)
}

/// The first step, and where the next ones come from; no step when the deadline came before there was one.
async fn first(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    order: Order,
    record: &mut Record,
) -> Result<(Option<Source>, Option<Step>), GatewayError> {
    let newest = admit(gateway, snapshot, &order, record).await?;
    if let Some(answered) = remainder(gateway, snapshot, &order, record) {
        return Ok((None, Some(Step::GivenUp(answered))));
    }
    let deadline = flight::deadline(record, &order);
    let (Joined { flight, reuse, .. }, order) = gateway.completions.flights.join(gateway, order, record);
    if let Some(reuse) = reuse {
        gateway.metrics.completion.reused(reuse);
        record.note_cache(reuse.as_str());
    }
    let landing = flight.landing();
    let gateway = Arc::clone(gateway);
    let (cleaner, seen, sent) = (None, 0, String::new());
    let mut source = Source { gateway, order, flight, landing, newest, deadline, cleaner, seen, sent };
    let progress = Arc::clone(&source.flight.progress);
    let unbound = source.order.task.deadline.is_none();
    let head_is_due = async {
        sleep_until(deadline).await;
        if !(unbound && progress.has_begun()) {
            // The step itself ends now.
            std::future::pending::<()>().await;
        }
    };
    let step = tokio::select! {
        biased;
        step = source.step() => Some(step),
        () = head_is_due => None,
    };
    match step {
        Some(Step::Failed(error)) => {
            source.flight.progress.note_in(record);
            Err(error)
        }
        step => Ok((Some(source), step)),
    }
}

impl Source {
    /// Waits for the next piece, or the end.
    async fn step(&mut self) -> Step {
        let grown = self.flight.progress.grown();
        loop {
            let has_grown = grown.notified();
            match self.ready().await {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Step::Text(text),
                Err(error) => return Step::Failed(error),
            }
            let bound = self.order.task.deadline.is_some() || !self.flight.progress.has_begun();
            tokio::select! {
                biased;
                landed = self.landing.clone() => return landed.map_or_else(Step::Failed, Step::Landed),
                () = self.newest.replaced() => {
                    self.gateway.metrics.completion.superseded.inc();
                    return Step::GivenUp(Answered::replaced());
                }
                () = sleep_until(self.deadline), if bound => {
                    let late = late(&self.gateway, &self.order, &self.flight, "").await;
                    return late.map_or_else(Step::Failed, Step::GivenUp);
                }
                () = has_grown => {}
            }
        }
    }

    /// What can be told now.
    async fn ready(&mut self) -> Result<String, GatewayError> {
        if self.order.choices > 1 {
            // Which of them is the best is known at the end.
            return Ok(String::new());
        }
        let Some(lines) = self.flight.progress.lines_after(self.seen) else { return Ok(String::new()) };
        let seen = lines.len();
        let (order, asked) = (Arc::clone(&self.order), self.flight.progress.asked());
        let known = self.cleaner.clone();
        let work = move || {
            let cleaner = known.unwrap_or_else(|| Arc::new(Cleaner::new(&order, asked.as_deref())));
            let text = cleaner.ready(&lines);
            (cleaner, text)
        };
        let (cleaner, text) = self.gateway.completions.pool.run(work).await?;
        self.cleaner = Some(cleaner);
        self.seen = seen;
        let rest = text.strip_prefix(self.sent.as_str()).unwrap_or_default().to_owned();
        self.sent.push_str(&rest);
        Ok(rest)
    }
}

impl Stream {
    fn tell(&mut self, what: Telling<'_>) {
        let told = (self.words)(what);
        if told.as_ref().is_none_or(|told| !told.is_empty()) {
            self.queue.push_back(told.map(Bytes::from));
        }
    }

    fn go_on(&mut self, mut source: Source) {
        self.going = Some(Box::pin(async move {
            let step = source.step().await;
            (source, step)
        }));
    }

    fn take(&mut self, source: Option<Source>, step: Step, record: &mut Record) {
        let sent = source.as_ref().map(|source| source.sent.clone()).unwrap_or_default();
        match step {
            Step::Text(text) => {
                self.tell(Telling::Piece { index: 0, text: &text });
                if let Some(source) = source {
                    self.go_on(source);
                }
            }
            Step::GivenUp(answered) => {
                if let Some(source) = &source {
                    source.flight.progress.note_in(record);
                }
                self.end(&answered, &sent, None, record);
            }
            Step::Landed(landed) => {
                let Some(source) = &source else { return };
                source.flight.progress.note_in(record);
                let core = &source.gateway.completions;
                let answered = settle(core, &source.order, landed.choices.clone(), &landed, record);
                self.end(&answered, &sent, landed.broken.clone(), record);
            }
            Step::Failed(error) => {
                let nothing = Answered { reason: Some(error.reason()), ..Answered::nothing(error.outcome()) };
                self.end(&nothing, &sent, Some(error), record);
            }
        }
    }

    /// Tells what was not told yet, and how it all ends.
    fn end(&mut self, answered: &Answered, sent: &str, error: Option<GatewayError>, record: &mut Record) {
        answered.note_in(record);
        for (index, choice) in answered.choices.iter().enumerate() {
            // A whole that does not begin with what was told has nothing that could be added.
            let known = if index == 0 { sent } else { "" };
            let text = choice.text.strip_prefix(known).unwrap_or_default();
            if !text.is_empty() {
                self.tell(Telling::Piece { index, text });
            }
        }
        let mut finishes: Vec<Finish> = answered.choices.iter().map(|choice| choice.finish).collect();
        if finishes.is_empty() && !sent.is_empty() {
            finishes.push(Finish::Length);
        }
        self.tell(Telling::End(&Ending { finishes, usage: record.usage(), error }));
    }

    /// The next bytes of the body; none at the end, and an error where the connection is to be cut.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Record,
    ) -> Poll<Option<Result<Bytes, GatewayError>>> {
        loop {
            if let Some(told) = self.queue.pop_front() {
                return Poll::Ready(Some(told.ok_or(GatewayError::UpstreamBroken)));
            }
            let Some(going) = &mut self.going else { return Poll::Ready(None) };
            let (source, step) = ready!(going.as_mut().poll(cx));
            self.going = None;
            self.take(Some(source), step, record);
        }
    }
}
