//! Asking gateway pods what they run: one long poll of `/v1/state` for each ready pod, while this process leads. What a
//! pod answered is kept here, and whoever it concerns is woken. [I/O]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use modelgate_api::names::{CONTROL_PORT, GATEWAY_LABEL};
use modelgate_api::state::GatewayState;
use modelgate_api::v1alpha1::backend_of_key;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::context::{Ctx, Stores};
use crate::k8s::rollout::is_ready;
use crate::mapping::Wake;

/// How long a pod may keep a request when nothing changes.
const HOLD: Duration = Duration::from_secs(25);
/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(35);
/// Shortest time between two requests to one pod, whatever it answers.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time between two tries of a pod that cannot be asked.
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// Pods are compared with the pollers at least this often.
const SWEEP: Duration = Duration::from_secs(10);

/// A pod's state, or why it could not be asked.
pub type Answer = Result<Arc<GatewayState>, String>;

/// What one ready pod last said.
#[derive(Clone, Debug, PartialEq)]
pub struct PodState {
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// Its state, or why it could not be asked.
    pub state: Answer,
}

/// Identifies a ready pod of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Target {
    namespace: String,
    gateway: String,
    pod: String,
    uid: String,
    address: String,
}

/// What pods answered. Pods that were not asked yet are not in here.
#[derive(Clone, Default)]
pub struct Acknowledgements {
    states: Arc<Mutex<BTreeMap<Target, Answer>>>,
    /// Rung when pods come, go or become ready.
    pub pods_changed: Arc<Notify>,
}

impl Acknowledgements {
    /// What the ready pods of a gateway last said.
    #[must_use]
    pub fn of(&self, namespace: &str, gateway: &str) -> Vec<PodState> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let own =
            states.iter().filter(|(target, _)| target.namespace == namespace && target.gateway == gateway);
        own.map(|(target, state)| PodState {
            pod: target.pod.clone(),
            uid: target.uid.clone(),
            state: state.clone(),
        })
        .collect()
    }

    /// Remembers an answer; whether it says anything new.
    fn put(&self, target: &Target, state: Answer) -> bool {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let new = match (states.get(target), &state) {
            (Some(Ok(before)), Ok(after)) => essence(before) != essence(after),
            (Some(Err(_)), Err(_)) => false,
            _ => true,
        };
        states.insert(target.clone(), state);
        new
    }

    fn keep(&self, targets: &BTreeSet<Target>) -> Vec<Target> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = states.keys().filter(|target| !targets.contains(*target)).cloned().collect();
        states.retain(|target, _| targets.contains(target));
        gone
    }
}

/// What of a state a status quotes; counters and times change all the time.
fn essence(state: &GatewayState) -> GatewayState {
    let mut state = state.clone();
    state.seq = 0;
    for backend in &mut state.backends {
        (backend.in_flight, backend.held, backend.requests, backend.last_probe) = (0, 0, 0, None);
    }
    state
}

