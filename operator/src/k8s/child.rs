//! Children as data: which kinds there are, and one object with its state in its type.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use kube::core::ApiResource;
use modelgate_api::names::{BACKEND_LABEL, GATEWAY_LABEL};
use serde_json::{Value, json};

/// Field manager of children.
pub const MANAGER: &str = "modelgate-operator";
/// Label by which children are watched.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The watch's selector.
pub const MANAGED_BY_SELECTOR: &str = "app.kubernetes.io/managed-by=modelgate-operator";

/// Kinds of objects that the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// v1
    ConfigMap,
    /// v1
    ServiceAccount,
    /// v1
    Service,
    /// v1
    PersistentVolumeClaim,
    /// apps/v1
    Deployment,
    /// policy/v1
    PodDisruptionBudget,
    /// networking.k8s.io/v1
    Ingress,
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// gateway.networking.k8s.io/v1, served where the Gateway API is installed.
    HttpRoute,
    /// cert-manager.io/v1, served where cert-manager is installed. Watched alone: cert-manager makes it for an Ingress.
    Certificate,
    /// monitoring.coreos.com/v1, served where the Prometheus Operator is installed.
    ServiceMonitor,
}

impl ChildKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::ConfigMap,
        Self::ServiceAccount,
        Self::Service,
        Self::PersistentVolumeClaim,
        Self::Deployment,
        Self::PodDisruptionBudget,
        Self::Ingress,
        Self::NetworkPolicy,
        Self::HttpRoute,
        Self::Certificate,
        Self::ServiceMonitor,
    ];

    /// Kinds that a cluster serves only where somebody installed them.
    pub const OPTIONAL: [Self; 3] = [Self::HttpRoute, Self::Certificate, Self::ServiceMonitor];

    /// The kind as Kubernetes spells it; also a label value of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Deployment => "Deployment",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Ingress => "Ingress",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::HttpRoute => "HTTPRoute",
            Self::Certificate => "Certificate",
            Self::ServiceMonitor => "ServiceMonitor",
        }
    }

    /// Group, version and plural.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let (group, plural) = match self {
            Self::ConfigMap => ("", "configmaps"),
            Self::ServiceAccount => ("", "serviceaccounts"),
            Self::Service => ("", "services"),
            Self::PersistentVolumeClaim => ("", "persistentvolumeclaims"),
            Self::Deployment => ("apps", "deployments"),
            Self::PodDisruptionBudget => ("policy", "poddisruptionbudgets"),
            Self::Ingress => ("networking.k8s.io", "ingresses"),
            Self::NetworkPolicy => ("networking.k8s.io", "networkpolicies"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "httproutes"),
            Self::Certificate => ("cert-manager.io", "certificates"),
            Self::ServiceMonitor => ("monitoring.coreos.com", "servicemonitors"),
        };
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        let (group, plural) = (group.to_owned(), plural.to_owned());
        ApiResource { group, version: "v1".into(), api_version, kind: self.as_str().into(), plural }
    }

    /// Whether every cluster serves it.
    #[must_use]
    pub fn always_served(self) -> bool {
        !Self::OPTIONAL.contains(&self)
    }
}

/// The resource that children belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which of the two kinds.
    pub kind: OwnerKind,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
}

/// Kinds of resources that have children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// ModelBackend
    Backend,
    /// ModelGateway
    Gateway,
}

impl OwnerKind {
    /// The kind as Kubernetes spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "ModelBackend",
            Self::Gateway => "ModelGateway",
        }
    }

    /// The label that holds the owner's name.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Backend => BACKEND_LABEL,
            Self::Gateway => GATEWAY_LABEL,
        }
    }

    /// Value of `app.kubernetes.io/name` of its pods.
    #[must_use]
    pub fn application(self) -> &'static str {
        match self {
            Self::Backend => "modelgate-engine",
            Self::Gateway => "modelgate-gateway",
        }
    }

    /// Value of `app.kubernetes.io/component`, as the reference platform's monitors select by it.
    fn component(self) -> &'static str {
        match self {
            Self::Backend => "ml-inference",
            Self::Gateway => "api",
        }
    }
}

impl Owner {
    /// Labels that pods are selected by; they never change.
    #[must_use]
    pub fn selector(&self) -> BTreeMap<String, String> {
        let application = ("app.kubernetes.io/name".to_owned(), self.kind.application().to_owned());
        BTreeMap::from([application, (self.kind.label().to_owned(), self.name.clone())])
    }

    /// Labels of every child, without those of a role.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert(MANAGED_BY.into(), MANAGER.into());
        labels.insert("app.kubernetes.io/part-of".into(), "modelgate".into());
        labels
    }

    /// Labels of the one object that Prometheus scrapes through.
    #[must_use]
    pub fn scraped_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert("app.kubernetes.io/component".into(), self.kind.component().into());
        labels
    }

    /// Labels by which a ServiceMonitor selects that object.
    #[must_use]
    pub fn scraped_selector(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/component".into(), self.kind.component().into());
        labels
    }

    fn reference(&self) -> Value {
        json!({
            "apiVersion": modelgate_api::API_VERSION,
            "kind": self.kind.as_str(),
            "name": self.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }
}

/// State of a child that was built and not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared;
/// State of a child that the API server holds as wanted; its body is the live object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied;

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct Child<S> {
    /// Its kind.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
    /// The object as JSON.
    pub body: Value,
    state: PhantomData<S>,
}

impl Child<Prepared> {
    /// An object of `owner`; `fields` are what stands beside `metadata`.
    #[must_use]
    pub fn new(
        kind: ChildKind,
        name: String,
        owner: &Owner,
        labels: &BTreeMap<String, String>,
        fields: Value,
    ) -> Self {
        let mut body = json!({
            "apiVersion": kind.resource().api_version,
            "kind": kind.as_str(),
            "metadata": {
                "name": name,
                "namespace": owner.namespace,
                "labels": labels,
                "ownerReferences": [owner.reference()],
            },
        });
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
        }
        drop_nulls(&mut body);
        Self { kind, name, body, state: PhantomData }
    }

    /// The object with annotations; none makes no difference.
    #[must_use]
    pub fn annotated(mut self, annotations: &BTreeMap<String, String>) -> Self {
        if let (Some(metadata), false) = (self.body.get_mut("metadata"), annotations.is_empty()) {
            metadata["annotations"] = json!(annotations);
        }
        self
    }

    /// The same object as the API server holds it.
    #[must_use]
    pub fn applied(self, live: Value) -> Child<Applied> {
        Child { kind: self.kind, name: self.name, body: live, state: PhantomData }
    }
}

/// An absent field is one that we do not own; `null` would be one that we own.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

impl Child<Applied> {
    /// A number of the live object, 0 when it is absent.
    #[must_use]
    pub fn number(&self, pointer: &str) -> i64 {
        self.body.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
    }
}
