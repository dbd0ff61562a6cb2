//! The controller of ModelBackend: one model and the server that answers for it.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod probe;
pub mod status;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use modelgate_api::conditions::reasons;

use crate::conditions::Row;
use crate::context::{Ctx, WatchedBackend};
use crate::error::{Error, ErrorKind};
use crate::k8s::child::{Owner, OwnerKind};
use crate::k8s::status_writer;
use status::{Report, StatusInput};

/// Looked at again after this even if no watch says anything.
const RESYNC: Duration = Duration::from_secs(300);

/// One reconcile.
///
/// # Errors
/// What the API server refused; the status says it too where it can be written.
pub async fn reconcile(object: Arc<WatchedBackend>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    let metadata = kube::Resource::meta(&*object);
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let owner = Owner { kind: OwnerKind::Backend, name, namespace, uid: object.uid().unwrap_or_default() };
    if metadata.deletion_timestamp.is_some() {
        // The garbage collector deletes the children; nothing may be created any more.
        ctx.proofs.forget(&owner.uid);
        return Ok(Action::await_change());
    }
    ctx.leadership.ensure()?;
    let generation = metadata.generation.unwrap_or(0);
    let backend = match &object.0 {
        Ok(backend) => backend,
        Err(unreadable) => {
            let report =
                Report::stuck(reasons::INVALID, format!("the object cannot be read: {}", unreadable.error));
            let input = StatusInput { before: None, generation, report, routed: None, dialect: None };
            status_writer::write(&ctx, &owner, None, &status::compute(&input)).await?;
            return Ok(Action::await_change());
        }
    };
    let references = dereference::dereference(&ctx, &owner, generation); // [I/O: caches]
    let mut requeue = RESYNC;
    let mut failed = None;
    let report = match validate::validate(&owner, &backend.spec) {
        Err(problems) => Report::invalid(&problems),
        Ok(valid) => match apply::apply(&ctx, &owner, build::build(&valid, &ctx.settings.render)).await {
            Ok(applied) => {
                let proof = probe::prove(&ctx, &valid, &applied).await; // [I/O]
                requeue = proof.again.unwrap_or(RESYNC).min(RESYNC);
                status::report(&valid, &applied, &references.pods, &proof, &ctx.settings.render)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Refused | ErrorKind::Forbidden) => {
                let report = Report::stuck(reasons::CHILD_REFUSED, error.to_string());
                ctx.events.warn(&owner, reasons::CHILD_REFUSED, error.to_string()).await;
                failed = Some(error);
                report
            }
            Err(error) => return Err(error),
        },
    };
    if report.row == Row::Stuck && failed.is_none() {
        ctx.events.warn(&owner, report.reason, report.message.clone()).await;
    }
    let input = StatusInput {
        before: backend.status.as_ref(),
        generation,
        report,
        routed: Some(references.routed),
        dialect: references.dialect,
    };
    status_writer::write(&ctx, &owner, backend.status.as_ref(), &status::compute(&input)).await?; // [I/O]
    failed.map_or_else(|| Ok(Action::requeue(requeue)), Err)
}
