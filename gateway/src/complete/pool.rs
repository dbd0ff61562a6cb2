//! Work that takes more than a moment, such as parsing, away from the threads that serve connections. No more of it runs
//! at once than there are cores; the rest waits, in order.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::GatewayError;

/// The places for such work.
pub(super) struct Pool {
    places: Arc<Semaphore>,
}

impl Default for Pool {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        Self { places: Arc::new(Semaphore::new(cores)) }
    }
}

impl Pool {
    /// Does `work` when a place is free. Work whose request is gone by then is not begun.
    ///
    /// # Errors
    /// [`GatewayError::Internal`] when it panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GatewayError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| GatewayError::Internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await.map_err(|_| GatewayError::Internal)
    }
}
