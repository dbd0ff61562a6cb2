//! One route: what it must satisfy by itself, and what it becomes with every default filled in.

use std::collections::{BTreeMap, BTreeSet};

use super::check::check_duration;
use super::check::{NAMESPACE, is_namespace};
use super::{Problems, Reason, secret_file};
use crate::contract::{
    BackendConfig, ConfigMapFile, HeaderConfig, HedgingConfig, MatchConfig, ProjectsConfig, RetriesConfig,
    RouteConfig, TimeoutConfig, WeightedBackend,
};
use crate::names::DEFAULT_PROJECTS_KEY;
use crate::v1alpha1::{
    Boundary, DataBoundary, GoDuration, ProjectMatch, Role, Route, RouteBackend, RouteMatch,
};

/// Mistakes of the routes by themselves.
pub(super) fn check(routes: &[Route], problems: &mut Problems) {
    let mut names = BTreeSet::new();
    for (index, route) in routes.iter().enumerate() {
        let path = format!("spec.routes[{index}]");
        if !names.insert(&route.name) {
            let message = format!("\"{}\" is given twice", route.name);
            problems.add(Reason::Invalid, format!("{path}.name"), message);
        }
        check_backends(&path, &route.backends, problems);
        check_match(&path, route.matches.as_ref(), problems);
        check_times(&path, route, problems);
        check_shares(&path, route, problems);
    }
}

fn check_backends(path: &str, backends: &[RouteBackend], problems: &mut Problems) {
    if backends.is_empty() {
        problems.add(Reason::Invalid, format!("{path}.backends"), "at least one backend is required");
        return;
    }
    let mut names = BTreeSet::new();
    for (position, backend) in backends.iter().enumerate() {
        let path = format!("{path}.backends[{position}]");
        if !names.insert(&backend.name) {
            let message = format!("\"{}\" is given twice", backend.name);
            problems.add(Reason::Invalid, format!("{path}.name"), message);
        }
        if backend.namespace.as_deref().is_some_and(|namespace| !is_namespace(namespace)) {
            problems.add(Reason::Invalid, format!("{path}.namespace"), NAMESPACE);
        }
        if backend.role == Role::Shadow && backend.weight.is_some_and(|weight| weight > 100) {
            let message = "a Shadow's weight is the share of requests that are copied, 0 to 100";
            problems.add(Reason::Invalid, format!("{path}.weight"), message);
        }
    }
    if !backends.iter().any(|backend| backend.role == Role::Primary && backend.weight != Some(0)) {
        let message = "no Primary has a weight; give one backend the role Primary and a weight above 0";
        problems.add(Reason::Invalid, format!("{path}.backends"), message);
    }
}

fn check_match(path: &str, matches: Option<&RouteMatch>, problems: &mut Problems) {
    let Some(matches) = matches else { return };
    if matches.paths.iter().any(|path| !path.starts_with('/')) {
        problems.add(Reason::Invalid, format!("{path}.match.paths"), "a path begins with /");
    }
    if let Some(projects) = &matches.projects {
        let kinds =
            [projects.list.is_some(), projects.secret_ref.is_some(), projects.config_map_ref.is_some()];
        if kinds.iter().filter(|given| **given).count() != 1 {
            let message = "give exactly one of list, secretRef and configMapRef";
            problems.add(Reason::Invalid, format!("{path}.match.projects"), message);
        }
    }
    if matches.percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        problems.add(Reason::Invalid, format!("{path}.match.percent"), "must be between 0 and 100");
    }
}

fn check_times(path: &str, route: &Route, problems: &mut Problems) {
    let timeout = route.timeout.clone().unwrap_or_default();
    let after = route.hedging.as_ref().and_then(|hedging| hedging.after.clone());
    let fields = [
        ("timeout.connect", timeout.connect),
        ("timeout.firstByte", timeout.first_byte),
        ("timeout.firstToken", timeout.first_token),
        ("timeout.idle", timeout.idle),
        ("timeout.total", timeout.total),
        ("hedging.after", after),
    ];
    for (field, value) in fields {
        let path = format!("{path}.{field}");
        check_duration(&path, value.as_ref(), problems);
        if value.is_some_and(|value| value.parse().is_ok_and(|span| span.is_zero())) {
            problems.add(Reason::Invalid, path, "must be longer than 0");
        }
    }
}

fn check_shares(path: &str, route: &Route, problems: &mut Problems) {
    let retries = route.retries.clone().unwrap_or_default();
    if retries.max.is_some_and(|max| max > 5) {
        problems.add(Reason::Invalid, format!("{path}.retries.max"), "must be at most 5");
    }
    if retries.budget_percent.is_some_and(|percent| percent > 100) {
        problems.add(Reason::Invalid, format!("{path}.retries.budgetPercent"), "must be at most 100");
    }
    let hedging = route.hedging.as_ref().and_then(|hedging| hedging.budget_percent);
    if hedging.is_some_and(|percent| !(1..=20).contains(&percent)) {
        problems.add(Reason::Invalid, format!("{path}.hedging.budgetPercent"), "must be between 1 and 20");
    }
}

