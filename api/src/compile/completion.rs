//! `spec.completion` and `spec.admission`: what they must satisfy, and their defaults.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Problems, Reason};
use crate::contract::{
    AdmissionConfig, CompletionConfig, ExperimentConfig, PostProcessConfig, VariantConfig,
};
use crate::v1alpha1::{Admission, Completion, Experiment, GoDuration, PostProcess, PostProcessStep};

/// Longest deadline and queue timeout: no editor waits longer.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn check(completion: &Completion, problems: &mut Problems) {
    check_span("spec.completion.deadline", completion.deadline.as_ref(), problems);
    for (field, value, most) in [
        ("maxOutputTokens", completion.max_output_tokens, 8192),
        ("maxGenerationTokens", completion.max_generation_tokens, 65_536),
    ] {
        if value.is_some_and(|value| !(1..=most).contains(&value)) {
            let message = format!("must be between 1 and {most}");
            problems.add(Reason::Invalid, format!("spec.completion.{field}"), message);
        }
    }
    if let Some(post_process) = &completion.post_process
        && post_process.skip.contains(&PostProcessStep::Filter)
        && (post_process.min_length.is_some() || post_process.comment_only.is_some())
    {
        let message = "minLength and commentOnly are for the step Filter; do not skip it, or remove them";
        problems.add(Reason::Invalid, "spec.completion.postProcess", message);
    }
    let mut names = BTreeSet::new();
    for (index, experiment) in completion.experiments.iter().enumerate() {
        let path = format!("spec.completion.experiments[{index}]");
        if !names.insert(&experiment.name) {
            let message = format!("\"{}\" is given twice", experiment.name);
            problems.add(Reason::Invalid, format!("{path}.name"), message);
        }
        if experiment.variants.iter().all(|variant| variant.weight == 0) {
            let message = "every weight is 0; give one variant a weight";
            problems.add(Reason::Invalid, format!("{path}.variants"), message);
        }
    }
}

pub(super) fn check_admission(admission: &Admission, problems: &mut Problems) {
    check_span("spec.admission.queueTimeout", admission.queue_timeout.as_ref(), problems);
    if let Some(Err(why)) = admission.cold_start.as_ref().map(GoDuration::parse) {
        problems.add(Reason::Invalid, "spec.admission.coldStart", why);
    }
    if admission.max_concurrent == Some(0) {
        problems.add(Reason::Invalid, "spec.admission.maxConcurrent", "must be at least 1");
    }
}

fn check_span(path: &str, value: Option<&GoDuration>, problems: &mut Problems) {
    match value.map(GoDuration::parse) {
        Some(Err(why)) => problems.add(Reason::Invalid, path, why),
        Some(Ok(span)) if span.is_zero() || span > LONGEST => {
            problems.add(Reason::Invalid, path, "must be longer than 0 and at most 1m");
        }
        _ => {}
    }
}

pub(super) fn compile(completion: Completion) -> CompletionConfig {
    let default = CompletionConfig::default();
    CompletionConfig {
        prompt_budget: completion.prompt_budget,
        max_output_tokens: completion.max_output_tokens.unwrap_or(default.max_output_tokens),
        max_generation_tokens: completion.max_generation_tokens.unwrap_or(default.max_generation_tokens),
        deadline_ms: millis(completion.deadline.as_ref(), default.deadline_ms),
        on_unavailable: completion.on_unavailable,
        empty_choice: completion.empty_choice,
        experiments: completion.experiments.into_iter().map(compile_experiment).collect(),
        post_process: completion.post_process.map(compile_post_process).unwrap_or_default(),
    }
}

fn compile_post_process(post_process: PostProcess) -> PostProcessConfig {
    let default = PostProcessConfig::default();
    let skip: BTreeSet<_> = post_process.skip.into_iter().collect();
    PostProcessConfig {
        skip: skip.into_iter().collect(),
        min_length: post_process.min_length.unwrap_or(default.min_length),
        comment_only: post_process.comment_only.unwrap_or(default.comment_only),
    }
}

fn compile_experiment(experiment: Experiment) -> ExperimentConfig {
    let variants = experiment.variants.into_iter().map(|variant| VariantConfig {
        weight: variant.weight,
        suffix: variant.suffix,
        prompt_budget: variant.prompt_budget,
        max_output_tokens: variant.max_output_tokens,
    });
    ExperimentConfig { name: experiment.name, variants: variants.collect() }
}

pub(super) fn compile_admission(admission: Option<&Admission>) -> AdmissionConfig {
    let default = AdmissionConfig::default();
    let Some(admission) = admission else { return default };
    AdmissionConfig {
        max_concurrent: admission.max_concurrent,
        queue_depth: admission.queue_depth.unwrap_or(default.queue_depth),
        queue_timeout_ms: millis(admission.queue_timeout.as_ref(), default.queue_timeout_ms),
        cold_start_ms: millis(admission.cold_start.as_ref(), default.cold_start_ms),
    }
}

fn millis(value: Option<&GoDuration>, default: u64) -> u64 {
    let parsed = value.and_then(|value| value.parse().ok());
    parsed.and_then(|span| u64::try_from(span.as_millis()).ok()).unwrap_or(default)
}
