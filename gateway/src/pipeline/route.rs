//! Which route takes a request, and which address of which backend of it. Pure but for dice.

use std::sync::Arc;
use std::time::Duration;

use super::boundary;
use crate::backend::Backend;
use crate::backend::endpoint::{Endpoint, Load, Pick};
use crate::caller::Caller;
use crate::config::snapshot::{Route, Snapshot};
use crate::error::GatewayError;
use crate::routing::matcher::Facts;

/// The first route that takes the request.
///
/// # Errors
/// [`GatewayError::UnknownModel`] for a model that no route takes.
pub fn find(snapshot: &Snapshot, facts: &Facts<'_>) -> Result<Arc<Route>, GatewayError> {
    let found = snapshot.routes.iter().find(|route| !route.hands_on() && route.matcher.takes(facts)).cloned();
    found.ok_or_else(|| match facts.model {
        Some(model) => GatewayError::UnknownModel { model: model.chars().take(128).collect() },
        None => GatewayError::NoBackend("no route takes such a request"),
    })
}

/// Where to send an attempt.
pub enum Target {
    /// There; why, in a word.
    Send(Arc<Backend>, Arc<Endpoint>, &'static str),
    /// Nowhere yet: every address is left alone, the first until then; `true`: because it asked for that.
    Wait(Duration, bool),
    /// Nowhere.
    None,
}

/// Which backends may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// Those of the first choice.
    Primary,
    /// Also fallbacks.
    All,
}

/// An address that was not `tried`: of a healthy backend of the first choice, drawn by weight; else of a healthy fallback;
/// else of a sick one, since a probe may be wrong and a request is the better one.
#[must_use]
pub fn target(
    route: &Route,
    caller: Option<&Caller>,
    load: Load<'_>,
    tried: &[Arc<Endpoint>],
    roles: Roles,
) -> Target {
    let groups = [
        (&route.backends, true),
        (&route.fallbacks, true),
        (&route.backends, false),
        (&route.fallbacks, false),
    ];
    let mut wait = None::<(Duration, bool)>;
    for (place, (group, healthy)) in groups.into_iter().enumerate() {
        let is_fallback = place % 2 == 1;
        if is_fallback && roles == Roles::Primary {
            continue;
        }
        // A short pause that a backend asked for is waited for rather than spent at a fallback.
        if is_fallback && wait.is_some_and(|(pause, asked)| asked && pause <= crate::limits::WAIT_FOR_BUSY) {
            break;
        }
        let usable = |(backend, weight): &&(Arc<Backend>, u32)| {
            *weight > 0
                && backend.is_healthy() == healthy
                && backend.missing_credential().is_none()
                && boundary::check(route, backend, caller).is_ok()
        };
        let mut left: Vec<&(Arc<Backend>, u32)> = group.iter().filter(usable).collect();
        while let Some(index) = draw(&left, rand::random()) {
            let (backend, _) = left.swap_remove(index);
            match backend.pick(load, tried) {
                Pick::Take(endpoint, why) => {
                    let why = if is_fallback { "fallback" } else { why };
                    return Target::Send(Arc::clone(backend), endpoint, why);
                }
                Pick::Wait(pause, asked) if wait.is_none_or(|(shortest, _)| pause < shortest) => {
                    wait = Some((pause, asked));
                }
                Pick::Wait(..) | Pick::None => {}
            }
        }
    }
    wait.map_or(Target::None, |(pause, asked)| Target::Wait(pause, asked))
}

/// Draws by weight; `dice` is in `0..1`.
fn draw<T>(weighted: &[&(T, u32)], dice: f64) -> Option<usize> {
    if weighted.len() < 2 {
        return weighted.len().checked_sub(1);
    }
    let total: f64 = weighted.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let mut left = dice * total;
    for (index, (_, weight)) in weighted.iter().enumerate() {
        left -= f64::from(*weight);
        if left < 0.0 {
            return Some(index);
        }
    }
    weighted.len().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_weights() {
        let weighted = [("a", 1), ("b", 3)];
        let weighted: Vec<&(&str, u32)> = weighted.iter().collect();
        let chosen = [0.0, 0.24, 0.25, 0.5, 0.999, 1.0].map(|dice| draw(&weighted, dice));
        assert_eq!(chosen, [0, 0, 1, 1, 1, 1].map(Some));
        assert_eq!(draw::<&str>(&[], 0.5), None);
    }
}
