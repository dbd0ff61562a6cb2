//! The controller of ModelGateway: listeners, authentication and routes.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod exposure;
pub mod nudge;
pub mod status;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use modelgate_api::conditions::reasons;

use crate::context::{Ctx, WatchedGateway};
use crate::error::{Error, ErrorKind};
use crate::k8s::child::{Owner, OwnerKind};
use crate::k8s::status_writer;
use status::{Outcome, StatusInput};

/// Looked at again after this even if no watch says anything.
const RESYNC: Duration = Duration::from_secs(300);

/// One reconcile.
///
/// # Errors
/// What the API server refused; the status says it too where it can be written.
pub async fn reconcile(object: Arc<WatchedGateway>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    let metadata = kube::Resource::meta(&*object);
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let owner = Owner { kind: OwnerKind::Gateway, name, namespace, uid: object.uid().unwrap_or_default() };
    if metadata.deletion_timestamp.is_some() {
        // The garbage collector deletes the children; nothing may be created any more.
        return Ok(Action::await_change());
    }
    ctx.leadership.ensure()?;
    let generation = metadata.generation.unwrap_or(0);
    let gateway = match &object.0 {
        Ok(gateway) => gateway,
        Err(unreadable) => {
            let outcome = Outcome::unreadable(&unreadable.error);
            let input = StatusInput { before: None, generation, outcome: &outcome, live: None, states: &[] };
            status_writer::write(&ctx, &owner, None, &status::compute(&input)).await?;
            return Ok(Action::await_change());
        }
    };
    let references = dereference::dereference(&ctx, &owner); // [I/O: caches]
    let mut requeue = RESYNC;
    let mut failed = None;
    let outcome = match validate::validate(
        &owner,
        generation,
        &gateway.spec,
        &references.backends,
        &ctx.settings.render,
    ) {
        // Nothing is applied: the last good configuration goes on serving.
        Err(problems) => Outcome::Rejected(problems),
        Ok(valid) => match apply_all(&ctx, &owner, &valid).await {
            Ok(applied) => {
                let waiting = nudge::nudge(&ctx, &owner, &valid, &references).await?; // [I/O]
                requeue = waiting.unwrap_or(RESYNC);
                Outcome::Applied { valid: Box::new(valid), applied: Box::new(applied) }
            }
            Err(error) if matches!(error.kind(), ErrorKind::Refused | ErrorKind::Forbidden) => {
                ctx.events.warn(&owner, reasons::CHILD_REFUSED, error.to_string()).await;
                let outcome = Outcome::Refused(error.to_string());
                failed = Some(error);
                outcome
            }
            Err(error) => return Err(error),
        },
    };
    if let Outcome::Rejected(problems) = &outcome {
        let text = status::list_problems(problems);
        ctx.events
            .warn(&owner, problems.first().map_or(reasons::INVALID, |first| first.reason.as_str()), text)
            .await;
    }
    let (before, live) = (gateway.status.as_ref(), Some(&references));
    let states = ctx.acknowledgements.of(&owner.namespace, &owner.name);
    let input = StatusInput { before, generation, outcome: &outcome, live, states: &states };
    status_writer::write(&ctx, &owner, before, &status::compute(&input)).await?; // [I/O]
    failed.map_or_else(|| Ok(Action::requeue(requeue)), Err)
}

async fn apply_all(
    ctx: &Ctx,
    owner: &Owner,
    valid: &validate::ValidatedGateway,
) -> Result<build::Resources<crate::k8s::child::Applied>, Error> {
    apply::apply(ctx, owner, build::build(valid, &ctx.settings.render)).await
}
