//! What is known of a backend's server beside its health: what it speaks and takes, first by the configuration, then as
//! measured.

use std::sync::Arc;

use modelgate_api::v1alpha1::DialectReport;

use super::{Backend, measure};
use crate::dialect::{Abilities, Dialect};

/// What is known of the server beside its health.
pub(super) struct Known {
    pub(super) dialect: Arc<Dialect>,
    pub(super) abilities: Abilities,
    pub(super) report: Option<DialectReport>,
}

impl Known {
    pub(super) fn of(dialect: Dialect) -> Self {
        Self { abilities: Abilities::of(&dialect), dialect: Arc::new(dialect), report: None }
    }
}

impl Backend {
    /// What its server speaks.
    #[must_use]
    pub fn dialect(&self) -> Arc<Dialect> {
        Arc::clone(&self.known.load().dialect)
    }

    /// What its server takes.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.known.load().abilities
    }

    /// Takes over what was measured of its server.
    pub(super) fn learn(&self, measured: measure::Measurement) {
        let measure::Measurement { report, abilities, dialect } = measured;
        tracing::debug!(backend = %self.name, findings = report.findings.len(), "its server was measured");
        self.known.store(Arc::new(Known { dialect: Arc::new(dialect), abilities, report: Some(report) }));
        self.changed.notify();
    }
}
