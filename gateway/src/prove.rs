//! The proving completion: for every new configuration the gateway asks each route's backends for one token, through its
//! own pipeline, and the state document tells whether an answer came. For outside servers only where the user said so.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::app::Gateway;
use crate::config::snapshot::{Proof, Route, Snapshot};
use crate::error::GatewayError;
use crate::pipeline::{dispatch, postprocess, prompt};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// While a backend is not healthy there is nothing to prove; its probe tells when.
const HEALTH_PAUSE: Duration = Duration::from_millis(200);

/// Starts proving every route of the snapshot. The task ends with success, or when another snapshot is in force.
pub fn start(gateway: &Arc<Gateway>, snapshot: &Arc<Snapshot>) {
    for route in snapshot.routes.iter().filter(|route| route.proof() == Proof::Pending) {
        tokio::spawn(until_passed(Arc::downgrade(gateway), Arc::downgrade(snapshot), Arc::clone(route)));
    }
}

async fn until_passed(gateway: Weak<Gateway>, snapshot: Weak<Snapshot>, route: Arc<Route>) {
    let mut pause = FIRST_PAUSE;
    loop {
        if snapshot.strong_count() == 0 {
            return;
        }
        if !route.answering().any(|(backend, _)| backend.is_provable() && backend.is_healthy()) {
            tokio::time::sleep(HEALTH_PAUSE).await;
            continue;
        }
        let result = prove(&route).await;
        let Some(gateway) = gateway.upgrade() else { return };
        let passed = result.is_ok();
        let proof = result.map_or_else(|error| Proof::Failed(error.to_string()), |()| Proof::Passed);
        if route.set_proof(proof) {
            tracing::info!(route = %route.name, passed, "the gateway's own completion ended");
            gateway.workshop.changed.notify();
        }
        if passed {
            return;
        }
        drop(gateway);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One token from any backend that may be asked.
async fn prove(route: &Arc<Route>) -> Result<(), GatewayError> {
    let mut last = GatewayError::NoBackend("none may be asked");
    for (backend, _) in route.answering().filter(|(backend, _)| backend.is_provable() && backend.is_healthy())
    {
        let rendered = prompt::proof();
        let result = match dispatch::to_backend(route, backend, &rendered).await {
            Ok(upstream) => postprocess::text(upstream, route).await.map(|_| ()),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
