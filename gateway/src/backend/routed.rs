//! What routing asks of a backend: an address, whether its work is billed, whether its streams tell their usage.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use modelgate_api::contract::Target;
use modelgate_api::v1alpha1::{Boundary, Probe};

use super::endpoint::{Endpoint, Load, Pick};
use super::{Backend, Link};

impl Backend {
    /// An address to send to that was not `tried`.
    #[must_use]
    pub fn pick(&self, load: Load<'_>, tried: &[Arc<Endpoint>]) -> Pick {
        match &self.link {
            Link::Http { endpoints, .. } => endpoints.pick(load, tried),
            Link::Fake(_, endpoint) if tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint)) => Pick::None,
            Link::Fake(_, endpoint) => Pick::Take(Arc::clone(endpoint), "only"),
        }
    }

    /// Every address.
    pub(super) fn endpoints(&self) -> Arc<Vec<Arc<Endpoint>>> {
        match &self.link {
            Link::Http { endpoints, .. } => endpoints.all(),
            Link::Fake(_, endpoint) => Arc::new(vec![Arc::clone(endpoint)]),
        }
    }

    /// Whether somebody bills for what it does: its server is outside.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        matches!(self.config.target, Target::External { .. }) && self.boundary() == Boundary::Outside
    }

    /// Whether the gateway may ask it for a completion by itself: outside servers bill for it, so only when told.
    #[must_use]
    pub fn is_provable(&self) -> bool {
        match &self.config.target {
            Target::Pods { .. } | Target::Child { .. } | Target::Fake { .. } => true,
            Target::External { probe, .. } => *probe == Probe::Completion && !self.config.is_gitlab_gateway(),
        }
    }

    /// Whether streams are asked to tell their usage: until the server says that it knows no such wish.
    #[must_use]
    pub fn tells_usage_in_streams(&self) -> bool {
        !self.no_usage_in_streams.load(Ordering::Relaxed)
    }

    /// The server refused to tell the usage of a stream.
    pub fn note_no_usage_in_streams(&self) {
        if !self.no_usage_in_streams.swap(true, Ordering::Relaxed) {
            tracing::info!(backend = %self.name, "its server does not tell the usage of streams; they are no longer asked to");
        }
    }
}
