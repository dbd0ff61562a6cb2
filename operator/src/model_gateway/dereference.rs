//! Step 1: what the object refers to, as watches have seen it. [I/O: caches]

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use modelgate_api::manifest::Object;
use modelgate_api::names::gateway_tls;
use modelgate_api::v1alpha1::ModelBackendSpec;

use super::exposure::Certificate;
use crate::context::Ctx;
use crate::k8s::child::{ChildKind, Owner, OwnerKind};

/// What there is around a ModelGateway.
pub struct References {
    /// ModelBackends of its namespace, and those of others that may be shared.
    pub backends: Vec<Object<ModelBackendSpec>>,
    /// Its pods.
    pub pods: Vec<Arc<Pod>>,
    /// The certificate of its Ingress.
    pub certificate: Certificate,
}

/// Collects them, backends by name: the order must not depend on a hash map's.
#[must_use]
pub fn dereference(ctx: &Ctx, owner: &Owner) -> References {
    let all = ctx.stores.backends.state();
    let readable = all.iter().filter_map(|backend| backend.0.as_ref().ok());
    let own = readable.filter(|backend| {
        let is_own = backend.metadata.namespace.as_deref() == Some(&*owner.namespace);
        (is_own || backend.spec.allowed_gateways.is_some()) && backend.metadata.deletion_timestamp.is_none()
    });
    let mut backends: Vec<_> = own
        .map(|backend| Object {
            name: backend.name_any(),
            namespace: backend.namespace().unwrap_or_default(),
            uid: backend.uid().unwrap_or_default(),
            generation: backend.metadata.generation.unwrap_or(0),
            spec: backend.spec.clone(),
        })
        .collect();
    backends.sort_by(|left, right| (&left.namespace, &left.name).cmp(&(&right.namespace, &right.name)));
    References {
        backends,
        pods: ctx.stores.pods_of(&owner.namespace, OwnerKind::Gateway, &owner.name),
        certificate: certificate(ctx, owner),
    }
}

fn certificate(ctx: &Ctx, owner: &Owner) -> Certificate {
    let key =
        ObjectRef::<DynamicObject>::new_with(&gateway_tls(&owner.name), ChildKind::Certificate.resource());
    let store = ctx.stores.children.get(&ChildKind::Certificate);
    let object = store.and_then(|store| store.get(&key.within(&owner.namespace)));
    Certificate {
        api_served: ctx.serves(ChildKind::Certificate),
        object: object.map(|object| object.data.clone()),
    }
}
