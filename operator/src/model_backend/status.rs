//! Step 5: what is known → the status. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use modelgate_api::compile::Problem;
use modelgate_api::conditions::{MODEL_CACHED, ROLLED_OUT, ROUTED, SCHEDULED, reasons};
use modelgate_api::names::{backend_child, service_fqdn};
use modelgate_api::v1alpha1::{
    BackendReplicas, Blocked, CacheStatus, DialectReport, ExternalServer, ModelBackendStatus, PendingChange,
    Probe, RolloutStatus,
};

use super::build::Resources;
use super::dereference::RoutedGateway;
use super::probe::Proof;
use super::rollout::choice::Choice;
use super::validate::{Place, ValidatedBackend};
use super::{download, placement};
use crate::args::Render;
use crate::conditions::{Conditions, Row, Truth, monitor_api};
use crate::k8s::child::Applied;
use crate::k8s::pods::is_monitored;
use crate::k8s::rollout::{Rollout, Trouble, trouble};

/// What a reconcile found, in the words of the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Row of the status table.
    pub row: Row,
    /// One CamelCase word.
    pub reason: &'static str,
    /// One sentence with the next step.
    pub message: String,
    /// Pods, where there are any.
    pub rollout: Option<Rollout>,
    /// Address at which the model is served.
    pub endpoint: Option<String>,
    /// Names under which it is served.
    pub served: Vec<String>,
    /// How its pods are replaced; absent where there are none.
    pub course: Option<Course>,
    /// Whether its ServiceMonitor is made; absent where none is wanted.
    pub monitored: Option<bool>,
    /// What `ModelCached` says: status, reason, message.
    pub cached: Option<(Truth, &'static str, String)>,
    /// How far a fetch is.
    pub cache: Option<CacheStatus>,
    /// Why pods find no node.
    pub blocked: Option<Blocked>,
    /// What `Scheduled` says: status, reason, message.
    pub scheduled: Option<(Truth, &'static str, String)>,
}

/// How pods are replaced, and what is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The way and why.
    pub choice: Choice,
    /// What a newer operator would change.
    pub pending: Vec<PendingChange>,
    /// Said when the template before stands again.
    pub restored: Option<String>,
}

impl Report {
    /// The same with how far the model's fetch is.
    #[must_use]
    pub fn fetched(mut self, cached: (Truth, &'static str, String), cache: Option<CacheStatus>) -> Self {
        if let (Some(cache), Row::UnderWay, reasons::LOADING) = (&cache, self.row, self.reason) {
            self.message = format!("{}; {}", self.message, download::words(cache));
            self.reason = reasons::DOWNLOADING;
        }
        (self.cached, self.cache) = (Some(cached), cache);
        self
    }

    /// The same with the course of rollouts. One that was taken back is the user's to mend, whatever serves meanwhile.
    #[must_use]
    pub fn on(mut self, course: Course) -> Self {
        if let Some(said) = &course.restored {
            self.message = format!("{said}: {}; change the spec to try again", self.message);
            (self.row, self.reason) = (Row::Stuck, reasons::ROLLED_BACK);
        }
        self.course = Some(course);
        self
    }

    /// Nothing changes until a person acts.
    #[must_use]
    pub fn stuck(reason: &'static str, message: String) -> Self {
        Self {
            row: Row::Stuck,
            reason,
            message,
            rollout: None,
            endpoint: None,
            served: Vec::new(),
            course: None,
            monitored: None,
            blocked: None,
            scheduled: None,
            cached: None,
            cache: None,
        }
    }

    /// Mistakes of the spec.
    #[must_use]
    pub fn invalid(problems: &[Problem]) -> Self {
        let list: Vec<_> =
            problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
        Self::stuck(problems.first().map_or(reasons::INVALID, |first| first.reason.as_str()), list.join("; "))
    }
}

/// What [`compute`] makes a status of.
pub struct StatusInput<'a> {
    /// The status there was.
    pub before: Option<&'a ModelBackendStatus>,
    /// Generation of the spec.
    pub generation: i64,
    /// What was found.
    pub report: Report,
    /// Gateways that use the backend; absent when the object could not be read.
    pub routed: Option<Vec<RoutedGateway>>,
    /// What a gateway measured of its server.
    pub dialect: Option<DialectReport>,
}

