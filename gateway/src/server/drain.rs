//! The end of the process in phases: serving, unready but accepting, closing, and a cut for what takes too long.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Closing,
    Over,
}

/// Handle to the phase; clones share it.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Serving)) }
    }
}

impl Drain {
    /// Not ready any more; connections are still accepted, and told to end after their answer.
    pub fn begin(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Nothing is accepted any more.
    pub fn close(&self) {
        self.phase.send_replace(Phase::Closing);
    }

    /// Connections that are still open are cut.
    pub fn cut(&self) {
        self.phase.send_replace(Phase::Over);
    }

    /// Whether the process is ending.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Waits until nothing is to be accepted any more.
    pub async fn closing(&self) {
        self.reached(Phase::Closing).await;
    }

    /// Waits until connections are to be cut.
    pub async fn over(&self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&self, wanted: Phase) {
        let mut phase = self.phase.subscribe();
        // An error would mean that the sender is gone, but this very value holds it.
        let _closed = phase.wait_for(|phase| *phase >= wanted).await;
    }
}
