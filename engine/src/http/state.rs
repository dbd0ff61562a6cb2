//! What all requests share: settings, metrics, and the model once it is loaded.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Semaphore, mpsc};

use crate::{
    api::error::ApiError,
    infer::{model::Model, scheduler::Message},
    metrics::Metrics,
};

/// Shared by all requests.
#[derive(Debug)]
pub struct State {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The served name first, then aliases; requests may use any.
    pub names: Vec<String>,
    /// Start of the server, seconds since 1970.
    pub created: u64,
    /// Set once, when the model is loaded.
    pub ready: OnceLock<Ready>,
    stopping: AtomicBool,
}

/// The loaded model and the way to its computing thread.
#[derive(Debug)]
pub struct Ready {
    /// Vocabulary and template.
    pub model: Arc<Model>,
    /// Tokens of prompt and answer together.
    pub context_length: usize,
    /// To the computing thread. Never full: each job holds a permit, and there is room for one stop.
    pub messages: mpsc::Sender<Message>,
    /// Places among running and waiting requests.
    pub places: Arc<Semaphore>,
    /// How many places there are.
    pub capacity: usize,
}

impl State {
    /// A server whose model is not loaded yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, names: Vec<String>) -> Self {
        Self {
            metrics,
            names,
            created: unix_time(),
            ready: OnceLock::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The name that answers carry.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// From now on new requests are refused.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the server is on its way out.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The model, if requests can be served now.
    ///
    /// # Errors
    /// `Unavailable` while loading, while stopping, and when the computing thread has ended.
    pub fn serving(&self) -> Result<&Ready, ApiError> {
        if self.stopping() {
            return Err(ApiError::Unavailable("the server is stopping"));
        }
        match self.ready.get() {
            None => Err(ApiError::Unavailable("the model is loading; try again soon")),
            Some(ready) if ready.messages.is_closed() => {
                Err(ApiError::Unavailable("the computing thread has ended; the server restarts"))
            }
            Some(ready) => Ok(ready),
        }
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
