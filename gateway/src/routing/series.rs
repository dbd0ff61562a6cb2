//! Metric families of attempts beyond the first: retries, second questions, streams that went on elsewhere, copies.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The families.
pub struct Families {
    retries: IntCounterVec,
    denied: IntCounterVec,
    opened: IntCounterVec,
    hedges: IntCounterVec,
    resumed: IntCounterVec,
    copies: IntCounterVec,
}

/// Series of one backend.
pub struct Series {
    /// Further attempts after this backend failed.
    pub retries: IntCounter,
    /// Attempts that were not made because the budget was used up.
    pub denied: IntCounter,
    /// An address of it was left alone after it failed again and again.
    pub opened: IntCounter,
    /// Second questions because this backend was late.
    pub hedges: IntCounter,
    /// Streams of this backend that broke and went on elsewhere.
    pub resumed: IntCounter,
    /// Streams of this backend that broke and could not go on elsewhere.
    pub unresumed: IntCounter,
    /// Copies that it answered, as a shadow.
    pub copies_answered: IntCounter,
    /// Copies that it did not answer.
    pub copies_failed: IntCounter,
    /// Copies that were left out because too many were under way.
    pub copies_left_out: IntCounter,
}

const RESUMED: [&str; 2] = ["resumed", "failed"];
const COPIES: [&str; 3] = ["answered", "failed", "left_out"];

impl Families {
    /// Registers the families.
    ///
    /// # Errors
    /// When two families have one name.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        Ok(Self {
            retries: family(
                "modelgate_retries_total",
                "Further attempts after a backend failed, by that backend.",
                &["backend"],
            )?,
            denied: family(
                "modelgate_retries_denied_total",
                "Further attempts that the route's budget did not allow, by the backend that failed.",
                &["backend"],
            )?,
            opened: family(
                "modelgate_circuit_opened_total",
                "Times an address of the backend was left alone after failing again and again.",
                &["backend"],
            )?,
            hedges: family(
                "modelgate_hedges_total",
                "Second questions because the backend's first token was late.",
                &["backend"],
            )?,
            resumed: family(
                "modelgate_resumed_streams_total",
                "Streams of the backend that broke, by whether they went on elsewhere.",
                &["backend", "result"],
            )?,
            copies: family(
                "modelgate_shadow_requests_total",
                "Copies of requests for the backend as a shadow, by result.",
                &["backend", "result"],
            )?,
        })
    }

    /// Handles of a backend.
    #[must_use]
    pub fn of(&self, backend: &str) -> Series {
        let [resumed, unresumed] = RESUMED.map(|result| self.resumed.with_label_values(&[backend, result]));
        let [copies_answered, copies_failed, copies_left_out] =
            COPIES.map(|result| self.copies.with_label_values(&[backend, result]));
        Series {
            retries: self.retries.with_label_values(&[backend]),
            denied: self.denied.with_label_values(&[backend]),
            opened: self.opened.with_label_values(&[backend]),
            hedges: self.hedges.with_label_values(&[backend]),
            resumed,
            unresumed,
            copies_answered,
            copies_failed,
            copies_left_out,
        }
    }

    /// Removes the series of a backend that is gone.
    pub fn retire(&self, backend: &str) {
        // A series that was never made cannot be removed; that is what is wanted.
        for family in [&self.retries, &self.denied, &self.opened, &self.hedges] {
            let _absent = family.remove_label_values(&[backend]);
        }
        for result in RESUMED {
            let _absent = self.resumed.remove_label_values(&[backend, result]);
        }
        for result in COPIES {
            let _absent = self.copies.remove_label_values(&[backend, result]);
        }
    }
}
