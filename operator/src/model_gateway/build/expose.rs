//! The Ingress of a gateway.

use modelgate_api::v1alpha1::{Expose, ExposeType};
use serde_json::json;

use crate::k8s::child::{Child, ChildKind, Owner, Prepared};

pub(super) fn ingress(owner: &Owner, name: String, expose: Option<&Expose>) -> Option<Child<Prepared>> {
    let expose = expose.filter(|expose| expose.kind == ExposeType::Ingress)?;
    let backend = json!({"service": {"name": name, "port": {"name": "http"}}});
    let spec = json!({
        "ingressClassName": expose.class_name,
        "rules": [{
            "host": expose.host,
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }],
    });
    Some(Child::new(ChildKind::Ingress, name, owner, &owner.labels(), json!({"spec": spec})))
}
