//! What the status says of ways in from outside: addresses, `RouteAttached`, `CertificateReady`. Pure; all of it from live
//! objects, as watches have seen them.

use modelgate_api::conditions::{CERTIFICATE_READY, ROUTE_ATTACHED, reasons};
use modelgate_api::names::{gateway_child, gateway_tls, service_fqdn};
use modelgate_api::state::GatewayState;
use modelgate_api::v1alpha1::{Expose, ExposeType, ParentRef};
use serde_json::Value;

use super::build::Resources;
use super::validate::ValidatedGateway;
use crate::conditions::{Conditions, Truth};
use crate::k8s::child::Applied;

/// What is known of a certificate that cert-manager makes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificate {
    /// Whether cert-manager's API is served.
    pub api_served: bool,
    /// The live object.
    pub object: Option<Value>,
}

type Said = (Truth, &'static str, String);

/// Where clients reach the gateway, from outside first.
#[must_use]
pub fn addresses(gateway: &ValidatedGateway, applied: &Resources<Applied>) -> Vec<String> {
    let scheme = if gateway.config.listeners.tls.is_some() { "https" } else { "http" };
    let mut addresses = outside(gateway.spec.expose.as_ref(), scheme, applied);
    let owner = &gateway.owner;
    // `.svc` without the cluster's domain resolves in every pod, whatever the domain is.
    let host = service_fqdn(&gateway_child(&owner.name), &owner.namespace, "");
    addresses.push(format!("{scheme}://{}:{}", host.trim_end_matches('.'), gateway.config.http_port));
    addresses
}

fn outside(expose: Option<&Expose>, own_scheme: &str, applied: &Resources<Applied>) -> Vec<String> {
    let Some(expose) = expose else { return Vec::new() };
    // A name in the spec says nothing about where it leads; without one there is no address until one is given.
    let host = |assigned: Option<String>| expose.host.clone().or(assigned);
    match expose.kind {
        ExposeType::None => Vec::new(),
        ExposeType::Ingress => {
            let scheme = if expose.tls.is_some() { "https" } else { "http" };
            let assigned = applied.ingress.as_ref().and_then(|ingress| assigned(&ingress.body));
            let host = host(assigned);
            host.into_iter().map(|host| format!("{scheme}://{host}")).collect()
        }
        ExposeType::HttpRoute => {
            // A route that no Gateway took leads nowhere.
            if attached(expose, applied).is_none_or(|said| said.0 != Truth::True) {
                return Vec::new();
            }
            let secure = expose.parent_refs.iter().any(is_secure);
            let scheme = if secure { "https" } else { "http" };
            expose.host.iter().map(|host| format!("{scheme}://{host}")).collect()
        }
        ExposeType::LoadBalancer => {
            let assigned = applied.public.as_ref().and_then(|service| assigned(&service.body));
            assigned.into_iter().map(|host| format!("{own_scheme}://{}", bracketed(&host))).collect()
        }
        ExposeType::NodePort => {
            let port = applied.public.as_ref().map(|service| service.number("/spec/ports/0/nodePort"));
            let port = port.filter(|port| *port > 0);
            port.into_iter().map(|port| format!("{own_scheme}://<node>:{port}")).collect()
        }
    }
}

fn is_secure(parent: &ParentRef) -> bool {
    let named = parent.section_name.as_ref().is_some_and(|section| section.contains("https"));
    named || parent.port == Some(443)
}

/// IPv6 addresses stand in brackets in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The name or address that a controller gave an Ingress or a Service.
fn assigned(body: &Value) -> Option<String> {
    let first = body.pointer("/status/loadBalancer/ingress/0")?;
    let found = first.get("hostname").or_else(|| first.get("ip"))?;
    found.as_str().map(str::to_owned)
}

/// `RouteAttached` and `CertificateReady`, each only where there is something that it speaks of.
#[must_use]
pub fn conditions<'a>(
    conditions: Conditions<'a>,
    gateway: &ValidatedGateway,
    applied: &Resources<Applied>,
    certificate: Option<&Certificate>,
    current: &[&GatewayState],
) -> Conditions<'a> {
    let mut conditions = conditions;
    let expose = gateway.spec.expose.as_ref();
    if let Some((truth, reason, message)) = expose.and_then(|expose| attached(expose, applied)) {
        conditions = conditions.with(ROUTE_ATTACHED, truth, reason, &message);
    }
    let outer = expose.and_then(|expose| certificate_ready(gateway, expose, certificate));
    // The one that is not there is told first.
    let said = [own_certificates(gateway, current), outer].into_iter().flatten();
    if let Some((truth, reason, message)) = said.max_by_key(|said| said.0 != Truth::True) {
        conditions = conditions.with(CERTIFICATE_READY, truth, reason, &message);
    }
    conditions
}

