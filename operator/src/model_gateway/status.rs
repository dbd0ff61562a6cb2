//! Step 5: what is known → the status. Pure.

use std::collections::BTreeSet;

use modelgate_api::compile::Problem;
use modelgate_api::conditions::{ACCEPTED, AUTH_RESOLVED, PROGRAMMED, reasons};
use modelgate_api::contract::GatewayConfig;
use modelgate_api::state::{BackendState, GatewayState};
use modelgate_api::v1alpha1::{GatewayInstances, ModelGatewayStatus, RouteBackendStatus, RouteStatus};

use super::build::Resources;
use super::dereference::References;
use super::exposure;
use super::validate::ValidatedGateway;
use crate::acknowledge::PodState;
use crate::conditions::{Conditions, Row, Truth, monitor_api};
use crate::k8s::child::Applied;
use crate::k8s::pods::is_monitored;
use crate::k8s::rollout::{Rollout, Trouble, is_ready, trouble};

/// What became of the spec.
pub enum Outcome {
    /// It is wrong; nothing was changed.
    Rejected(Vec<Problem>),
    /// The API server refused a child.
    Refused(String),
    /// The children stand.
    Applied {
        /// What they were made from.
        valid: Box<ValidatedGateway>,
        /// They.
        applied: Box<Resources<Applied>>,
    },
}

impl Outcome {
    /// An object that cannot be read.
    #[must_use]
    pub fn unreadable(error: &str) -> Self {
        Self::Rejected(vec![Problem {
            object: "ModelGateway".into(),
            path: "spec".into(),
            reason: modelgate_api::compile::Reason::Invalid,
            message: format!("cannot be read: {error}"),
        }])
    }
}

/// What [`compute`] makes a status of.
pub struct StatusInput<'a> {
    /// The status there was.
    pub before: Option<&'a ModelGatewayStatus>,
    /// Generation of the spec.
    pub generation: i64,
    /// What became of the spec.
    pub outcome: &'a Outcome,
    /// Pods; absent when the object could not be read.
    pub live: Option<&'a References>,
    /// What ready pods answered.
    pub states: &'a [PodState],
}

/// A condition in the making.
type Said = (Truth, &'static str, String);

/// All problems with their fields, the first first.
#[must_use]
pub fn list_problems(problems: &[Problem]) -> String {
    let list: Vec<_> = problems.iter().map(ToString::to_string).collect();
    list.join("; ")
}

/// The status.
#[must_use]
pub fn compute(input: &StatusInput<'_>) -> ModelGatewayStatus {
    let before = input.before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let conditions = Conditions::new(before, input.generation);
    match input.outcome {
        Outcome::Rejected(problems) => {
            let reason = problems.first().map_or(reasons::INVALID, |first| first.reason.as_str());
            let message = list_problems(problems);
            let conditions =
                conditions.row(Row::Stuck, reason, &message).with(ACCEPTED, Truth::False, reason, &message);
            let serving = input.states.iter().any(|pod| pod.state.is_ok());
            let rest = if serving { " (the configuration before it keeps serving)" } else { "" };
            kept(input, conditions, format!("{message}{rest}"))
        }
        Outcome::Refused(message) => {
            let conditions = conditions.row(Row::Stuck, reasons::CHILD_REFUSED, message);
            let conditions = conditions.with(ACCEPTED, Truth::True, reasons::AS_DESIRED, "the spec is valid");
            kept(input, conditions, message.clone())
        }
        Outcome::Applied { valid, applied } => applied_status(input, conditions, valid, applied),
    }
}

/// A status whose facts stay as they were because nothing was changed.
fn kept(input: &StatusInput<'_>, conditions: Conditions<'_>, summary: String) -> ModelGatewayStatus {
    let before = input.before.cloned().unwrap_or_default();
    ModelGatewayStatus {
        observed_generation: Some(input.generation),
        phase: Some("Failed".into()),
        summary: Some(summary),
        conditions: conditions.finish(),
        ..before
    }
}

fn applied_status(
    input: &StatusInput<'_>,
    conditions: Conditions<'_>,
    valid: &ValidatedGateway,
    applied: &Resources<Applied>,
) -> ModelGatewayStatus {
    let pods = input.live.map(|live| live.pods.as_slice()).unwrap_or_default();
    let ready: BTreeSet<&str> =
        pods.iter().filter(|pod| is_ready(pod)).filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    let states: Vec<&PodState> = input.states.iter().filter(|state| ready.contains(&*state.uid)).collect();
    let current: Vec<&GatewayState> = states
        .iter()
        .filter_map(|pod| pod.state.as_deref().ok())
        .filter(|state| state.config_hash == valid.hash)
        .collect();
    let rollout = Rollout::of(&applied.deployment);
    let programmed = programmed(&states, ready.len(), &valid.hash);
    let auth = auth_resolved(&valid.config, &current);
    let routes = routes(&valid.config, &current);
    let (row, reason, message) = overall(&rollout, trouble(pods), &programmed, &routes, &current);
    let address = exposure::addresses(valid, applied);
    let summary = match (row, address.first()) {
        (Row::Serving, Some(address)) => format!("serves at {address}"),
        _ => message.clone(),
    };
    let accepted = "the spec and its backends make a valid configuration";
    let conditions = conditions
        .row(row, reason, &message)
        .with(ACCEPTED, Truth::True, reasons::AS_DESIRED, accepted)
        .with(PROGRAMMED, programmed.0, programmed.1, &programmed.2)
        .with(AUTH_RESOLVED, auth.0, auth.1, &auth.2);
    let certificate = input.live.map(|live| &live.certificate);
    let conditions = exposure::conditions(conditions, valid, applied, certificate, &current);
    let monitored = is_monitored(valid.spec.monitoring.as_ref()).then_some(applied.monitor.is_some());
    let conditions = monitor_api(conditions, monitored);
    let instances = GatewayInstances {
        total: i32::try_from(ready.len()).unwrap_or(i32::MAX),
        programmed: i32::try_from(current.len()).unwrap_or(i32::MAX),
    };
    ModelGatewayStatus {
        observed_generation: Some(input.generation),
        phase: Some(phase(row).into()),
        summary: Some(summary),
        ready_instances: Some(format!("{}/{}", instances.programmed, rollout.desired)),
        conditions: conditions.finish(),
        addresses: address,
        instances: Some(instances),
        routes,
        pending_rollout: pending_rollout(&rollout, pods, &valid.config),
        config_hash: Some(valid.hash.clone()),
    }
}

fn phase(row: Row) -> &'static str {
    match row {
        Row::Serving => "Ready",
        Row::PartlyServing => "Degraded",
        Row::ServingWhileChanging => "Rolling",
        Row::UnderWay | Row::Unseen | Row::Unclear => "Pending",
        Row::Stuck => "Failed",
    }
}

