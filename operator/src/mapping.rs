//! Who must be looked at again when an object changes. Pure.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::core::DynamicObject;
use modelgate_api::v1alpha1::ModelGatewaySpec;

use crate::context::{WatchedBackend, WatchedGateway};
use crate::k8s::child::OwnerKind;

/// An object of ours that must be reconciled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wake {
    /// Which kind.
    pub kind: OwnerKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Wake {
    /// A ModelBackend.
    #[must_use]
    pub fn backend(namespace: &str, name: &str) -> Self {
        Self { kind: OwnerKind::Backend, namespace: namespace.into(), name: name.into() }
    }

    /// A ModelGateway.
    #[must_use]
    pub fn gateway(namespace: &str, name: &str) -> Self {
        Self { kind: OwnerKind::Gateway, namespace: namespace.into(), name: name.into() }
    }
}

/// Namespaces and names of the backends that the routes of a gateway of `own` name.
#[must_use]
pub fn backends_of(spec: &ModelGatewaySpec, own: &str) -> BTreeSet<(String, String)> {
    let named = spec.routes.iter().flat_map(|route| &route.backends);
    named.map(|backend| (backend.namespace(own).to_owned(), backend.name.clone())).collect()
}

/// Namespaces and names of the gateways with a route that names a backend, whether or not it lets them.
pub fn gateways_using<'a>(
    gateways: impl IntoIterator<Item = &'a WatchedGateway>,
    namespace: &str,
    backend: &str,
) -> BTreeSet<(String, String)> {
    let wanted = (namespace.to_owned(), backend.to_owned());
    let readable = gateways.into_iter().filter_map(|gateway| gateway.0.as_ref().ok());
    let using = readable.filter_map(|gateway| {
        let own = gateway.metadata.namespace.clone().unwrap_or_default();
        backends_of(&gateway.spec, &own).contains(&wanted).then(|| (own, gateway.name_any()))
    });
    using.collect()
}

/// A changed ModelBackend wakes itself and the gateways that use it.
pub fn of_backend<'a>(
    backend: &WatchedBackend,
    gateways: impl IntoIterator<Item = &'a WatchedGateway>,
) -> BTreeSet<Wake> {
    let (namespace, name) = (backend.namespace().unwrap_or_default(), backend.name_any());
    let using = gateways_using(gateways, &namespace, &name);
    let mut woken: BTreeSet<Wake> = using.iter().map(|(of, gateway)| Wake::gateway(of, gateway)).collect();
    woken.insert(Wake::backend(&namespace, &name));
    woken
}

/// A changed ModelGateway wakes itself and the backends that it uses, whose `Routed` speaks of it.
#[must_use]
pub fn of_gateway(gateway: &WatchedGateway) -> BTreeSet<Wake> {
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
    let mut woken = BTreeSet::from([Wake::gateway(&namespace, &name)]);
    if let Ok(gateway) = &gateway.0 {
        let named = backends_of(&gateway.spec, &namespace);
        woken.extend(named.iter().map(|(of, backend)| Wake::backend(of, backend)));
    }
    woken
}

/// A changed child wakes its owner. A certificate belongs to an Ingress of ours and carries its labels, as cert-manager
/// copies them.
#[must_use]
pub fn of_child(child: &DynamicObject) -> Option<Wake> {
    let namespace = child.metadata.namespace.as_deref()?;
    if child.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Ingress") {
        let gateway = child.metadata.labels.as_ref()?.get(OwnerKind::Gateway.label())?;
        return Some(Wake::gateway(namespace, gateway));
    }
    let owner = child.metadata.owner_references.iter().flatten().find(|owner| {
        owner.controller == Some(true) && owner.api_version.starts_with(&format!("{}/", modelgate_api::GROUP))
    })?;
    match owner.kind.as_str() {
        "ModelBackend" => Some(Wake::backend(namespace, &owner.name)),
        "ModelGateway" => Some(Wake::gateway(namespace, &owner.name)),
        _ => None,
    }
}

