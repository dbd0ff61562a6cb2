//! One request under way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Backend;
use super::admission::Place;
use super::circuit::Fault;
use super::endpoint::Endpoint;

/// One request under way: counted at the backend and at the address until dropped.
pub struct Permit {
    backend: Arc<Backend>,
    endpoint: Arc<Endpoint>,
    tokens: u64,
    settled: bool,
    _place: Place,
}

impl Permit {
    /// Counts a request in, with the tokens that it may come to.
    #[must_use]
    pub fn new(backend: Arc<Backend>, endpoint: Arc<Endpoint>, tokens: u64, place: Place) -> Self {
        backend.in_flight.fetch_add(1, Ordering::Relaxed);
        backend.requests.fetch_add(1, Ordering::Relaxed);
        backend.series.in_flight.inc();
        endpoint.begin(tokens);
        Self { backend, endpoint, tokens, settled: false, _place: place }
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

    /// The request began to be answered, or failed by this fault.
    pub fn settle(&mut self, fault: Option<Fault>) {
        self.settled = true;
        match fault {
            Some(fault) => self.blame(fault),
            None => self.endpoint.circuit.answered(),
        }
    }

    /// The address is to blame for a failure.
    pub fn blame(&self, fault: Fault) {
        if self.endpoint.circuit.failed(fault, Instant::now()) {
            self.backend.series.routing.opened.inc();
            tracing::warn!(backend = %self.backend.name, "an address failed again and again and is left alone for a while");
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.backend.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.backend.series.in_flight.dec();
        self.endpoint.end(self.tokens);
        if !self.settled {
            self.endpoint.circuit.forget_trial();
        }
    }
}