fn programmed(states: &[&PodState], ready: usize, hash: &str) -> Said {
    if ready == 0 {
        return (Truth::False, reasons::WAITING_FOR_PODS, "no pod is ready yet".into());
    }
    if let Some((pod, error)) =
        states.iter().find_map(|pod| pod.state.as_ref().err().map(|error| (&pod.pod, error)))
    {
        let message = format!(
            "pod {pod} cannot be asked ({error}); a NetworkPolicy must let the operator reach its port 8083"
        );
        return (Truth::Unknown, reasons::INSTANCE_UNREACHABLE, message);
    }
    let behind = states.iter().filter_map(|pod| pod.state.as_ref().ok().map(|state| (&pod.pod, state)));
    let behind: Vec<_> = behind.filter(|(_, state)| state.config_hash != hash).collect();
    if let Some((pod, state)) = behind.first() {
        let why = state.problems.first().map_or_else(String::new, |problem| format!(": {problem}"));
        let count = ready.saturating_sub(behind.len());
        let message =
            format!("{count} of {ready} ready pods run the newest configuration; {pod} does not yet{why}");
        return (Truth::False, reasons::WAITING_FOR_PODS, message);
    }
    if states.len() < ready {
        let message = format!("{} of {ready} ready pods have answered", states.len());
        return (Truth::False, reasons::WAITING_FOR_PODS, message);
    }
    (Truth::True, reasons::PROGRAMMED, format!("all {ready} ready pods run the newest configuration"))
}

fn auth_resolved(config: &GatewayConfig, current: &[&GatewayState]) -> Said {
    if current.is_empty() {
        return (
            Truth::Unknown,
            reasons::WAITING_FOR_PODS,
            "no pod has answered for this configuration yet".into(),
        );
    }
    let missing = current.iter().flat_map(|state| &state.backends);
    if let Some(backend) =
        missing.filter(|backend| backend.reason == reasons::CREDENTIAL_MISSING).min_by_key(|b| &b.name)
    {
        let message = format!("backend {}: {}", backend.name, backend.message);
        return (Truth::False, reasons::CREDENTIAL_MISSING, message);
    }
    let unresolved = current.iter().flat_map(|state| &state.issuers).filter(|issuer| !issuer.resolved);
    if let Some(issuer) = unresolved.min_by_key(|issuer| &issuer.issuer) {
        let message = format!("issuer {}: {}", issuer.issuer, issuer.message);
        return (Truth::False, reasons::ISSUER_UNREACHABLE, message);
    }
    if config.auth.oidc.is_empty() {
        return (
            Truth::True,
            reasons::AS_DESIRED,
            "everybody is let in (spec.auth.anonymous); list an issuer to change that".into(),
        );
    }
    (Truth::True, reasons::AS_DESIRED, "every issuer's keys and every credential are there".into())
}

/// Routes as all current pods together see them: healthy is what every pod finds healthy.
fn routes(config: &GatewayConfig, current: &[&GatewayState]) -> Vec<RouteStatus> {
    let routes = config.routes.iter().map(|route| RouteStatus {
        name: route.name.clone(),
        backends: route.backends.iter().map(|backend| backend_status(&backend.name, current)).collect(),
    });
    routes.collect()
}

