//! What is known of a generation while it is under way: who makes it, in which phase it is, and the text so far. Written
//! by the one that reads the backend, read by every request that waits for it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::Finish;
use super::carry_on::Said;
use super::making::Asked;
use super::read::Piece;
use crate::backend::Backend;
use crate::server::record::Record;

/// Where the time of a completion goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Making the prompt.
    Prompt,
    /// Waiting for a place at the backend, or for its model to wake.
    Queue,
    /// Waiting for the first piece of the answer.
    FirstToken,
    /// Reading the answer.
    Decode,
    /// Cleaning it.
    PostProcess,
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Self; 5] = [Self::Prompt, Self::Queue, Self::FirstToken, Self::Decode, Self::PostProcess];

    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Queue => "queue",
            Self::FirstToken => "first_token",
            Self::Decode => "decode",
            Self::PostProcess => "post_process",
        }
    }
}

/// One answer as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// Its text.
    pub text: String,
    /// Why the backend says it ended; absent while it goes on.
    pub finish: Option<Finish>,
    /// Mean logarithm of its tokens' likelihood, of the pieces that told it.
    pub logprob: Option<f64>,
    /// Pieces that told it.
    scored: u32,
    /// Pieces that had text.
    pieces: u32,
    /// Nothing more is wanted of it: its end is decided.
    pub is_cut: bool,
}

/// A generation under way.
#[derive(Default)]
pub struct Progress {
    phase: AtomicU8,
    state: Mutex<State>,
    grown: Arc<Notify>,
}

#[derive(Default)]
struct State {
    backend: Option<Arc<Backend>>,
    /// What it was asked, where the gateway made the prompt.
    asked: Option<Arc<Asked>>,
    first_piece: Option<Instant>,
    /// What was gathered about backends and times, once it has ended.
    account: Option<Box<Record>>,
    raws: Vec<Raw>,
}

impl Progress {
    /// Notes the phase that begins.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let at = usize::from(self.phase.load(Ordering::Relaxed));
        Phase::ALL.get(at).copied().unwrap_or(Phase::PostProcess)
    }

    /// This backend is asked.
    pub fn set_backend(&self, backend: &Arc<Backend>) {
        self.lock().backend = Some(Arc::clone(backend));
    }

    /// What the backend that answers was asked.
    pub(super) fn set_asked(&self, asked: Option<Arc<Asked>>) {
        self.lock().asked = asked;
    }

    pub(super) fn asked(&self) -> Option<Arc<Asked>> {
        self.lock().asked.clone()
    }

    /// The answers so far.
    #[must_use]
    pub fn raws(&self) -> Vec<Raw> {
        self.lock().raws.clone()
    }

    /// Tells its waiters whenever the answers have grown.
    pub(super) fn grown(&self) -> Arc<Notify> {
        Arc::clone(&self.grown)
    }

    /// The first answer's whole lines so far, if there are any after the first `seen` bytes.
    pub(super) fn lines_after(&self, seen: usize) -> Option<String> {
        let state = self.lock();
        let text = state.raws.first()?.text.as_str();
        let end = text.rfind('\n')? + 1;
        (end > seen).then(|| text.get(..end).unwrap_or_default().to_owned())
    }

    /// What the one answer says so far.
    pub(super) fn said(&self) -> Said {
        let state = self.lock();
        let raw = state.raws.first();
        Said {
            text: raw.map(|raw| raw.text.clone()).unwrap_or_default(),
            tokens: raw.map_or(0, |raw| raw.pieces),
        }
    }

    /// Whether anything of an answer is there.
    pub(super) fn has_begun(&self) -> bool {
        self.lock().first_piece.is_some()
    }

    /// The first answer's text, if it begins with `typed` and goes on.
    pub(super) fn continues(&self, typed: &str) -> bool {
        let state = self.lock();
        let rest = state.raws.first().and_then(|raw| raw.text.strip_prefix(typed));
        rest.is_some_and(|rest| !rest.trim().is_empty())
    }

    /// The first piece of the answer is there.
    pub(super) fn begin_answer(&self) {
        self.enter(Phase::Decode);
        self.lock().first_piece.get_or_insert_with(Instant::now);
    }

    /// Notes in an account who answered, and when the answer began.
    pub(super) fn note_in(&self, record: &mut Record) {
        let state = self.lock();
        if let Some(backend) = &state.backend {
            record.set_backend(backend);
        }
        record.adopt_first_piece(state.first_piece);
        if let Some(account) = &state.account {
            record.adopt(account);
        }
    }

    /// Keeps the account of the work for those that wait for it.
    pub(super) fn keep(&self, account: Record) {
        self.lock().account = Some(Box::new(account));
    }

    /// Takes a piece of one of `count` answers. What was not asked for is not kept.
    pub(super) fn push(&self, count: usize, piece: &Piece) {
        let mut state = self.lock();
        if state.raws.len() < count {
            state.raws.resize_with(count, Raw::default);
        }
        if let Some(raw) = state.raws.get_mut(piece.index).filter(|raw| !raw.is_cut) {
            raw.text.push_str(&piece.text);
            raw.pieces += u32::from(!piece.text.is_empty());
            raw.finish = piece.finish.or(raw.finish);
            if let Some(logprob) = piece.logprob {
                raw.scored += 1;
                let mean = raw.logprob.unwrap_or_default();
                raw.logprob = Some(mean + (logprob - mean) / f64::from(raw.scored));
            }
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// The text of an answer that goes on.
    pub(super) fn unfinished(&self, index: usize) -> Option<String> {
        let state = self.lock();
        let raw = state.raws.get(index).filter(|raw| raw.finish.is_none() && !raw.is_cut)?;
        Some(raw.text.clone())
    }

    /// Nothing more is wanted of this answer. Tells whether nothing more is wanted, or comes, of any.
    pub(super) fn cut(&self, index: usize) -> bool {
        let mut state = self.lock();
        if let Some(raw) = state.raws.get_mut(index) {
            raw.is_cut = true;
        }
        state.raws.iter().all(|raw| raw.is_cut || raw.finish.is_some())
    }

    /// The backend ended the whole by itself; an answer for which it gave no reason is over too.
    pub(super) fn end(&self) {
        for raw in &mut self.lock().raws {
            raw.finish.get_or_insert(Finish::Stop);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
