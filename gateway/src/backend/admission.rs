//! Who may send to a backend, and when: a bounded number at once, a bounded number waiting in the order they came, and for
//! a backend without a pod only those whose time is longer than its wake-up is expected to take. Every request that finds
//! no pod is counted: that is the signal by which a model at zero is woken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use modelgate_api::contract::{AdmissionConfig, Target};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Backend;
use crate::error::GatewayError;
use crate::state::Changed;

/// Wake-ups that are remembered; the slowest of them is expected.
const REMEMBERED: usize = 4;
/// Shortest time between two tellings that the demand grows; the first is told at once.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Who may send to one backend.
pub(super) struct Admission {
    config: AdmissionConfig,
    places: Option<Arc<Semaphore>>,
    waiting: Arc<AtomicU64>,
    held: Arc<AtomicU64>,
    demand: AtomicU64,
    wake: Mutex<Wake>,
    /// The name of its pods was looked up once.
    is_known: AtomicBool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// A pod is there, or it is known that none is.
    news: Notify,
    /// Somebody waits for a pod.
    wanted: Notify,
}

#[derive(Default)]
struct Wake {
    /// When the first request found no pod.
    since: Option<Instant>,
    told: Option<Instant>,
    observed: VecDeque<Duration>,
}

/// A place at a backend; given back when dropped.
#[derive(Debug, Default)]
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Counts one that waits, until dropped.
struct Counted(Arc<AtomicU64>);