fn backend_status(name: &str, current: &[&GatewayState]) -> RouteBackendStatus {
    let seen: Vec<&BackendState> =
        current.iter().flat_map(|state| state.backends.iter().find(|backend| backend.name == name)).collect();
    let sick = seen.iter().find(|backend| !backend.healthy);
    let reason = match (sick, seen.first()) {
        (Some(sick), _) => sick.reason.clone(),
        (None, Some(well)) => well.reason.clone(),
        (None, None) => reasons::PENDING.into(),
    };
    RouteBackendStatus {
        name: name.into(),
        healthy: sick.is_none() && !seen.is_empty(),
        endpoints: seen
            .iter()
            .map(|backend| i32::try_from(backend.endpoints).unwrap_or(i32::MAX))
            .min()
            .unwrap_or(0),
        reason,
    }
}

fn overall(
    rollout: &Rollout,
    trouble: Option<Trouble>,
    programmed: &Said,
    routes: &[RouteStatus],
    current: &[&GatewayState],
) -> (Row, &'static str, String) {
    let pods = format!("{} pods ready", rollout.ratio());
    let trouble = trouble.map(|trouble| match trouble {
        Trouble::Unschedulable(why) => (reasons::UNSCHEDULABLE, why),
        Trouble::Container(why) => (reasons::LOADING, why),
    });
    if let (Some(overdue), false) = (&rollout.overdue, rollout.complete) {
        let why = trouble.map_or_else(|| overdue.clone(), |(_, why)| why);
        return (
            Row::Stuck,
            reasons::PROGRESS_DEADLINE,
            format!("{pods} and no progress in time ({why}); change the spec"),
        );
    }
    match programmed.0 {
        Truth::True => {}
        Truth::Unknown => return (Row::Unclear, programmed.1, programmed.2.clone()),
        Truth::False => {
            let (reason, why) = trouble.unwrap_or((programmed.1, programmed.2.clone()));
            return (Row::UnderWay, reason, format!("{pods}; {why}"));
        }
    }
    let serves = |name: &str| {
        current.iter().all(|state| state.routes.iter().any(|seen| seen.name == name && seen.serving))
    };
    let (serving, silent): (Vec<_>, Vec<_>) = routes.iter().partition(|route| serves(&route.name));
    if serving.is_empty() {
        let message =
            format!("no route serves ({}); see the status of these ModelBackends", sick(routes).join(", "));
        return (Row::UnderWay, reasons::NO_BACKEND_SERVES, message);
    }
    if !rollout.complete {
        let message = format!(
            "{pods}, {}/{} of the newest template; what is ready serves",
            rollout.updated, rollout.desired
        );
        return (Row::ServingWhileChanging, reasons::ROLLING, message);
    }
    let sick = sick(routes);
    if silent.is_empty() && sick.is_empty() {
        return (Row::Serving, reasons::PROGRAMMED, format!("{pods}, all routes serve"));
    }
    let silent: Vec<_> = silent.iter().map(|route| route.name.as_str()).collect();
    let message = match (silent.is_empty(), sick.is_empty()) {
        (true, _) => format!("all routes serve, but not all backends: {}; see their status", sick.join(", ")),
        (false, true) => format!("routes that do not serve: {}; see the gateway's log", silent.join(", ")),
        (false, false) => {
            format!(
                "routes that do not serve: {} ({}); see these ModelBackends",
                silent.join(", "),
                sick.join(", ")
            )
        }
    };
    (Row::PartlyServing, reasons::PARTLY_SERVING, message)
}

/// Backends that some pod finds unhealthy, with the reason.
fn sick(routes: &[RouteStatus]) -> Vec<String> {
    let sick = routes.iter().flat_map(|route| &route.backends).filter(|backend| !backend.healthy);
    let named: BTreeSet<_> = sick.map(|backend| format!("{}: {}", backend.name, backend.reason)).collect();
    named.into_iter().collect()
}

/// Why pods are being replaced, as far as it can be told: a Secret that some pod does not mount.
fn pending_rollout(
    rollout: &Rollout,
    pods: &[std::sync::Arc<k8s_openapi::api::core::v1::Pod>],
    config: &GatewayConfig,
) -> Option<String> {
    if rollout.complete || rollout.total == 0 || rollout.updated >= rollout.total {
        return None;
    }
    let mounted = |secret: &str| {
        pods.iter().all(|pod| {
            let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
            let secrets = volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.as_deref());
            secrets.into_iter().any(|name| name == secret)
        })
    };
    let new: Vec<_> = config.secrets().into_iter().filter(|secret| !mounted(secret)).collect();
    let replaced = format!("{}/{} pods replaced", rollout.updated, rollout.desired);
    Some(if new.is_empty() {
        format!("the pod template changed; {replaced}, none of them drops a request")
    } else {
        format!("pods must mount Secret {}; {replaced}, none of them drops a request", new.join(", "))
    })
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