/// What there is to say of a backend whose children stand.
#[must_use]
pub fn report(
    backend: &ValidatedBackend,
    applied: &Resources<Applied>,
    pods: &[Arc<Pod>],
    proof: &Proof,
    blocked: Option<Blocked>,
    render: &Render,
) -> Report {
    let owner = &backend.owner;
    let (row, reason, message, rollout, endpoint) = match &backend.place {
        Place::Fake => {
            let message =
                "answers canned text from the gateway's memory; name it in a route of a ModelGateway".into();
            (Row::Serving, reasons::FAKE, message, None, None)
        }
        Place::External(external) => {
            let (row, reason, message) = of_external(external, proof);
            (row, reason, message, None, Some(external.base_url()))
        }
        Place::Server(server) => {
            let host = service_fqdn(&backend_child(&owner.name), &owner.namespace, &render.cluster_domain);
            let rollout = applied.deployment.as_ref().map(Rollout::of).unwrap_or_default();
            let (row, reason, message) = of_server(
                &rollout,
                placement::told(trouble(pods), blocked.as_ref()),
                proof,
                &owner.namespace,
                &owner.name,
            );
            (row, reason, message, Some(rollout), Some(format!("http://{host}:{}/v1", server.port)))
        }
    };
    let served = match row {
        Row::Serving | Row::ServingWhileChanging => {
            std::iter::once(&backend.model.name).chain(&backend.model.aliases).cloned().collect()
        }
        _ => Vec::new(),
    };
    let wanted = match &backend.place {
        Place::Server(server) => is_monitored(server.monitoring.as_ref()),
        Place::External(_) | Place::Fake => false,
    };
    let monitored = wanted.then_some(applied.monitor.is_some());
    let scheduled = rollout.as_ref().map(|_| placement::scheduled(pods, blocked.as_ref()));
    Report {
        row,
        reason,
        message,
        rollout,
        endpoint,
        served,
        course: None,
        monitored,
        blocked,
        scheduled,
        cached: None,
        cache: None,
    }
}

fn of_external(external: &ExternalServer, proof: &Proof) -> (Row, &'static str, String) {
    let url = external.base_url();
    match &proof.outcome {
        None if external.probe == Probe::None => (
            Row::Serving,
            reasons::NOT_PROBED,
            format!("{url} is taken as it is; set spec.external.probe to have it checked"),
        ),
        None => (Row::UnderWay, reasons::PENDING, format!("{url} is about to be probed")),
        Some(Ok(())) => (Row::Serving, reasons::REACHABLE, format!("{url} answers")),
        Some(Err(why)) => {
            let message = format!(
                "{url} does not answer ({why}); check the address and the network, it is tried again"
            );
            (Row::UnderWay, reasons::UNREACHABLE, message)
        }
    }
}

fn of_server(
    rollout: &Rollout,
    trouble: Option<Trouble>,
    proof: &Proof,
    namespace: &str,
    name: &str,
) -> (Row, &'static str, String) {
    let logs = format!("kubectl -n {namespace} logs deploy/{} -c engine", backend_child(name));
    let ratio = rollout.ratio();
    if let (Some(overdue), false) = (&rollout.overdue, rollout.complete) {
        let why = match &trouble {
            Some(Trouble::Unschedulable(why) | Trouble::Container(why)) => why,
            None => overdue,
        };
        let message =
            format!("{ratio} pods ready and no progress in time ({why}); see `{logs}`, then change the spec");
        return (Row::Stuck, reasons::PROGRESS_DEADLINE, message);
    }
    let proved = match &proof.outcome {
        Some(Ok(())) => true,
        Some(Err(why)) => {
            let message = format!("{ratio} pods ready but no completion comes back ({why}); see `{logs}`");
            return (Row::UnderWay, reasons::PROBE_FAILED, message);
        }
        None => false,
    };
    let serving = proved && rollout.ready > 0;
    if serving && rollout.complete {
        return (Row::Serving, reasons::SERVED, format!("{ratio} pods ready and a completion came back"));
    }
    let row = if serving { Row::ServingWhileChanging } else { Row::UnderWay };
    match trouble {
        Some(Trouble::Unschedulable(why)) => {
            (row, reasons::UNSCHEDULABLE, format!("{ratio} pods ready; {why}"))
        }
        Some(Trouble::Container(why)) => {
            (row, reasons::LOADING, format!("{ratio} pods ready; {why}; see `{logs}`"))
        }
        None if serving => {
            let updated = format!("{}/{} of them of the newest template", rollout.updated, rollout.desired);
            (row, reasons::ROLLING, format!("{ratio} pods ready, {updated}; what is ready serves meanwhile"))
        }
        None => {
            (row, reasons::LOADING, format!("{ratio} pods ready; pods start or load the model, see `{logs}`"))
        }
    }
}

