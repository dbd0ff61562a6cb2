//! Step 4: objects → API server. [I/O]

use std::collections::BTreeSet;

use super::build::Resources;
use crate::context::Ctx;
use crate::error::Error;
use crate::k8s::apply::Applier;
use crate::k8s::child::{Applied, Owner, Prepared};

/// What pods mount comes before the pods, what leads to them after.
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
    let Resources {
        service_account,
        config_map,
        service,
        disruption_budget,
        deployment,
        network_policy,
        ingress,
        route,
        public,
        monitor,
    } = resources;
    let always = [&service_account, &config_map, &service, &disruption_budget, &deployment];
    let keep: BTreeSet<_> = always
        .into_iter()
        .chain([&network_policy, &ingress, &route, &public, &monitor].into_iter().flatten())
        .map(|child| (child.kind, child.name.clone()))
        .collect();
    let applied = Resources {
        service_account: applier.apply(service_account).await?,
        config_map: applier.apply(config_map).await?,
        service: applier.apply(service).await?,
        disruption_budget: applier.apply(disruption_budget).await?,
        network_policy: applier.apply_optional(network_policy).await?,
        deployment: applier.apply(deployment).await?,
        ingress: applier.apply_optional(ingress).await?,
        route: applier.apply_optional(route).await?,
        public: applier.apply_optional(public).await?,
        monitor: applier.apply_optional(monitor).await?,
    };
    applier.prune(&keep).await?;
    Ok(applied)
}
