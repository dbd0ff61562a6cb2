//! `spec.expose`: which field goes with which type.

use super::{Problems, Reason};
use crate::v1alpha1::{Expose, ExposeType};

pub(super) fn check(expose: Option<&Expose>, problems: &mut Problems) {
    let Some(expose) = expose else { return };
    let kind = expose.kind;
    let mut add = |field: &str, message: &str| {
        problems.add(Reason::Invalid, format!("spec.expose.{field}"), message);
    };
    if expose.host.is_some() && !matches!(kind, ExposeType::Ingress | ExposeType::HttpRoute) {
        add("host", "is for spec.expose.type: Ingress and HTTPRoute; set the type or remove it");
    }
    if expose.class_name.is_some() && kind != ExposeType::Ingress {
        add("className", "is for spec.expose.type: Ingress; set the type or remove it");
    }
    if expose.annotations.is_some() && kind == ExposeType::None {
        add("annotations", "nothing is made that could carry them; set spec.expose.type or remove them");
    }
    if (kind == ExposeType::HttpRoute) == expose.parent_refs.is_empty() {
        add("parentRefs", "is required with spec.expose.type: HTTPRoute, and for it alone");
    }
    let Some(tls) = &expose.tls else { return };
    if kind != ExposeType::Ingress {
        let message = "is for spec.expose.type: Ingress; an HTTPRoute has its Gateway's certificate, for other types set spec.listeners.tls";
        add("tls", message);
    }
    if tls.issuer_ref.is_some() == tls.secret_ref.is_some() {
        add("tls", "give exactly one of issuerRef and secretRef");
    }
    if expose.host.is_none() {
        add("host", "is required with spec.expose.tls; a certificate is for a name");
    }
}