/// The status.
#[must_use]
pub fn compute(input: &StatusInput<'_>) -> ModelBackendStatus {
    let before = input.before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let Report {
        row,
        reason,
        message,
        rollout,
        endpoint,
        served,
        course,
        monitored,
        blocked,
        scheduled,
        cached,
        cache,
    } = &input.report;
    let mut conditions = Conditions::new(before, input.generation).row(*row, reason, message);
    if let Some(gateways) = &input.routed {
        let (truth, reason, message) = routed(gateways);
        conditions = conditions.with(ROUTED, truth, reason, &message);
    }
    if let Some((truth, reason, message)) = cached {
        conditions = conditions.with(MODEL_CACHED, *truth, reason, message);
    }
    if let Some((truth, reason, message)) = scheduled {
        conditions = conditions.with(SCHEDULED, *truth, reason, message);
    }
    if let (Some(rollout), Some(course)) = (rollout, course) {
        let (truth, reason, message) = rolled_out(rollout, course);
        conditions = conditions.with(ROLLED_OUT, truth, reason, &message);
    }
    conditions = monitor_api(conditions, *monitored);
    ModelBackendStatus {
        observed_generation: Some(input.generation),
        phase: Some(phase(*row, reason).into()),
        summary: Some(message.clone()),
        ready_replicas: rollout.as_ref().map(Rollout::ratio),
        conditions: conditions.finish(),
        replicas: rollout.as_ref().map(|rollout| BackendReplicas {
            desired: rollout.desired,
            total: rollout.total,
            ready: rollout.ready,
            updated: rollout.updated,
        }),
        endpoint: endpoint.clone(),
        served_models: served.clone(),
        dialect: input.dialect.clone(),
        cache: cache.clone(),
        blocked: blocked.clone(),
        rollout: course.as_ref().map(|course| rollout_status(course, rollout.as_ref(), input.before)),
        pending_changes: course.as_ref().map(|course| course.pending.clone()).unwrap_or_default(),
    }
}

fn rolled_out(rollout: &Rollout, course: &Course) -> (Truth, &'static str, String) {
    let pods = format!("{}/{} pods of the newest template", rollout.updated, rollout.desired);
    let Choice { strategy, why } = &course.choice;
    let way = format!("{} because {why}", strategy.as_str());
    if let Some(said) = &course.restored {
        return (Truth::False, reasons::ROLLED_BACK, said.clone());
    }
    match (&rollout.overdue, rollout.complete) {
        (_, true) => (Truth::True, reasons::ROLLED_OUT, format!("{pods}; replaced by {way}")),
        (Some(late), false) => (Truth::False, reasons::PROGRESS_DEADLINE, format!("{pods}: {late}")),
        (None, false) => (Truth::False, reasons::ROLLING, format!("{pods}; {way}")),
    }
}

/// Times without a ready pod are counted from the first to the next status that saw one.
fn rollout_status(
    course: &Course,
    rollout: Option<&Rollout>,
    before: Option<&ModelBackendStatus>,
) -> RolloutStatus {
    let past = before.and_then(|before| before.rollout.clone()).unwrap_or_default();
    let was_ready = before.and_then(|before| before.replicas.as_ref()).is_some_and(|pods| pods.ready > 0);
    let (wanted, ready) = rollout.map_or((false, false), |rollout| (rollout.desired > 0, rollout.ready > 0));
    let unavailable_since = match past.unavailable_since.clone() {
        _ if ready || !wanted => None,
        Some(since) => Some(since),
        None => was_ready.then(crate::conditions::now),
    };
    let ended =
        past.unavailable_since.filter(|_| ready).and_then(|since| crate::conditions::seconds_since(&since));
    RolloutStatus {
        strategy: course.choice.strategy.as_str().into(),
        why: course.choice.why.clone(),
        restored: course.restored.clone(),
        unavailable_since,
        longest_unavailable_seconds: past.longest_unavailable_seconds.max(ended),
    }
}

fn phase(row: Row, reason: &str) -> &'static str {
    match row {
        Row::Serving => "Ready",
        Row::PartlyServing => "Degraded",
        Row::ServingWhileChanging => "Rolling",
        Row::Stuck => "Failed",
        Row::UnderWay if reason == reasons::DOWNLOADING => "Caching",
        Row::UnderWay if reason == reasons::LOADING || reason == reasons::PROBE_FAILED => "Loading",
        Row::UnderWay | Row::Unseen | Row::Unclear => "Pending",
    }
}

