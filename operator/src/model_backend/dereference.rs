//! Step 1: what the object refers to and what refers to it, as watches have seen it. [I/O: caches]

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use modelgate_api::v1alpha1::DialectReport;

use crate::context::Ctx;
use crate::k8s::child::{Owner, OwnerKind};
use crate::mapping::gateways_using;

/// What there is around a ModelBackend.
pub struct References {
    /// Its pods.
    pub pods: Vec<Arc<Pod>>,
    /// Gateways that use it.
    pub routed: Vec<RoutedGateway>,
    /// What a gateway measured of its server, the newest first.
    pub dialect: Option<DialectReport>,
}

/// A gateway that uses the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedGateway {
    /// Its name.
    pub name: String,
    /// Its ready pods.
    pub pods: usize,
    /// Those whose configuration was made from the backend's current generation.
    pub current: usize,
}

/// Collects them.
#[must_use]
pub fn dereference(ctx: &Ctx, owner: &Owner, generation: i64) -> References {
    let gateways = ctx.stores.gateways.state();
    let using = gateways_using(gateways.iter().map(AsRef::as_ref), &owner.namespace, &owner.name);
    let mut dialect: Option<DialectReport> = None;
    for gateway in &using {
        for pod in ctx.acknowledgements.of(&owner.namespace, gateway) {
            let Ok(state) = pod.state else { continue };
            let measured = state.backends.iter().find(|backend| backend.name == owner.name);
            let measured = measured.and_then(|backend| backend.dialect.clone());
            // Times as RFC 3339 writes them sort as text.
            let newer = |found: &DialectReport| {
                dialect.as_ref().is_none_or(|known| known.measured_at < found.measured_at)
            };
            if let Some(found) = measured.filter(newer) {
                dialect = Some(found);
            }
        }
    }
    let routed = using.into_iter().map(|gateway| {
        let asked = ctx.acknowledgements.of(&owner.namespace, &gateway);
        let current = asked.iter().filter_map(|pod| pod.state.as_ref().ok()).filter(|state| {
            state.inputs.iter().any(|input| {
                input.kind == "ModelBackend" && input.uid == owner.uid && input.generation >= generation
            })
        });
        RoutedGateway { current: current.count(), pods: asked.len(), name: gateway }
    });
    References {
        pods: ctx.stores.pods_of(&owner.namespace, OwnerKind::Backend, &owner.name),
        routed: routed.collect(),
        dialect,
    }
}
