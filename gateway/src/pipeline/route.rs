//! Which route takes a request, and which backend of it. Pure but for the randomness, which is handed in.

use std::sync::Arc;

use super::boundary;
use crate::backend::Backend;
use crate::caller::Caller;
use crate::config::snapshot::{Route, Snapshot};
use crate::error::GatewayError;

/// The route for a request that names no model: the first.
///
/// # Errors
/// When there is none.
pub fn first(snapshot: &Snapshot) -> Result<Arc<Route>, GatewayError> {
    snapshot.routes.first().cloned().ok_or(GatewayError::NoBackend("no route is configured"))
}

/// The first route that takes the model.
///
/// # Errors
/// [`GatewayError::UnknownModel`].
pub fn of_model(snapshot: &Snapshot, model: &str) -> Result<Arc<Route>, GatewayError> {
    let found = snapshot.routes.iter().find(|route| route.takes(model));
    found.cloned().ok_or_else(|| GatewayError::UnknownModel { model: model.chars().take(128).collect() })
}

/// A backend by weight: of the healthy ones, or of all when none is, since a probe may be wrong and a request is the
/// better one. `except` is taken only when there is no other. `dice` is in `0..1`.
#[must_use]
pub fn backend<'a>(
    route: &'a Route,
    caller: Option<&Caller>,
    except: Option<&Arc<Backend>>,
    dice: f64,
) -> Option<&'a Arc<Backend>> {
    let usable = |backend: &Backend| {
        backend.missing_credential().is_none() && boundary::check(route, backend, caller).is_ok()
    };
    let weighted = || route.backends.iter().filter(|(backend, weight)| *weight > 0 && usable(backend));
    let other = |backend: &Arc<Backend>| except.is_none_or(|except| !Arc::ptr_eq(except, backend));
    let healthy: Vec<_> = weighted().filter(|(backend, _)| backend.is_healthy() && other(backend)).collect();
    if !healthy.is_empty() {
        return choose(&healthy, dice);
    }
    let others: Vec<_> = weighted().filter(|(backend, _)| other(backend)).collect();
    let left = if others.is_empty() { weighted().collect() } else { others };
    choose(&left, dice)
}

fn choose<'a, T>(weighted: &[&'a (T, u32)], dice: f64) -> Option<&'a T> {
    let total: f64 = weighted.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let mut left = dice * total;
    for (choice, weight) in weighted {
        left -= f64::from(*weight);
        if left < 0.0 {
            return Some(choice);
        }
    }
    weighted.last().map(|(choice, _)| choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_weights() {
        let weighted = [("a", 1), ("b", 3)];
        let weighted: Vec<&(&str, u32)> = weighted.iter().collect();
        let chosen: Vec<&str> =
            [0.0, 0.24, 0.25, 0.5, 0.999, 1.0].map(|dice| *choose(&weighted, dice).unwrap()).to_vec();
        assert_eq!(chosen, ["a", "a", "b", "b", "b", "b"]);
        assert_eq!(choose::<&str>(&[], 0.5), None);
    }
}
