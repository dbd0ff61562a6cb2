//! Step 4: objects → API server. [I/O]

use std::collections::BTreeSet;

use serde_json::Value;

use super::build::Resources;
use crate::context::Ctx;
use crate::error::Error;
use crate::k8s::apply::Applier;
use crate::k8s::child::{Applied, Child, ChildKind, Owner, Prepared};

/// Services first, so that a pod's name resolves once it is ready.
///
/// # Errors
/// The first child that the API server refuses.
pub async fn apply(
    ctx: &Ctx,
    owner: &Owner,
    resources: Resources<Prepared>,
) -> Result<Resources<Applied>, Error> {
    let applier = Applier::begin(ctx, owner)?;
    // Without `..`: an object added to Resources cannot be forgotten here.
    let Resources { service, headless, cache, network_policy, deployment, monitor } = resources;
    let keep: BTreeSet<_> = [&service, &headless, &cache, &network_policy, &deployment, &monitor]
        .into_iter()
        .flatten()
        .map(|child| (child.kind, child.name.clone()))
        .collect();
    let applied = Resources {
        service: applier.apply_optional(service).await?,
        headless: applier.apply_optional(headless).await?,
        network_policy: applier.apply_optional(network_policy).await?,
        // Before the pods that mount it.
        cache: applier.apply_optional(cache).await?,
        deployment: applier.apply_optional(deployment).await?,
        monitor: applier.apply_optional(monitor).await?,
    };
    applier.prune(&keep).await?;
    Ok(applied)
}

/// What the watches know of the children, without a write: for a backend that is paused.
#[must_use]
pub fn observe(ctx: &Ctx, owner: &Owner, resources: Resources<Prepared>) -> Resources<Applied> {
    let live = |child: Option<Child<Prepared>>| {
        let child = child?;
        let body = live(ctx, owner, child.kind, &child.name)?;
        Some(child.applied(body))
    };
    let Resources { service, headless, cache, network_policy, deployment, monitor } = resources;
    Resources {
        service: live(service),
        headless: live(headless),
        network_policy: live(network_policy),
        cache: live(cache),
        deployment: live(deployment),
        monitor: live(monitor),
    }
}

/// A child as watched, if it belongs to `owner`.
#[must_use]
pub fn live(ctx: &Ctx, owner: &Owner, kind: ChildKind, name: &str) -> Option<Value> {
    let object = ctx.stores.child(kind, &owner.namespace, name)?;
    let ours = object.metadata.owner_references.iter().flatten().any(|of| of.uid == owner.uid);
    ours.then(|| serde_json::to_value(&*object).ok()).flatten()
}