impl Counted {
    /// # Errors
    /// [`GatewayError::Full`] when `most` wait already.
    fn enter(count: &Arc<AtomicU64>, most: u32) -> Result<Self, GatewayError> {
        if count.fetch_add(1, Ordering::AcqRel) >= u64::from(most) {
            count.fetch_sub(1, Ordering::AcqRel);
            return Err(GatewayError::Full);
        }
        Ok(Self(Arc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells who looks for pods that somebody waits for one.
pub(super) struct Waiter(Arc<Shared>);

impl Waiter {
    pub(super) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }
}

impl Admission {
    pub(super) fn new(config: AdmissionConfig) -> Self {
        let places = config.max_concurrent.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        Self {
            config,
            places: places.map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
            waiting: Arc::default(),
            held: Arc::default(),
            demand: AtomicU64::new(0),
            wake: Mutex::default(),
            is_known: AtomicBool::new(false),
            shared: Arc::default(),
        }
    }

    /// Requests held until a pod is there.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    /// Requests that found no pod.
    pub(super) fn demand(&self) -> u64 {
        self.demand.load(Ordering::Acquire)
    }

    pub(super) fn waiter(&self) -> Waiter {
        Waiter(Arc::clone(&self.shared))
    }

    /// The name of its pods was looked up.
    pub(super) fn looked_up(&self) {
        if !self.is_known.swap(true, Ordering::AcqRel) {
            self.shared.news.notify_waiters();
        }
    }

    /// There is a pod again.
    pub(super) fn woke(&self) {
        let mut wake = self.lock();
        if let Some(since) = wake.since.take() {
            wake.observed.push_back(since.elapsed());
            if wake.observed.len() > REMEMBERED {
                wake.observed.pop_front();
            }
        }
        drop(wake);
        self.shared.news.notify_waiters();
    }

    /// Waits for a pod, if one is expected before `until`.
    ///
    /// # Errors
    /// [`GatewayError::Waking`], and [`GatewayError::Full`] when too many wait.
    pub(super) async fn wake(
        &self,
        until: Instant,
        is_there: impl Fn() -> bool,
        changed: &Changed,
    ) -> Result<(), GatewayError> {
        // Before the first look-up nothing is known, neither a pod nor that there is none.
        self.news(until, || self.is_known.load(Ordering::Acquire) || is_there()).await;
        if is_there() {
            return Ok(());
        }
        let expected = self.ask(changed);
        let late = || GatewayError::Waking { retry_after: expected.unwrap_or_default().as_secs().max(1) };
        if expected.is_none_or(|expected| Instant::now() + expected >= until) {
            return Err(late());
        }
        let held = Counted::enter(&self.held, self.config.queue_depth)?;
        changed.notify();
        let is_awake = self.news(until, is_there).await;
        drop(held);
        changed.notify();
        if is_awake { Ok(()) } else { Err(late()) }
    }

    /// Counts a request that found no pod; gives the time until one is expected, unless it is overdue.
    fn ask(&self, changed: &Changed) -> Option<Duration> {
        self.demand.fetch_add(1, Ordering::AcqRel);
        let now = Instant::now();
        let mut wake = self.lock();
        let since = *wake.since.get_or_insert(now);
        let whole = wake.observed.iter().max().copied();
        let whole = whole.unwrap_or(Duration::from_millis(self.config.cold_start_ms));
        if wake.told.is_none_or(|told| now - told >= TELL_INTERVAL) {
            wake.told = Some(now);
            changed.notify();
        }
        drop(wake);
        whole.checked_sub(now - since)
    }

    /// Waits until `is_so`; `false` when time is up first.
    async fn news(&self, until: Instant, is_so: impl Fn() -> bool) -> bool {
        loop {
            let news = self.shared.news.notified();
            tokio::pin!(news);
            // From here on no news is missed.
            news.as_mut().enable();
            if is_so() {
                return true;
            }
            self.shared.wanted.notify_one();
            if timeout_at(until, news).await.is_err() {
                return is_so();
            }
        }
    }

    /// Waits for a place, behind those that came before.
    ///
    /// # Errors
    /// [`GatewayError::Full`] when too many wait, or time is up.
    pub(super) async fn place(&self, until: Instant) -> Result<Place, GatewayError> {
        let Some(places) = &self.places else { return Ok(Place::default()) };
        if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
            return Ok(Place { _permit: Some(permit) });
        }
        let _waiting = Counted::enter(&self.waiting, self.config.queue_depth)?;
        let until = until.min(Instant::now() + Duration::from_millis(self.config.queue_timeout_ms));
        match timeout_at(until, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: Some(permit) }),
            Ok(Err(_)) | Err(_) => Err(GatewayError::Full),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Wake> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend {
    /// Whether no pod of it is known.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        matches!(self.config.target, Target::Pods { .. }) && self.endpoint_count() == 0
    }

    /// Waits for its model to wake, if that is expected before `until`.
    ///
    /// # Errors
    /// [`GatewayError::Waking`] or [`GatewayError::Full`], at once where waiting is of no use.
    pub async fn wake(&self, until: Instant) -> Result<(), GatewayError> {
        self.admission.wake(until, || !self.is_asleep(), &self.changed).await
    }

    /// Waits for a place among the requests that it takes at once, until then.
    ///
    /// # Errors
    /// [`GatewayError::Full`].
    pub async fn place(&self, until: Instant) -> Result<Place, GatewayError> {
        self.admission.place(until).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_concurrent: Option<u32>, queue_depth: u32, cold_start_ms: u64) -> Arc<Admission> {
        let config = AdmissionConfig { max_concurrent, queue_depth, queue_timeout_ms: 30_000, cold_start_ms };
        Arc::new(Admission::new(config))
    }

    fn in_ms(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    fn soon() -> Instant {
        in_ms(20_000)
    }

    #[tokio::test]
    async fn places_are_given_in_the_order_of_asking_and_the_queue_is_bounded() {
        let admission = admission(Some(1), 2, 60_000);
        let first = admission.place(soon()).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiters: Vec<_> = (0..2)
            .map(|name| {
                let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
                tokio::spawn(async move {
                    let place = admission.place(soon()).await.unwrap();
                    order.lock().unwrap().push(name);
                    drop(place);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(matches!(admission.place(soon()).await, Err(GatewayError::Full)));
        drop(first);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1]);
        assert_eq!(admission.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn a_place_is_not_waited_for_longer_than_the_request_has() {
        let admission = admission(Some(1), 2, 60_000);
        let _first = admission.place(soon()).await.unwrap();
        // The queue's own limit is half a minute, which this test does not wait for.
        let waited = tokio::time::timeout(Duration::from_secs(20), admission.place(in_ms(50)));
        assert!(matches!(waited.await.expect("in its own time"), Err(GatewayError::Full)));
    }

    #[tokio::test]
    async fn a_request_is_held_only_while_the_wake_up_is_expected_in_its_time() {
        let admission = admission(None, 1, 60_000);
        let (there, changed) = (Arc::new(AtomicBool::new(false)), Changed::default());
        let wake = |until| {
            let (admission, there, changed) = (Arc::clone(&admission), Arc::clone(&there), changed.clone());
            async move { admission.wake(until, || there.load(Ordering::Acquire), &changed).await }
        };
        admission.looked_up();
        // Nothing was observed: a minute is expected, which nobody has.
        let told = wake(soon()).await;
        assert!(matches!(told, Err(GatewayError::Waking { retry_after: 60 })), "{told:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        admission.woke();
        // Now it is known to take half a second; one may wait, the next finds the queue full.
        let held = tokio::spawn(wake(soon()));
        tokio::task::yield_now().await;
        assert_eq!((admission.held(), admission.demand()), (1, 2));
        assert!(matches!(wake(soon()).await, Err(GatewayError::Full)));
        there.store(true, Ordering::Release);
        admission.woke();
        held.await.unwrap().unwrap();
        assert_eq!((admission.held(), admission.demand()), (0, 3));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_wake_up_that_is_overdue() {
        let admission = admission(None, 8, 10);
        admission.looked_up();
        let changed = Changed::default();
        let first = admission.wake(in_ms(5), || false, &changed).await;
        assert!(matches!(first, Err(GatewayError::Waking { .. })));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let late = tokio::time::timeout(Duration::from_secs(10), admission.wake(soon(), || false, &changed));
        assert!(matches!(late.await.expect("at once"), Err(GatewayError::Waking { .. })));
        assert_eq!(admission.held(), 0);
    }
}
