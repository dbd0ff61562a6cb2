//! When each ModelBackend last had a request, as gateway pods tell. Pure but for the clock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use modelgate_api::state::GatewayState;
use modelgate_api::v1alpha1::backend_of_key;
use tokio::time::Instant;

/// Namespace and name of a backend.
type Backend = (String, String);

/// What was seen of backends' requests. A backend that no gateway uses is not in here.
#[derive(Default)]
pub struct Activity(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// Requests that a pod (by UID) had counted for a backend.
    counted: HashMap<(String, Backend), u64>,
    busy: HashMap<Backend, Instant>,
}

impl Activity {
    /// A pod of a gateway of `namespace` answered.
    pub fn note(&self, namespace: &str, pod_uid: &str, state: &GatewayState) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for backend in &state.backends {
            let (of, name) = backend_of_key(&backend.name, namespace);
            let key = (of.to_owned(), name.to_owned());
            let before = seen.counted.insert((pod_uid.to_owned(), key.clone()), backend.requests);
            let asked = before.is_some_and(|before| before != backend.requests);
            if asked || backend.in_flight > 0 || backend.held > 0 {
                seen.busy.insert(key, now);
            } else {
                // The first look: idle from now on, for all that is known.
                seen.busy.entry(key).or_insert(now);
            }
        }
    }

    /// A pod is gone.
    pub fn forget(&self, pod_uid: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.counted.retain(|(uid, _), _| uid != pod_uid);
        let told: std::collections::HashSet<Backend> =
            seen.counted.keys().map(|(_, backend)| backend.clone()).collect();
        seen.busy.retain(|backend, _| told.contains(backend));
    }

    /// How long a backend has had no request, as far as was seen; `None` when no gateway tells.
    #[must_use]
    pub fn idle(&self, namespace: &str, name: &str) -> Option<Duration> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.busy.get(&(namespace.to_owned(), name.to_owned())).map(Instant::elapsed)
    }
}

#[cfg(test)]
mod tests {
    use modelgate_api::state::BackendState;

    use super::*;

    fn state(requests: u64, in_flight: u64) -> GatewayState {
        let backend = BackendState { name: "b".into(), requests, in_flight, ..BackendState::default() };
        GatewayState { backends: vec![backend], ..GatewayState::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn gateways_of_other_namespaces_count_too() {
        let activity = Activity::default();
        let mut elsewhere = state(5, 0);
        elsewhere.backends[0].name = "n/b".into();
        activity.note("other", "p1", &elsewhere);
        assert_eq!(activity.idle("n", "b"), Some(Duration::ZERO));
        assert_eq!(activity.idle("other", "b"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_is_idle_from_its_last_request_in_any_pod() {
        let activity = Activity::default();
        let minute = Duration::from_secs(60);
        assert_eq!(activity.idle("n", "b"), None);
        activity.note("n", "p1", &state(5, 0));
        activity.note("n", "p2", &state(9, 0));
        tokio::time::advance(minute).await;
        activity.note("n", "p1", &state(5, 0));
        assert_eq!(activity.idle("n", "b"), Some(minute));
        activity.note("n", "p2", &state(10, 0));
        assert_eq!(activity.idle("n", "b"), Some(Duration::ZERO));
        tokio::time::advance(minute).await;
        activity.note("n", "p1", &state(5, 1));
        assert_eq!(activity.idle("n", "b"), Some(Duration::ZERO));
        activity.forget("p1");
        assert!(activity.idle("n", "b").is_some());
        activity.forget("p2");
        assert_eq!(activity.idle("n", "b"), None);
    }
}
