//! Step 1: what the object refers to and what refers to it, as watches have seen it. [I/O: caches]

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use modelgate_api::v1alpha1::{AllowedGateways, DialectReport};

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
    /// Its name, with its namespace before it where that is another than the backend's.
    pub name: String,
    /// Its ready pods.
    pub pods: usize,
    /// Those whose configuration was made from the backend's current generation.
    pub current: usize,
}

/// Collects them.
#[must_use]
pub fn dereference(ctx: &Ctx, owner: &Owner, generation: i64, allowed: &AllowedGateways) -> References {
    let gateways = ctx.stores.gateways.state();
    let mut using = gateways_using(gateways.iter().map(AsRef::as_ref), &owner.namespace, &owner.name);
    using.retain(|(namespace, _)| allowed.admits(&owner.namespace, namespace));
    let far = format!("{}/{}", owner.namespace, owner.name);
    let mut dialect: Option<DialectReport> = None;
    for (namespace, gateway) in &using {
        // As this gateway calls it.
        let key = if *namespace == owner.namespace { &owner.name } else { &far };
        for pod in ctx.acknowledgements.of(namespace, gateway) {
            let Ok(state) = pod.state else { continue };
            let measured = state.backends.iter().find(|backend| backend.name == *key);
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
    let routed = using.into_iter().map(|(namespace, gateway)| {
        let asked = ctx.acknowledgements.of(&namespace, &gateway);
        let shown = if namespace == owner.namespace { gateway } else { format!("{namespace}/{gateway}") };
        let current = asked.iter().filter_map(|pod| pod.state.as_ref().ok()).filter(|state| {
            state.inputs.iter().any(|input| {
                input.kind == "ModelBackend" && input.uid == owner.uid && input.generation >= generation
            })
        });
        RoutedGateway { current: current.count(), pods: asked.len(), name: shown }
    });
    References {
        pods: ctx.stores.pods_of(&owner.namespace, OwnerKind::Backend, &owner.name),
        routed: routed.collect(),
        dialect,
    }
}