fn routed(gateways: &[RoutedGateway]) -> (Truth, &'static str, String) {
    if gateways.is_empty() {
        let message = "no ModelGateway that may use it names it; add it to spec.routes[].backends of one";
        return (Truth::False, reasons::NOT_REFERENCED, message.into());
    }
    let behind = gateways.iter().filter(|gateway| gateway.pods == 0 || gateway.current < gateway.pods);
    let behind: Vec<_> =
        behind.map(|gateway| format!("{} ({}/{})", gateway.name, gateway.current, gateway.pods)).collect();
    if behind.is_empty() {
        let names: Vec<_> = gateways.iter().map(|gateway| gateway.name.as_str()).collect();
        return (
            Truth::True,
            reasons::PROGRAMMED,
            format!("every pod of {} runs its newest spec", names.join(", ")),
        );
    }
    let message = format!("pods that run its newest spec: {}; see these gateways' status", behind.join(", "));
    (Truth::False, reasons::WAITING_FOR_PODS, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(ready: i32, complete: bool, overdue: Option<&str>) -> Rollout {
        let overdue = overdue.map(str::to_owned);
        Rollout { desired: 2, total: 2, ready, updated: 1, complete, overdue, revision: "u/1".into() }
    }

    fn proof(outcome: Option<Result<(), &str>>) -> Proof {
        Proof { outcome: outcome.map(|outcome| outcome.map_err(str::to_owned)), again: None }
    }

    #[test]
    fn a_server_is_in_the_row_that_its_pods_and_its_proof_say() {
        let unschedulable = || Some(Trouble::Unschedulable("pod p: 0/3 nodes are available.".into()));
        let cases = [
            (rollout(0, false, None), None, None, Row::UnderWay, "Loading"),
            (rollout(0, false, None), unschedulable(), None, Row::UnderWay, "Unschedulable"),
            (rollout(2, true, None), None, Some(Ok(())), Row::Serving, "Served"),
            (rollout(1, false, None), None, Some(Ok(())), Row::ServingWhileChanging, "Rolling"),
            (
                rollout(1, false, None),
                unschedulable(),
                Some(Ok(())),
                Row::ServingWhileChanging,
                "Unschedulable",
            ),
            (rollout(2, true, None), None, Some(Err("503")), Row::UnderWay, "ProbeFailed"),
            (rollout(0, false, Some("late")), None, None, Row::Stuck, "ProgressDeadlineExceeded"),
            (rollout(1, false, Some("late")), None, Some(Ok(())), Row::Stuck, "ProgressDeadlineExceeded"),
        ];
        for (rollout, trouble, outcome, row, reason) in cases {
            let (found, why, message) = of_server(&rollout, trouble, &proof(outcome), "ns", "b");
            assert_eq!((found, why), (row, reason), "{rollout:?}: {message}");
            assert!(message.contains("pods ready"), "{message}");
        }
    }

    #[test]
    fn a_mistake_of_the_spec_is_told_with_every_field() {
        let problem = |path: &str| Problem {
            object: "ModelBackend b".into(),
            path: path.into(),
            reason: modelgate_api::compile::Reason::Invalid,
            message: "is wrong".into(),
        };
        let report = Report::invalid(&[problem("spec.a"), problem("spec.b")]);
        let input =
            StatusInput { before: None, generation: 7, report, routed: Some(Vec::new()), dialect: None };
        let status = compute(&input);
        assert_eq!(status.phase.as_deref(), Some("Failed"));
        assert_eq!(status.summary.as_deref(), Some("spec.a: is wrong; spec.b: is wrong"));
        assert_eq!(status.observed_generation, Some(7));
        let routed = status.conditions.iter().find(|condition| condition.kind == "Routed").unwrap();
        assert_eq!(routed.reason, "NotReferenced");
    }

    #[test]
    fn routed_is_true_only_when_every_pod_of_every_gateway_is_current() {
        let gateway = |pods, current| RoutedGateway { name: "g".into(), pods, current };
        assert_eq!(routed(&[gateway(2, 2)]).0, Truth::True);
        assert_eq!(routed(&[gateway(2, 2), gateway(2, 1)]).0, Truth::False);
        assert_eq!(routed(&[gateway(0, 0)]).0, Truth::False);
    }
}
