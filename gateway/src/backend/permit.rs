//! The count of requests under way, at a backend and at one of its addresses.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Backend;
use super::endpoint::Endpoint;

/// One request under way: counted at the backend and at the address until dropped.
pub struct Permit {
    backend: Arc<Backend>,
    endpoint: Arc<Endpoint>,
}

impl Permit {
    /// Counts a request in.
    #[must_use]
    pub fn new(backend: Arc<Backend>, endpoint: Arc<Endpoint>) -> Self {
        backend.in_flight.fetch_add(1, Ordering::Relaxed);
        backend.series.in_flight.inc();
        endpoint.begin();
        Self { backend, endpoint }
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The address.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.backend.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.backend.series.in_flight.dec();
        self.endpoint.end();
    }
}