/// Certificates of the gateway's own listeners, as its pods see them.
fn own_certificates(gateway: &ValidatedGateway, current: &[&GatewayState]) -> Option<Said> {
    let listeners = &gateway.config.listeners;
    if listeners.tls.is_none() && listeners.metrics_tls.is_none() {
        return None;
    }
    if current.is_empty() {
        let message = "no pod has answered for this configuration yet";
        return Some((Truth::Unknown, reasons::WAITING_FOR_PODS, message.into()));
    }
    let lacking = current.iter().flat_map(|state| &state.certificates).find(|found| !found.serving);
    Some(match lacking {
        Some(found) => {
            let message = format!("listener {}, Secret {}: {}", found.listener, found.secret, found.message);
            (Truth::False, reasons::CREDENTIAL_MISSING, message)
        }
        None => (Truth::True, reasons::SERVED, "every listener with TLS has its certificate".into()),
    })
}

fn attached(expose: &Expose, applied: &Resources<Applied>) -> Option<Said> {
    match expose.kind {
        ExposeType::None | ExposeType::NodePort => None,
        ExposeType::Ingress => Some(given_address(
            applied.ingress.as_ref().and_then(|ingress| assigned(&ingress.body)),
            "no ingress controller has given the Ingress an address yet; is there one for spec.expose.className?",
        )),
        ExposeType::LoadBalancer => Some(given_address(
            applied.public.as_ref().and_then(|service| assigned(&service.body)),
            "nobody has given the Service an address yet; does this cluster have load balancers?",
        )),
        ExposeType::HttpRoute => Some(applied.route.as_ref().map_or_else(
            || {
                let message = "the Gateway API (gateway.networking.k8s.io/v1) is not served; install it, or choose another spec.expose.type";
                (Truth::False, reasons::API_NOT_SERVED, message.into())
            },
            |route| of_parents(&route.body, expose.parent_refs.len()),
        )),
    }
}

fn given_address(assigned: Option<String>, none: &str) -> Said {
    assigned.map_or_else(
        || (Truth::Unknown, reasons::PENDING, none.to_owned()),
        |address| (Truth::True, reasons::ATTACHED, format!("reached at {address}")),
    )
}

/// What the controllers of an HTTPRoute's Gateways say: attached when each accepted it and found the Service.
fn of_parents(route: &Value, wanted: usize) -> Said {
    let generation = route.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    let parents = route.pointer("/status/parents").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for parent in parents {
        let name = parent.pointer("/parentRef/name").and_then(Value::as_str).unwrap_or("?");
        let conditions = parent.get("conditions").and_then(Value::as_array).into_iter().flatten();
        for condition in conditions {
            let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
            let decides = matches!(text("type"), "Accepted" | "ResolvedRefs");
            if decides && text("status") == "False" {
                let message =
                    format!("Gateway {name}: {} {}: {}", text("type"), text("reason"), text("message"));
                return (Truth::False, reasons::NOT_ATTACHED, message);
            }
        }
    }
    let accepted = parents.iter().filter(|parent| accepted(parent, generation)).count();
    if accepted < wanted {
        let message = format!(
            "{accepted} of {wanted} Gateways have accepted the HTTPRoute; do those of spec.expose.parentRefs exist, and do they allow routes of this namespace?"
        );
        return (Truth::Unknown, reasons::PENDING, message);
    }
    (Truth::True, reasons::ATTACHED, "every Gateway accepted the HTTPRoute".into())
}

fn accepted(parent: &Value, generation: i64) -> bool {
    let conditions = parent.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let mut accepted = conditions.filter(|condition| condition["type"] == "Accepted");
    accepted.any(|found| {
        let observed = found["observedGeneration"].as_i64();
        found["status"] == "True" && observed.is_none_or(|observed| observed >= generation)
    })
}

fn certificate_ready(
    gateway: &ValidatedGateway,
    expose: &Expose,
    certificate: Option<&Certificate>,
) -> Option<Said> {
    let tls = expose.tls.as_ref()?;
    if let Some(secret) = &tls.secret_ref {
        let message = format!(
            "Secret {} is read by the ingress controller alone; ask it if the certificate is not served",
            secret.name
        );
        return Some((Truth::Unknown, reasons::SECRET_NOT_READ, message));
    }
    let certificate = certificate?;
    if !certificate.api_served {
        let message = "cert-manager (cert-manager.io/v1) is not served, so nobody makes the certificate; install it, or give spec.expose.tls.secretRef";
        return Some((Truth::False, reasons::API_NOT_SERVED, message.into()));
    }
    let name = gateway_tls(&gateway.owner.name);
    let Some(object) = &certificate.object else {
        let message = format!("cert-manager has not made Certificate {name} yet");
        return Some((Truth::Unknown, reasons::PENDING, message));
    };
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
    let Some(ready) = ready else {
        return Some((Truth::Unknown, reasons::PENDING, format!("Certificate {name} is about to be issued")));
    };
    let said = ready["message"].as_str().unwrap_or_default();
    Some(match ready["status"].as_str() {
        Some("True") => (Truth::True, reasons::ISSUED, format!("Certificate {name}: {said}")),
        _ => (
            Truth::False,
            reasons::NOT_ISSUED,
            format!(
                "Certificate {name}: {said}; see `kubectl -n {} describe certificate {name}`",
                gateway.owner.namespace
            ),
        ),
    })
}

#[cfg(test)]
#[path = "exposure_tests.rs"]
mod tests;