/// A changed pod wakes whom its labels name.
#[must_use]
pub fn of_pod(namespace: &str, labels: &std::collections::BTreeMap<String, String>) -> BTreeSet<Wake> {
    let named = |kind: OwnerKind| labels.get(kind.label()).cloned();
    let backend = named(OwnerKind::Backend).map(|name| Wake::backend(namespace, &name));
    let gateway = named(OwnerKind::Gateway).map(|name| Wake::gateway(namespace, &name));
    backend.into_iter().chain(gateway).collect()
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;

    fn gateway(namespace: &str, name: &str, backends: &[&str]) -> WatchedGateway {
        let backends: Vec<_> = backends
            .iter()
            .map(|name| match name.split_once('/') {
                Some((namespace, name)) => json!({"name": name, "namespace": namespace}),
                None => json!({"name": name}),
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "modelgate.dev/v1alpha1", "kind": "ModelGateway",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"routes": [{"name": "r", "backends": backends}]},
        }))
        .unwrap()
    }

    fn backend(namespace: &str, name: &str) -> WatchedBackend {
        serde_json::from_value(json!({
            "apiVersion": "modelgate.dev/v1alpha1", "kind": "ModelBackend",
            "metadata": {"namespace": namespace, "name": name}, "spec": {"model": {"name": "m"}, "fake": {}},
        }))
        .unwrap()
    }

    #[test]
    fn a_backend_wakes_the_gateways_that_name_it_wherever_they_are() {
        let all = [
            gateway("a", "uses", &["x", "y"]),
            gateway("a", "other", &["y"]),
            gateway("b", "far", &["x"]),
            gateway("c", "shares", &["a/x"]),
        ];
        let woken = of_backend(&backend("a", "x"), &all);
        let gateways = [Wake::gateway("a", "uses"), Wake::gateway("c", "shares")];
        assert_eq!(woken, BTreeSet::from([Wake::backend("a", "x")]).into_iter().chain(gateways).collect());
        assert!(of_gateway(&all[3]).contains(&Wake::backend("a", "x")));
    }

    #[test]
    fn a_backend_that_cannot_be_read_still_wakes_its_gateways() {
        let broken: WatchedBackend =
            serde_json::from_value(json!({"metadata": {"namespace": "a", "name": "x"}, "spec": 1})).unwrap();
        assert!(matches!(broken, DeserializeGuard(Err(_))));
        assert!(of_backend(&broken, &[gateway("a", "g", &["x"])]).contains(&Wake::gateway("a", "g")));
    }

    #[test]
    fn a_child_wakes_its_owner_and_nobody_else() {
        let child = |api: &str, kind: &str, controller: bool| -> DynamicObject {
            serde_json::from_value(json!({"metadata": {"namespace": "a", "name": "c", "ownerReferences": [
                {"apiVersion": api, "kind": kind, "name": "o", "uid": "u", "controller": controller}]}}))
            .unwrap()
        };
        assert_eq!(
            of_child(&child("modelgate.dev/v1alpha1", "ModelGateway", true)),
            Some(Wake::gateway("a", "o"))
        );
        assert_eq!(of_child(&child("modelgate.dev/v1alpha1", "ModelBackend", false)), None);
        assert_eq!(of_child(&child("apps/v1", "ReplicaSet", true)), None);
        let mut certificate = child("networking.k8s.io/v1", "Ingress", true);
        assert_eq!(of_child(&certificate), None);
        certificate.metadata.labels = Some([("modelgate.dev/gateway".into(), "g".into())].into());
        assert_eq!(of_child(&certificate), Some(Wake::gateway("a", "g")));
    }

    #[test]
    fn a_gateway_wakes_itself_and_its_backends() {
        let woken = of_gateway(&gateway("a", "g", &["x", "y"]));
        assert_eq!(woken.len(), 3);
        assert!(woken.contains(&Wake::backend("a", "y")));
    }
}
