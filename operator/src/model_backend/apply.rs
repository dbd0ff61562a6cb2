//! Step 4: objects → API server. [I/O]

use std::collections::BTreeSet;

use super::build::Resources;
use crate::context::Ctx;
use crate::error::Error;
use crate::k8s::apply::Applier;
use crate::k8s::child::{Applied, Owner, Prepared};

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
    let Resources { service, headless, deployment, monitor } = resources;
    let keep: BTreeSet<_> = [&service, &headless, &deployment, &monitor]
        .into_iter()
        .flatten()
        .map(|child| (child.kind, child.name.clone()))
        .collect();
    let applied = Resources {
        service: applier.apply_optional(service).await?,
        headless: applier.apply_optional(headless).await?,
        deployment: applier.apply_optional(deployment).await?,
        monitor: applier.apply_optional(monitor).await?,
    };
    applier.prune(&keep).await?;
    Ok(applied)
}
