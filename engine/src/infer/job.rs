//! A request on its way to the computing thread, and what comes back.

use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{model::Token, sampling::Sampling};
use crate::account::Account;

/// What to generate. `permit` and `account` live as long as the request occupies the engine.
#[derive(Debug)]
pub struct Job {
    /// The whole prompt; shorter than the context.
    pub prompt: Vec<Token>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens to generate at most; with the prompt it fits the context.
    pub max_tokens: usize,
    /// The answer ends before the first of these.
    pub stops: Vec<String>,
    /// Go on when the model says it is done.
    pub ignore_eos: bool,
    /// Where the answer goes; holds every event of the request, so sending never waits. Closed when the client left.
    pub events: mpsc::Sender<Event>,
    /// Counts this request once, whichever way it ends.
    pub account: Account,
    /// A place among the running and waiting requests.
    pub permit: OwnedSemaphorePermit,
    /// When the request entered the queue.
    pub queued: Instant,
}

impl Job {
    /// Capacity of `events` for a request: each token gives at most one text, then text held back, then the end.
    #[must_use]
    pub fn events_capacity(max_tokens: usize) -> usize {
        max_tokens + 2
    }
}

/// A step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// More text; never empty.
    Text(String),
    /// The answer is complete.
    End {
        /// Why it ended.
        finish: Finish,
        /// What it took.
        usage: Usage,
    },
    /// The engine could not go on; the reason is for the client.
    Failed(String),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model said so, or a stop string came.
    Stop,
    /// `max_tokens` or the context length was reached.
    Length,
}

impl Finish {
    /// The name in the OpenAI API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Tokens of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens generated.
    pub completion: usize,
}
