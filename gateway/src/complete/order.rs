//! A task with everything decided that does not depend on the backend, and the hashes under which it is found again.
//! Every hash holds the tenant, the configuration and the route, so nothing is ever found across them.

use std::sync::Arc;
use std::time::Duration;

use modelgate_api::contract::{ExperimentConfig, PostProcessConfig};
use modelgate_api::v1alpha1::SuffixScope;
use sha2::{Digest, Sha256};

use super::{CompletionTask, PromptOverride};
use crate::config::snapshot::{Route, Snapshot};

/// Completions of one request at most (GitLab's limit).
const MOST_CHOICES: u32 = 4;

pub(crate) type Key = [u8; 32];

/// A task ready to be made.
pub(crate) struct Order {
    pub task: CompletionTask,
    pub route: Arc<Route>,
    pub choices: usize,
    pub max_tokens: u32,
    pub prompt_budget: Option<u32>,
    /// How much of the text after the cursor the model sees.
    pub suffix: SuffixScope,
    pub experiments: Vec<(String, i64)>,
    /// Time for the whole, from the request's head.
    pub deadline: Duration,
    /// What is done with an answer.
    pub post_process: PostProcessConfig,
    /// Equal for requests that may share one generation.
    pub key: Key,
    /// Equal for requests that differ in the text before the cursor alone.
    pub place: Key,
    /// The editor and its file; absent when the client does not say who it is.
    pub editor: Option<Key>,
}

impl Order {
    pub(super) fn new(snapshot: &Snapshot, route: &Arc<Route>, task: CompletionTask) -> Self {
        let config = &snapshot.config.completion;
        let user = if task.subject.is_empty() { &task.tenant } else { &task.subject };
        let mut max_tokens =
            if task.generation { config.max_generation_tokens } else { config.max_output_tokens };
        let mut prompt_budget = config.prompt_budget;
        let mut suffix = SuffixScope::default();
        let mut experiments = Vec::new();
        for experiment in &config.experiments {
            let Some(at) = variant(experiment, user) else { continue };
            experiments.push((experiment.name.clone(), i64::try_from(at).unwrap_or_default()));
            let Some(chosen) = experiment.variants.get(at) else { continue };
            max_tokens = chosen.max_output_tokens.filter(|_| !task.generation).unwrap_or(max_tokens);
            prompt_budget = chosen.prompt_budget.or(prompt_budget);
            suffix = chosen.suffix.unwrap_or(suffix);
        }
        // A client may ask for less than is configured, never for more.
        let max_tokens = task.max_tokens.map_or(max_tokens, |asked| asked.clamp(1, max_tokens));
        let choices = task.choices.clamp(1, MOST_CHOICES);
        let place =
            place(snapshot, route, &task, &format!("{max_tokens} {prompt_budget:?} {suffix:?} {choices}"));
        let key = digest(&[&place, task.document.prefix.as_bytes()]);
        let editor = (!task.editor.is_empty()).then(|| {
            let file = task.document.file_name.as_bytes();
            digest(&[task.tenant.as_bytes(), task.editor.as_bytes(), file])
        });
        let choices = usize::try_from(choices).unwrap_or(1);
        let configured = Duration::from_millis(config.deadline_ms);
        let deadline = task.deadline.map_or(configured, |given| given.min(configured));
        Self {
            route: Arc::clone(route),
            choices,
            max_tokens,
            prompt_budget,
            suffix,
            experiments,
            deadline,
            post_process: config.post_process.clone(),
            key,
            place,
            editor,
            task,
        }
    }
}

/// Everything that a completion depends on, but for the text before the cursor.
fn place(snapshot: &Snapshot, route: &Route, task: &CompletionTask, limits: &str) -> Key {
    let document = &task.document;
    // The counts keep one list from running into the next.
    let counts = (task.context.len(), task.stops.len());
    let sampling = format!("{limits} {counts:?} {:?} {:?} {:?}", task.temperature, task.top_p, task.model);
    let mut parts: Vec<&[u8]> = vec![
        task.tenant.as_bytes(),
        snapshot.hash.as_bytes(),
        route.name.as_bytes(),
        document.file_name.as_bytes(),
        document.language_identifier.as_deref().unwrap_or_default().as_bytes(),
        document.suffix.as_bytes(),
        sampling.as_bytes(),
    ];
    for item in &task.context {
        parts.extend([item.name.as_bytes(), item.content.as_bytes()]);
    }
    parts.extend(task.stops.iter().map(String::as_bytes));
    match &task.prompt {
        None => {}
        Some(PromptOverride::Text(text)) => parts.extend([b"text".as_slice(), text.as_bytes()]),
        Some(PromptOverride::Messages(messages)) => {
            parts.push(b"messages");
            for message in messages {
                parts.extend([message.role.as_bytes(), message.content.as_bytes()]);
            }
        }
    }
    digest(&parts)
}

/// A hash in which no two lists of parts meet.
pub(super) fn digest(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The variant that this user always gets: shares are those of the weights.
fn variant(experiment: &ExperimentConfig, user: &str) -> Option<usize> {
    let total: u64 = experiment.variants.iter().map(|variant| u64::from(variant.weight)).sum();
    let hash = digest(&[experiment.name.as_bytes(), user.as_bytes()]);
    let [a, b, c, d, e, f, g, h, ..] = hash;
    let mut left = u64::from_le_bytes([a, b, c, d, e, f, g, h]).checked_rem(total)?;
    experiment.variants.iter().position(|variant| {
        let weight = u64::from(variant.weight);
        let is_here = left < weight;
        left = left.saturating_sub(weight);
        is_here
    })
}

#[cfg(test)]
mod tests {
    use modelgate_api::contract::VariantConfig;

    use super::*;

    #[test]
    fn a_user_stays_with_its_variant_and_shares_are_those_of_the_weights() {
        let weights = |weights: &[u32]| ExperimentConfig {
            name: "exp_truncate_suffix".into(),
            variants: weights
                .iter()
                .map(|weight| VariantConfig { weight: *weight, ..VariantConfig::default() })
                .collect(),
        };
        let experiment = weights(&[3, 0, 1]);
        let users: Vec<String> = (0..4000).map(|user| format!("user-{user}")).collect();
        let counts = users.iter().fold([0_usize; 3], |mut counts, user| {
            let at = variant(&experiment, user).unwrap();
            assert_eq!(variant(&experiment, user), Some(at));
            counts[at] += 1;
            counts
        });
        assert_eq!(counts[1], 0);
        assert!((2850..3150).contains(&counts[0]), "{counts:?}");
        assert_eq!(variant(&weights(&[0, 0]), "user"), None);
    }

    #[test]
    fn parts_of_a_hash_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"ab"]), digest(&[b"ab", b""]));
    }
}
