//! Metric families of the completion core. Labels are words from the lists here.

use modelgate_completion::post::Step;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::progress::Phase;

/// Why an answer cost no generation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// The same request was under way.
    Identical,
    /// What was typed is the beginning of an answer that is still coming.
    Stream,
    /// What was typed is the beginning of an earlier answer.
    TypedAhead,
}

/// The families.
pub struct Measures {
    cuts: IntCounterVec,
    reuses: IntCounterVec,
    steps: IntCounterVec,
    /// Completions replaced by a newer one of the same editor.
    pub(super) superseded: IntCounter,
    /// Generations stopped at the backend because the end of the answer was decided.
    pub(super) stopped_early: IntCounter,
}

impl Measures {
    /// Registers the families.
    ///
    /// # Errors
    /// When a name is taken, which is a mistake of this file.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let cuts = family(
            registry,
            (
                "modelgate_completion_cut_total",
                "Completions ended by their deadline, by the phase they were in.",
            ),
            "phase",
        )?;
        for phase in Phase::ALL {
            cuts.with_label_values(&[phase.as_str()]);
        }
        let reuses = family(
            registry,
            (
                "modelgate_completion_reuse_total",
                "Completions answered from a generation that another one began.",
            ),
            "kind",
        )?;
        for reuse in [Reuse::Identical, Reuse::Stream, Reuse::TypedAhead] {
            reuses.with_label_values(&[reuse.as_str()]);
        }
        let steps = family(
            registry,
            ("modelgate_completion_step_changes_total", "Answers that a step of post-processing changed."),
            "step",
        )?;
        for step in Step::ALL {
            steps.with_label_values(&[step.name()]);
        }
        let superseded = IntCounter::new(
            "modelgate_completion_superseded_total",
            "Completions replaced by a newer one of the same editor and file.",
        )?;
        let stopped_early = IntCounter::new(
            "modelgate_completion_stopped_early_total",
            "Generations stopped at the backend because the end of the answer was decided.",
        )?;
        registry.register(Box::new(superseded.clone()))?;
        registry.register(Box::new(stopped_early.clone()))?;
        Ok(Self { cuts, reuses, steps, superseded, stopped_early })
    }

    pub(super) fn cut(&self, phase: Phase) {
        self.cuts.with_label_values(&[phase.as_str()]).inc();
    }

    pub(super) fn step(&self, step: Step) {
        self.steps.with_label_values(&[step.name()]).inc();
    }

    pub(super) fn reused(&self, reuse: Reuse) {
        self.reuses.with_label_values(&[reuse.as_str()]).inc();
    }
}

impl Reuse {
    /// Label value.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Stream => "stream",
            Self::TypedAhead => "typed_ahead",
        }
    }
}

fn family(
    registry: &Registry,
    (name, help): (&str, &str),
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}
