//! The computing thread: admits waiting requests into free sequences and gives each running one a step in turn.
//!
//! A step is one chunk of a prompt or one token. A client that left is seen before its next step.

use std::collections::VecDeque;

use llama_cpp_2::sampling::LlamaSampler;
use tokio::sync::mpsc::{self, error::TryRecvError};

use super::{
    job::{Event, Finish, Job, Usage},
    model::{Model, Token},
    session::{CHUNK, Session, SessionError},
    text::TextAssembler,
};
use crate::metrics::Outcome;

/// What the thread is told.
#[derive(Debug)]
pub enum Message {
    /// A request.
    Job(Box<Job>),
    /// End all requests and return.
    Stop,
}

/// Computes until it is told to stop or nobody can tell it anything any more.
pub fn run(model: &Model, session: Session<'_>, limits: Limits, messages: mpsc::Receiver<Message>) {
    let slots = (0..limits.sequences).map(|_| None).collect();
    Scheduler { model, session, limits, messages, waiting: VecDeque::new(), slots }.run();
}

/// Sizes the scheduler works with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Number of sequences of the session.
    pub sequences: u16,
    /// Tokens of each sequence.
    pub context_length: u32,
}

struct Scheduler<'model> {
    model: &'model Model,
    session: Session<'model>,
    limits: Limits,
    messages: mpsc::Receiver<Message>,
    /// Bounded by the permits that the jobs hold.
    waiting: VecDeque<Box<Job>>,
    slots: Vec<Option<Running>>,
}

/// A request in a sequence.
struct Running {
    job: Box<Job>,
    sampler: LlamaSampler,
    text: TextAssembler,
    /// Tokens of the prompt that are computed.
    fed: usize,
    /// Tokens chosen so far.
    generated: usize,
    /// The last token chosen.
    last: Option<Token>,
}

impl Scheduler<'_> {
    fn run(mut self) {
        while self.receive() {
            self.admit();
            for index in 0..self.slots.len() {
                self.step(index);
            }
        }
        for job in self.waiting.drain(..).chain(self.slots.into_iter().flatten().map(|running| running.job)) {
            fail(*job, "the server is stopping; send the request again");
        }
    }

    /// Takes what has arrived, waiting for it if there is nothing else to do. False: stop.
    fn receive(&mut self) -> bool {
        let idle = self.waiting.is_empty() && self.slots.iter().all(Option::is_none);
        if idle {
            match self.messages.blocking_recv() {
                Some(Message::Job(job)) => self.waiting.push_back(job),
                Some(Message::Stop) | None => return false,
            }
        }
        loop {
            match self.messages.try_recv() {
                Ok(Message::Job(job)) => self.waiting.push_back(job),
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Forgets waiting requests whose client left and fills free sequences in order of arrival.
    fn admit(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some(job) = self.waiting.pop_front() else { break };
            if job.events.is_closed() {
                job.account.finish(Outcome::Cancelled);
            } else {
                self.waiting.push_back(job);
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.is_none()) {
            let Some(mut job) = self.waiting.pop_front() else { return };
            job.account.started(job.queued.elapsed(), job.prompt.len());
            *slot = Some(Running {
                sampler: job.sampling.sampler(self.model.vocabulary(), self.limits.context_length),
                text: TextAssembler::new(std::mem::take(&mut job.stops)),
                fed: 0,
                generated: 0,
                last: None,
                job,
            });
        }
    }

    /// One chunk or one token for the request in a sequence.
    fn step(&mut self, index: usize) {
        let Some(mut running) = self.slots.get_mut(index).and_then(Option::take) else { return };
        let sequence = u16::try_from(index).unwrap_or(u16::MAX);
        if running.job.events.is_closed() {
            running.job.account.finish(Outcome::Cancelled);
            return;
        }
        match self.compute(sequence, &mut running) {
            Ok(None) => self.put_back(index, running),
            Ok(Some(token)) => match running.accept(self.model, token) {
                None => self.put_back(index, running),
                Some(finish) => running.end(finish),
            },
            Err(error) => {
                tracing::error!(%error, sequence, "computing failed");
                fail(*running.job, "computing failed; the server's log says why");
            }
        }
    }

    fn put_back(&mut self, index: usize, running: Running) {
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(running);
        }
    }

    /// Computes the next tokens; a new token if the prompt is complete.
    fn compute(&mut self, sequence: u16, running: &mut Running) -> Result<Option<Token>, SessionError> {
        if running.fed == 0 {
            self.session.clear(sequence)?;
        }
        let prompt = &running.job.prompt;
        if let Some(token) = running.last {
            self.session.feed(sequence, prompt.len() + running.generated - 1, &[token])?;
        } else {
            let end = prompt.len().min(running.fed + CHUNK);
            self.session.feed(sequence, running.fed, prompt.get(running.fed..end).unwrap_or_default())?;
            running.fed = end;
            if end < prompt.len() {
                return Ok(None);
            }
        }
        Ok(Some(self.session.sample(&mut running.sampler)))
    }
}

impl Running {
    /// Takes a token into the answer and says whether, and why, the answer ends with it.
    fn accept(&mut self, model: &Model, token: Token) -> Option<Finish> {
        self.job.account.token();
        self.generated += 1;
        self.last = Some(token);
        let end = model.is_end(token);
        if end && !self.job.ignore_eos {
            return Some(Finish::Stop);
        }
        if !end {
            let text = self.text.push(&model.piece(token));
            self.send_text(text);
        }
        if self.text.stopped() {
            return Some(Finish::Stop);
        }
        (self.generated >= self.job.max_tokens).then_some(Finish::Length)
    }

    fn send_text(&self, text: String) {
        if !text.is_empty() {
            // The channel holds all events of a request; it fails only when the client left, which the next step sees.
            let _client_left = self.job.events.try_send(Event::Text(text));
        }
    }

    /// Sends what was held back and the end, and counts the request.
    fn end(mut self, mut finish: Finish) {
        let rest = self.text.finish();
        self.send_text(rest);
        if self.text.stopped() {
            finish = Finish::Stop;
        }
        let usage = Usage { prompt: self.job.prompt.len(), completion: self.generated };
        let Job { events, account, permit, .. } = *self.job;
        // Counted and its place given back before the client can know, so that what it does next finds both done.
        account.finish(match finish {
            _ if events.is_closed() => Outcome::Cancelled,
            Finish::Stop => Outcome::Stop,
            Finish::Length => Outcome::Length,
        });
        drop(permit);
        let _client_left = events.try_send(Event::End { finish, usage });
    }
}

/// Ends a request that the engine cannot complete.
fn fail(job: Job, reason: &str) {
    let Job { events, account, permit, .. } = job;
    account.finish(Outcome::Error);
    drop(permit);
    let _client_left = events.try_send(Event::Failed(reason.into()));
}