/// The route with every default; what is wrong with its backends is added to `problems`.
pub(super) fn compile(
    index: usize,
    route: &Route,
    own: &str,
    backends: &BTreeMap<String, BackendConfig>,
    problems: &mut Problems,
) -> RouteConfig {
    let matches = route.matches.clone().unwrap_or_default();
    let mut models = matches.models.clone();
    let derive = models.is_empty();
    for (position, backend) in route.backends.iter().enumerate() {
        let Some(config) = backends.get(&backend.key(own)) else { continue };
        if derive && backend.role != Role::Shadow {
            models.extend(std::iter::once(&config.model).chain(&config.aliases).cloned());
        }
        if route.data_boundary == DataBoundary::Cluster && config.boundary == Boundary::Outside {
            problems.add(
                Reason::DataBoundary,
                format!("spec.routes[{index}].backends[{position}].name"),
                format!(
                    "backend \"{}\" is outside ({}) and this route keeps source code inside; set spec.routes[{index}].dataBoundary: External, or spec.external.boundary: Inside on the backend if it is yours",
                    backend.name, config.boundary_reason
                ),
            );
        }
    }
    if hands_on(index, route, own, backends, problems) {
        // Its requests are chosen by their path alone.
        models.clear();
    }
    let mut seen = BTreeSet::new();
    models.retain(|model| seen.insert(model.clone()));
    RouteConfig {
        name: route.name.clone(),
        models,
        matches: compile_match(matches),
        data_boundary: route.data_boundary,
        backends: route.backends.iter().map(|backend| compile_backend(backend, own)).collect(),
        timeout: compile_timeout(route),
        retries: compile_retries(route),
        hedging: route.hedging.clone().map(|hedging| HedgingConfig {
            after_ms: hedging.after.as_ref().and_then(millis),
            budget_percent: hedging.budget_percent.unwrap_or(5),
        }),
    }
}

/// Whether the route hands requests on to another GitLab AI gateway. Such a route has paths, and no model of its own.
fn hands_on(
    index: usize,
    route: &Route,
    own: &str,
    backends: &BTreeMap<String, BackendConfig>,
    problems: &mut Problems,
) -> bool {
    let known: Vec<_> =
        route.backends.iter().filter_map(|used| Some((used.role, backends.get(&used.key(own))?))).collect();
    let gateways = known.iter().filter(|(_, config)| config.is_gitlab_gateway()).count();
    if gateways == 0 {
        return false;
    }
    let path = format!("spec.routes[{index}]");
    let mut refuse = |field: &str, message: &str| {
        problems.add(Reason::Invalid, format!("{path}.{field}"), message);
    };
    if gateways < known.len() {
        refuse(
            "backends",
            "backends with external.protocol: GitLab and others do not answer the same requests; give them routes of their own",
        );
    }
    if known.iter().any(|(role, _)| *role == Role::Shadow) {
        refuse(
            "backends",
            "what is handed on to a GitLab AI gateway is not copied; give it the role Primary or Fallback",
        );
    }
    let matches = route.matches.clone().unwrap_or_default();
    if matches.paths.is_empty() {
        refuse(
            "match.paths",
            "is required with a backend of external.protocol: GitLab; list what is handed on, such as /v1/chat/*",
        );
    }
    if !(matches.models.is_empty() && matches.languages.is_empty() && matches.projects.is_none()) {
        refuse(
            "match",
            "models, languages and projects stand in bodies, which are handed on unread to a GitLab AI gateway; remove them and choose by paths, headers or percent",
        );
    }
    true
}

fn compile_backend(backend: &RouteBackend, own: &str) -> WeightedBackend {
    let whole = if backend.role == Role::Shadow { 100 } else { 1 };
    WeightedBackend { name: backend.key(own), weight: backend.weight.unwrap_or(whole), role: backend.role }
}

fn compile_match(matches: RouteMatch) -> MatchConfig {
    let headers = matches.headers.into_iter();
    MatchConfig {
        paths: matches.paths,
        languages: matches.languages,
        projects: matches.projects.and_then(compile_projects),
        headers: headers
            .map(|header| HeaderConfig { name: header.name.to_ascii_lowercase(), value: header.value })
            .collect(),
        // Three decimals are what the hash can tell apart; the value is between 0 and 100.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        millipercent: matches.percent.map(|percent| (percent * 1000.0).round() as u32),
    }
}

fn compile_projects(projects: ProjectMatch) -> Option<ProjectsConfig> {
    if let Some(reference) = projects.secret_ref {
        return Some(ProjectsConfig::Secret(secret_file(reference, DEFAULT_PROJECTS_KEY)));
    }
    if let Some(reference) = projects.config_map_ref {
        let key = reference.key.unwrap_or_else(|| DEFAULT_PROJECTS_KEY.into());
        return Some(ProjectsConfig::ConfigMap(ConfigMapFile { config_map: reference.name, key }));
    }
    projects.list.map(ProjectsConfig::List)
}

fn compile_retries(route: &Route) -> RetriesConfig {
    let wanted = route.retries.clone().unwrap_or_default();
    let default = RetriesConfig::default();
    RetriesConfig {
        max: wanted.max.unwrap_or(default.max),
        budget_percent: wanted.budget_percent.unwrap_or(default.budget_percent),
    }
}

fn millis(value: &GoDuration) -> Option<u64> {
    u64::try_from(value.parse().ok()?.as_millis()).ok()
}

fn compile_timeout(route: &Route) -> TimeoutConfig {
    let wanted = route.timeout.clone().unwrap_or_default();
    let default = TimeoutConfig::default();
    let or = |value: Option<GoDuration>, default| value.as_ref().and_then(millis).unwrap_or(default);
    TimeoutConfig {
        connect_ms: or(wanted.connect, default.connect_ms),
        first_byte_ms: or(wanted.first_byte, default.first_byte_ms),
        first_token_ms: or(wanted.first_token, default.first_token_ms),
        idle_ms: or(wanted.idle, default.idle_ms),
        total_ms: or(wanted.total, default.total_ms),
    }
}
