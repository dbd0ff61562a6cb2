//! How far a pod is that fetches its model: asked of the init container while it runs. [I/O: `ask`]

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use modelgate_api::conditions::reasons;
use modelgate_api::v1alpha1::CacheStatus;
use serde::Deserialize;

use super::build::FETCH;
use super::validate::{Source, ValidatedServer};
use crate::conditions::Truth;
use crate::context::Ctx;
use crate::k8s::rollout::{Trouble, trouble};

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(2);
/// While a model is fetched it is looked at again after this.
pub const AGAIN: Duration = Duration::from_secs(5);

/// What the fetching program tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    bytes: u64,
    total: Option<u64>,
    bytes_per_second: Option<u64>,
}

/// How far the first pod is that fetches.
pub async fn ask(ctx: &Ctx, pods: &[Arc<Pod>], server: &ValidatedServer) -> Option<CacheStatus> {
    let pod = pods.iter().find(|pod| fetching(pod))?;
    let address = pod.status.as_ref()?.pod_ip.clone()?;
    let host = if address.contains(':') { format!("[{address}]") } else { address };
    let told = ctx.outbound.get(&format!("http://{host}:{}/", server.port), LIMIT).await;
    let told: Told = serde_json::from_slice(&told.ok().filter(|answer| answer.status == 200)?.body).ok()?;
    Some(status(&told))
}

fn status(told: &Told) -> CacheStatus {
    let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let left = told.total.map(|total| total.saturating_sub(told.bytes));
    let eta = left.zip(told.bytes_per_second).and_then(|(left, rate)| left.checked_div(rate));
    CacheStatus {
        bytes: whole(told.bytes),
        total: told.total.map(whole),
        bytes_per_second: told.bytes_per_second.map(whole),
        eta_seconds: eta.map(whole),
    }
}

fn init(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    all.iter().find(|container| container.name == FETCH)
}

fn fetching(pod: &Pod) -> bool {
    init(pod).and_then(|container| container.state.as_ref()).is_some_and(|state| state.running.is_some())
}

/// The condition `ModelCached`.
#[must_use]
pub fn cached(
    source: &Source,
    pods: &[Arc<Pod>],
    now: Option<&CacheStatus>,
) -> (Truth, &'static str, String) {
    match source {
        Source::Claim(_) | Source::Oci(_) | Source::Image => {
            return (
                Truth::True,
                reasons::NOT_FETCHED,
                "the model's files are mounted, nothing is fetched".into(),
            );
        }
        Source::Hub(_) => {
            let message = "the engine fetches the model by itself; its log says how far it is";
            return (Truth::Unknown, reasons::FETCHED_BY_ENGINE, message.into());
        }
        Source::Http(_) => {}
    }
    if let Some(now) = now {
        return (Truth::False, reasons::DOWNLOADING, words(now));
    }
    let done = |pod: &Arc<Pod>| {
        let ended = init(pod).and_then(|container| container.state.as_ref()?.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 0)
    };
    if !pods.is_empty() && pods.iter().all(done) {
        return (
            Truth::True,
            reasons::CACHED,
            "the file is there, with the digest that the spec names".into(),
        );
    }
    let failed = pods.iter().find(|pod| {
        let last = init(pod).and_then(|container| container.last_state.as_ref());
        !done(pod) && last.is_some_and(|last| last.terminated.is_some())
    });
    match failed.and_then(|pod| trouble(&[Arc::clone(pod)])) {
        Some(Trouble::Container(why)) => (Truth::False, reasons::DOWNLOAD_FAILED, why),
        _ if pods.iter().any(|pod| fetching(pod)) => (
            Truth::False,
            reasons::DOWNLOADING,
            "a pod fetches the model; how far it is could not be asked".into(),
        ),
        _ => (Truth::Unknown, reasons::PENDING, "no pod fetches the model yet".into()),
    }
}

/// `3.1 GiB of 14.2 GiB, 85 MiB/s, 2 min left`.
#[must_use]
pub fn words(now: &CacheStatus) -> String {
    #[allow(clippy::cast_precision_loss)] // Shown to a tenth.
    let gib = |bytes: i64| modelgate_api::sizing::gib(bytes as f64);
    let of = now.total.map_or_else(String::new, |total| format!(" of {}", gib(total)));
    let rate = now.bytes_per_second.map_or_else(String::new, |rate| format!(", {} MiB/s", rate >> 20));
    let left = match now.eta_seconds {
        Some(seconds @ ..60) => format!(", {seconds} s left"),
        Some(seconds) => format!(", {} min left", seconds / 60),
        None => String::new(),
    };
    format!("fetching the model: {}{of}{rate}{left}", gib(now.bytes))
}

#[cfg(test)]
mod tests {
    use modelgate_api::v1alpha1::HttpSource;
    use serde_json::{Value, json};

    use super::*;

    fn pod(state: &Value, last: &Value) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"initContainerStatuses": [
                {"name": FETCH, "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": state, "lastState": last}]}}))
            .unwrap(),
        )
    }

    #[test]
    fn a_fetch_is_told_with_bytes_rate_and_time_left() {
        let now = status(&Told { bytes: 3 << 30, total: Some(15 << 30), bytes_per_second: Some(64 << 20) });
        assert_eq!(words(&now), "fetching the model: 3.0 GiB of 15.0 GiB, 64 MiB/s, 3 min left");
        let unknown = status(&Told { bytes: 1 << 30, total: None, bytes_per_second: Some(0) });
        assert_eq!(words(&unknown), "fetching the model: 1.0 GiB, 0 MiB/s");
        let stalled = status(&Told { bytes: 0, total: Some(1), bytes_per_second: Some(0) });
        assert_eq!(stalled.eta_seconds, None);
    }

    #[test]
    fn the_condition_follows_the_init_container() {
        let source = Source::Http(HttpSource { url: "http://h/f".into(), sha256: "0".repeat(64) });
        let reason = |pods: &[Arc<Pod>], now: Option<&CacheStatus>| cached(&source, pods, now).1;
        let running = pod(&json!({"running": {}}), &json!({}));
        let done = pod(&json!({"terminated": {"exitCode": 0}}), &json!({}));
        let failed = pod(
            &json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            &json!({"terminated": {"exitCode": 2, "reason": "Error", "message": "another digest"}}),
        );
        assert_eq!(reason(&[], None), reasons::PENDING);
        assert_eq!(reason(&[Arc::clone(&running)], None), reasons::DOWNLOADING);
        assert_eq!(reason(&[Arc::clone(&running)], Some(&CacheStatus::default())), reasons::DOWNLOADING);
        assert_eq!(reason(&[Arc::clone(&done)], None), reasons::CACHED);
        assert_eq!(reason(&[done, failed], None), reasons::DOWNLOAD_FAILED);
    }
}
