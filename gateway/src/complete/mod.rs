//! The completion core that every completion protocol calls: task → prompt → backend → clean text. Protocols (GitLab's,
//! OpenAI's with a suffix, Tabby's, …) translate to [`CompletionTask`] and from [`Completed`] and know nothing of what is
//! between.

mod task;

use std::sync::Arc;

use crate::app::Gateway;
use crate::config::snapshot::{Route, Snapshot};
use crate::error::GatewayError;
use crate::gitlab;
use crate::metrics::Outcome;
use crate::pipeline::{admit, dispatch, postprocess, prompt};
use crate::server::facts::Phase;
use crate::server::record::Record;
use crate::telemetry::content;

use modelgate_api::v1alpha1::Compat;
pub use task::{
    Choice, Completed, CompletionTask, ContextItem, Finish, Message, Project, PromptOverride, SourceDocument,
    Unavailable,
};

/// What GitLab's completion routes do when no backend can answer.
#[must_use]
pub fn unavailable_for_gitlab(snapshot: &Snapshot) -> Unavailable {
    match snapshot.config.compat {
        Compat::Strict => Unavailable::Seed,
        Compat::Current => Unavailable::Empty,
    }
}

/// Answers a task. An answer without choices is a success of the protocol; its `outcome` tells what really happened.
///
/// # Errors
/// The failure, where the task's `unavailable` lets it show.
pub async fn run(
    _gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    route: &Arc<Route>,
    task: CompletionTask,
    record: &mut Record,
) -> Result<Completed, GatewayError> {
    let document = &task.document;
    record.note_route(&route.name, task.model.as_deref());
    record.note_prompt(&document.prefix, Some(&document.suffix));
    record.note_language(gitlab::language(&document.file_name));
    record.note_project(task.project.as_ref().and_then(|project| project.id.as_deref()?.parse().ok()));
    record.note_phase(Phase::Route);
    let rendered = prompt::completion(&task);
    record.note_request_bytes(task.document.prefix.len());
    record.note_phase(Phase::Prompt);
    let admitted = admit::completion(snapshot, route, &task, record).await;
    record.note_phase(Phase::Queue);
    let done = match admitted {
        Ok(()) => dispatch::send(route, &rendered, record).await,
        Err(error) => Err(error),
    };
    let done = match done {
        Ok(upstream) => postprocess::whole(upstream, route, record).await,
        Err(error) => Err(error),
    };
    if let Ok(choice) = &done {
        content::step(&record.request_id, "model", &task.document.prefix, &choice.text);
    }
    let (choices, outcome) = match done {
        Ok(choice) if choice.text.is_empty() => (Vec::new(), Outcome::Empty),
        Ok(choice) => (vec![choice], Outcome::Success),
        Err(error) if is_shown(task.unavailable, &error) => return Err(error),
        Err(error) => {
            tracing::warn!(error = %error, route = %route.name, request_id = %record.request_id, "no completion; the editor is told that there is none");
            record.reason = Some(error.reason());
            (Vec::new(), error.outcome())
        }
    };
    record.set_outcome(outcome);
    Ok(Completed {
        choices,
        backend: record.backend().unwrap_or_default().into(),
        model: record.model().unwrap_or_default().into(),
        language: gitlab::language(&task.document.file_name),
        usage: record.usage(),
        experiments: Vec::new(),
        outcome,
    })
}

/// Whether the caller sees the error as one.
fn is_shown(unavailable: Unavailable, error: &GatewayError) -> bool {
    match unavailable {
        Unavailable::Error => true,
        Unavailable::Empty => false,
        Unavailable::Seed => !matches!(
            error,
            GatewayError::UpstreamStatus { status, .. } if matches!(status.as_u16(), 400 | 500)
        ),
    }
}