/// Keeps one poller for each ready gateway pod; runs until dropped.
pub async fn run(ctx: Arc<Ctx>, wake: mpsc::Sender<Wake>) {
    let mut pollers: HashMap<Target, AbortOnDrop> = HashMap::new();
    loop {
        let targets = targets(&ctx.stores);
        pollers.retain(|target, _| targets.contains(target));
        for gone in ctx.acknowledgements.keep(&targets) {
            ctx.activity.forget(&gone.uid);
            wake_all(&wake, &gone, None).await;
        }
        for target in targets {
            pollers.entry(target.clone()).or_insert_with(|| {
                let poller = tokio::spawn(poll(Arc::clone(&ctx), target, wake.clone()));
                AbortOnDrop(poller.abort_handle())
            });
        }
        let _ = tokio::time::timeout(SWEEP, ctx.acknowledgements.pods_changed.notified()).await;
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn targets(stores: &Stores) -> BTreeSet<Target> {
    let pods = stores.pods.state_filter(is_ready);
    let targets = pods.iter().filter_map(|pod| {
        let address = pod.status.as_ref()?.pod_ip.clone()?;
        Some(Target {
            namespace: pod.namespace()?,
            gateway: pod.labels().get(GATEWAY_LABEL)?.clone(),
            pod: pod.name_any(),
            uid: pod.uid()?,
            address,
        })
    });
    targets.collect()
}

async fn poll(ctx: Arc<Ctx>, target: Target, wake: mpsc::Sender<Wake>) {
    let mut since = None;
    let mut failures = 0_u32;
    loop {
        let state = ask(&ctx, &target, since).await;
        let pause = match &state {
            Ok(state) => {
                since = Some(state.seq);
                failures = 0;
                PAUSE
            }
            Err(_) => {
                since = None;
                failures = failures.saturating_add(1);
                Duration::from_millis(500).saturating_mul(1 << failures.min(6)).min(LONGEST_RETRY)
            }
        };
        let state = state.map(Arc::new);
        if let Ok(state) = &state {
            ctx.activity.note(&target.namespace, &target.uid, state);
        }
        // One failed request is no news: a pod restarts its listener, a packet is lost.
        if (state.is_ok() || failures > 1) && ctx.acknowledgements.put(&target, state.clone()) {
            if let Err(error) = &state {
                tracing::warn!(pod = target.pod, namespace = target.namespace, %error, "a gateway pod cannot be asked");
            }
            wake_all(&wake, &target, state.ok().as_deref()).await;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn wake_all(wake: &mpsc::Sender<Wake>, target: &Target, state: Option<&GatewayState>) {
    let inputs =
        state.into_iter().flat_map(|state| &state.inputs).filter(|input| input.kind == "ModelBackend");
    let backends = inputs.map(|input| {
        let (namespace, name) = backend_of_key(&input.name, &target.namespace);
        Wake::backend(namespace, name)
    });
    for woken in std::iter::once(Wake::gateway(&target.namespace, &target.gateway)).chain(backends) {
        // A closed channel means that the process stops.
        let _ = wake.send(woken).await;
    }
}

async fn ask(ctx: &Ctx, target: &Target, since: Option<u64>) -> Result<GatewayState, String> {
    let host =
        if target.address.contains(':') { format!("[{}]", target.address) } else { target.address.clone() };
    let since = since.map_or_else(String::new, |seq| format!("?since={seq}&wait={}s", HOLD.as_secs()));
    let url = format!("http://{host}:{CONTROL_PORT}/v1/state{since}");
    let answer = ctx.outbound.get(&url, LIMIT).await.map_err(|error| format!("GET {url}: {error}"))?;
    if answer.status != 200 {
        return Err(format!("GET {url} answered {}", answer.status));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| format!("GET {url}: the answer cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use modelgate_api::state::BackendState;

    use super::*;

    #[test]
    fn counters_are_no_news_and_health_is() {
        let acknowledgements = Acknowledgements::default();
        let text = |text: &str| text.to_owned();
        let target = Target {
            namespace: text("a"),
            gateway: text("g"),
            pod: text("p"),
            uid: text("u"),
            address: text("10.0.0.1"),
        };
        let state = |seq, in_flight, healthy| {
            let backend = BackendState { name: "b".into(), in_flight, healthy, ..BackendState::default() };
            Ok(Arc::new(GatewayState { seq, backends: vec![backend], ..GatewayState::default() }))
        };
        assert!(acknowledgements.put(&target, state(1, 0, true)));
        assert!(!acknowledgements.put(&target, state(2, 5, true)));
        assert!(acknowledgements.put(&target, state(3, 5, false)));
        assert!(acknowledgements.put(&target, Err("refused".into())));
        assert!(!acknowledgements.put(&target, Err("timed out".into())));
        assert_eq!(acknowledgements.of("a", "g").len(), 1);
        assert_eq!(acknowledgements.keep(&BTreeSet::new()).len(), 1);
        assert!(acknowledgements.of("a", "g").is_empty());
    }
}
