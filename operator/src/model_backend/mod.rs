//! The controller of ModelBackend: one model and the server that answers for it.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod download;
pub mod placement;
pub mod probe;
pub mod rollout;
pub mod status;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use modelgate_api::conditions::reasons;
use modelgate_api::names::RENEW_ANNOTATION;
use modelgate_api::v1alpha1::ModelBackend;

use crate::conditions::Row;
use crate::context::{Ctx, WatchedBackend};
use crate::error::{Error, ErrorKind};
use crate::fleet::demand::Demand;
use crate::fleet::fit::fit;
use crate::k8s::child::{Child, ChildKind, Owner, OwnerKind, Prepared};
use crate::k8s::rollout::{Rollout, Trouble, trouble};
use crate::k8s::status_writer;
use crate::mapping::Wake;
use dereference::References;
use rollout::choice::Room;
use rollout::{Settled, Situation, settle};
use status::{Report, StatusInput};
use validate::{Place, ValidatedBackend, ValidatedServer};

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
        ctx.waiting.set(Wake::backend(&owner.namespace, &owner.name), false);
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
    let allowed = backend.spec.allowed_gateways.clone().unwrap_or_default();
    let references = dereference::dereference(&ctx, &owner, generation, &allowed); // [I/O: caches]
    let mut requeue = RESYNC;
    let mut failed = None;
    let report = match validate::validate(&owner, &backend.spec) {
        Err(problems) => Report::invalid(&problems),
        Ok(valid) => match bring(&ctx, &valid, backend, &references, generation).await {
            Ok((report, again)) => {
                requeue = again.unwrap_or(RESYNC).min(RESYNC);
                report
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

/// Build, settle, apply, prove: what is found, and when to look again.
async fn bring(
    ctx: &Ctx,
    valid: &ValidatedBackend,
    backend: &ModelBackend,
    references: &References,
    generation: i64,
) -> Result<(Report, Option<Duration>), Error> {
    let owner = &valid.owner;
    let mut resources = build::build(valid, &ctx.settings.render);
    let mut settled = None;
    let demand = match &valid.place {
        Place::Server(server) => Demand::of(&valid.model, server),
        Place::External(_) | Place::Fake => None,
    };
    let fits = || {
        let idle = |namespace: &str, name: &str| ctx.activity.idle(namespace, name);
        demand.as_ref().map(|demand| ctx.fleet.look(|known| fit(demand, known, &idle)))
    };
    if let (Place::Server(server), Some(deployment)) = (&valid.place, resources.deployment.take()) {
        let room = || fits().map_or_else(|| Room::Unknown("no device is asked for".into()), Room::from);
        let (deployment, course) =
            settled_now(ctx, (valid, server), backend, references, generation, deployment, &room);
        resources.deployment = Some(deployment);
        settled = Some(course);
    }
    let applied = if backend.spec.paused {
        apply::observe(ctx, owner, resources)
    } else {
        apply::apply(ctx, owner, resources).await? // [I/O]
    };
    let proof = probe::prove(ctx, valid, &applied).await; // [I/O]
    let complete = applied.deployment.as_ref().is_some_and(|deployment| Rollout::of(deployment).complete);
    ctx.waiting.set(Wake::backend(&owner.namespace, &owner.name), demand.is_some() && !complete);
    let blocked = if complete { None } else { placement::blocked(&references.pods, fits()) };
    let render = &ctx.settings.render;
    let mut report = status::report(valid, &applied, &references.pods, &proof, blocked, render);
    if let Some(course) = settled {
        report = report.on(course);
    }
    let mut again = proof.again;
    if let Place::Server(server) = &valid.place {
        let now = download::ask(ctx, &references.pods, server).await; // [I/O]
        if now.is_some() {
            again = Some(download::AGAIN);
        }
        report = report.fetched(download::cached(&server.source, &references.pods, now.as_ref()), now);
    }
    if backend.spec.paused {
        report.message =
            format!("paused, nothing is changed until spec.paused is removed; {}", report.message);
    }
    Ok((report, again))
}

/// The Deployment that goes out now, by what stands and what is known of it. [I/O: caches]
fn settled_now(
    ctx: &Ctx,
    (valid, server): (&ValidatedBackend, &ValidatedServer),
    backend: &ModelBackend,
    references: &References,
    generation: i64,
    deployment: Child<Prepared>,
    room: &dyn Fn() -> Room,
) -> (Child<Prepared>, status::Course) {
    let live = apply::live(ctx, &valid.owner, ChildKind::Deployment, &deployment.name);
    let renew = backend.annotations().get(RENEW_ANNOTATION).map(String::as_str);
    let (trouble, unschedulable) = match trouble(&references.pods) {
        Some(Trouble::Unschedulable(why)) => (Some(why), true),
        Some(Trouble::Container(why)) => (Some(why), false),
        None => (None, false),
    };
    let status = backend.status.as_ref();
    let situation = Situation {
        inputs: &rollout::template::inputs(&backend.spec, renew),
        live: live.as_ref(),
        handled: status.and_then(|status| status.observed_generation) == Some(generation),
        before: status.and_then(|status| status.rollout.as_ref()),
        trouble,
        unschedulable,
        room,
    };
    let Settled { deployment, choice, pending, restored } = settle(deployment, server, &situation);
    (deployment, status::Course { choice, pending, restored })
}
