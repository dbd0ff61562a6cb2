//! Every metric family of the operator, registered once. Label values come from closed sets and all are there from the
//! start, so an absent series means an absent operator.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::error::ErrorKind;
use crate::k8s::child::{ChildKind, OwnerKind};

/// Handles of the operator's metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_duration: HistogramVec,
    applies: IntCounterVec,
    status_writes: IntCounterVec,
    nudges: IntCounterVec,
    watch_errors: IntCounterVec,
    objects: IntGaugeVec,
    leader: IntGauge,
    api_served: IntGaugeVec,
}

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyResult {
    /// The live object already is as wanted.
    Unchanged,
    /// Written.
    Applied,
    /// A field edited by somebody else was set back.
    Restored,
    /// Deleted because it is not wanted any more.
    Deleted,
    /// Refused or failed.
    Failed,
}

impl ApplyResult {
    const ALL: [Self; 5] = [Self::Unchanged, Self::Applied, Self::Restored, Self::Deleted, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Applied => "applied",
            Self::Restored => "restored",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
        }
    }
}

const CONTROLLERS: [OwnerKind; 2] = [OwnerKind::Backend, OwnerKind::Gateway];
/// Seconds; a reconcile that proves an engine waits for one completion.
const DURATIONS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// When a family is registered twice, which is a mistake of this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(format!("modelgate_operator_{name}"), help);
        let counter = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let family = IntCounterVec::new(opts(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let family = IntGauge::with_opts(opts(name, help))?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let reconcile_duration = HistogramVec::new(
            HistogramOpts::new("modelgate_operator_reconcile_duration_seconds", "Time of one reconcile.")
                .buckets(DURATIONS.to_vec()),
            &["controller"],
        )?;
        registry.register(Box::new(reconcile_duration.clone()))?;
        let objects =
            IntGaugeVec::new(opts("objects", "Objects of each kind in the operator's caches."), &["kind"])?;
        registry.register(Box::new(objects.clone()))?;
        let api_served =
            IntGaugeVec::new(opts("api_served", "1 while an optional API is served."), &["kind"])?;
        registry.register(Box::new(api_served.clone()))?;
        let build = IntGaugeVec::new(opts("build_info", "Always 1; the version is a label."), &["version"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            reconciles: counter("reconcile_total", "Reconciles by outcome.", &["controller", "result"])?,
            applies: counter("apply_total", "Children looked at, by what was done.", &["kind", "result"])?,
            status_writes: counter("status_write_total", "Writes of a status.", &["controller", "result"])?,
            nudges: counter(
                "nudge_total",
                "Annotations touched so that a pod reloads at once.",
                &["result"],
            )?,
            watch_errors: counter(
                "watch_errors_total",
                "Watches that broke and were begun again.",
                &["kind"],
            )?,
            leader: gauge("leader", "1 while this process holds the Lease.")?,
            api_served,
            reconcile_duration,
            objects,
            registry,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        for controller in CONTROLLERS.map(OwnerKind::as_str) {
            for result in ErrorKind::ALL.iter().map(|kind| kind.as_str()).chain(["ok"]) {
                self.reconciles.with_label_values(&[controller, result]);
            }
            for result in ["ok", "failed"] {
                self.status_writes.with_label_values(&[controller, result]);
            }
            self.reconcile_duration.with_label_values(&[controller]);
        }
        for kind in ChildKind::ALL.map(ChildKind::as_str) {
            for result in ApplyResult::ALL.map(ApplyResult::as_str) {
                self.applies.with_label_values(&[kind, result]);
            }
        }
        for result in ["ok", "failed"] {
            self.nudges.with_label_values(&[result]);
        }
        for kind in ChildKind::OPTIONAL {
            self.api_served.with_label_values(&[kind.as_str()]);
        }
    }

    /// One reconcile came to its end.
    pub fn reconciled(&self, controller: OwnerKind, result: Result<(), ErrorKind>, seconds: f64) {
        let result = result.map_or_else(ErrorKind::as_str, |()| "ok");
        self.reconciles.with_label_values(&[controller.as_str(), result]).inc();
        self.reconcile_duration.with_label_values(&[controller.as_str()]).observe(seconds);
    }

    /// One child was looked at.
    pub fn applied(&self, kind: ChildKind, result: ApplyResult) {
        self.applies.with_label_values(&[kind.as_str(), result.as_str()]).inc();
    }

    /// A status was written, or could not be.
    pub fn status_written(&self, controller: OwnerKind, ok: bool) {
        self.status_writes.with_label_values(&[controller.as_str(), if ok { "ok" } else { "failed" }]).inc();
    }

    /// A pod's annotation was touched, or could not be.
    pub fn nudged(&self, ok: bool) {
        self.nudges.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }

    /// A watch broke.
    pub fn watch_broke(&self, kind: &'static str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    /// How many objects of a kind are cached.
    pub fn cached(&self, kind: &'static str, count: usize) {
        self.objects.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether the Lease is held.
    pub fn leading(&self, leader: bool) {
        self.leader.set(leader.into());
    }

    /// Whether an optional API is served.
    pub fn api_served(&self, kind: ChildKind, served: bool) {
        self.api_served.with_label_values(&[kind.as_str()]).set(served.into());
    }

    /// All families in the text format.
    #[must_use]
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_ours_and_there_from_the_start() {
        let text = Metrics::new().unwrap().encode();
        let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(families.len() >= 8, "{families:?}");
        assert!(families.iter().all(|family| family.starts_with("modelgate_operator_")), "{families:?}");
        assert!(text.contains("modelgate_operator_apply_total{kind=\"Ingress\",result=\"restored\"} 0"));
    }
}
