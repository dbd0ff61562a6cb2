//! The Lease: one operator of several reconciles, polls and writes.
//!
//! Written here rather than taken from a crate because of one need: before each batch of writes the age of the last
//! renewal, by the monotonic clock, must leave [`MARGIN`] of the Lease. A process that was stopped and goes on later must
//! not write one object more, and a crate that reports leadership as a flag cannot tell.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// How long a holder that does not renew keeps the Lease.
pub const LEASE: Duration = Duration::from_secs(15);
/// Time between renewals.
const RENEW: Duration = Duration::from_secs(4);
/// Time between a standby's looks at the Lease.
const LOOK: Duration = Duration::from_secs(2);
/// What a renewal must leave of the Lease for a write to begin.
pub const MARGIN: Duration = Duration::from_secs(5);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(4);

/// Leave to write, while the Lease is held.
#[derive(Clone, Debug)]
pub struct Leadership {
    renewed: Arc<Mutex<Option<Instant>>>,
    needed: bool,
    /// Cancelled when the Lease is lost: the process exits.
    pub lost: CancellationToken,
}

impl Leadership {
    /// Not the leader yet; with `needed: false` always the leader.
    #[must_use]
    pub fn new(needed: bool) -> Self {
        Self { renewed: Arc::default(), needed, lost: CancellationToken::new() }
    }

    /// Whether a batch of writes may begin.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the Lease leaves less than [`MARGIN`]; the process is on its way out then.
    pub fn ensure(&self) -> Result<(), Error> {
        if !self.needed {
            return Ok(());
        }
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        match renewed {
            Some(at) if at.elapsed() + MARGIN <= LEASE => Ok(()),
            _ => {
                self.lost.cancel();
                Err(Error::LeaseLost)
            }
        }
    }

    /// Whether the Lease is held now.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        !self.needed || renewed.is_some_and(|at| at.elapsed() < LEASE)
    }

    fn renewed(&self, at: Option<Instant>) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// What a standby saw of the Lease, and since when by its own clock: clocks of others are not trusted.
struct Seen {
    version: Option<String>,
    since: Instant,
}

/// Takes, renews and releases the Lease.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    leadership: Leadership,
}

impl Elector {
    /// An elector for the Lease `name`.
    #[must_use]
    pub fn new(api: Api<Lease>, name: String, identity: String, leadership: Leadership) -> Self {
        Self { api, name, identity, leadership }
    }

    /// Waits until the Lease is ours.
    pub async fn acquire(&self) {
        let mut seen = Seen { version: None, since: Instant::now() };
        loop {
            match self.try_take(&mut seen).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, lease = self.name, "the Lease cannot be taken; trying again");
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Renews until the Lease is lost; returns then.
    pub async fn hold(&self) {
        loop {
            tokio::time::sleep(RENEW).await;
            let mut seen = Seen { version: None, since: Instant::now() };
            match self.try_take(&mut seen).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!(lease = self.name, "the Lease has another holder; stepping down");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, lease = self.name, "the Lease was not renewed; trying again");
                }
            }
            if self.leadership.ensure().is_err() {
                tracing::error!(lease = self.name, "the Lease could not be renewed in time; stepping down");
                break;
            }
        }
        self.leadership.lost.cancel();
    }

    /// Gives the Lease up, so that a standby takes over at its next look.
    pub async fn release(&self) {
        let released = async {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.api.replace(&self.name, &post(), &lease).await.map(|_| ())
        };
        self.leadership.renewed(None);
        match tokio::time::timeout(ANSWER, released).await {
            Ok(Ok(())) => tracing::info!(lease = self.name, "the Lease is released"),
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not released; it runs out by itself"),
            Err(_) => tracing::warn!("the Lease was not released in time; it runs out by itself"),
        }
    }

    /// One look at the Lease: takes or renews it where that is allowed. The age counts from before the request was sent.
    async fn try_take(&self, seen: &mut Seen) -> Result<bool, kube::Error> {
        let asked = Instant::now();
        let take = async {
            match self.api.get_opt(&self.name).await? {
                None => self.api.create(&post(), &self.fresh()).await.map(|_| true),
                Some(lease) if self.may_take(&lease, seen) => {
                    // The resourceVersion of `lease` makes the API server refuse when somebody was faster.
                    self.api.replace(&self.name, &post(), &self.taken(lease)).await.map(|_| true)
                }
                Some(_) => Ok(false),
            }
        };
        match tokio::time::timeout(ANSWER, take).await {
            Ok(Ok(true)) => {
                self.leadership.renewed(Some(asked));
                Ok(true)
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Ok(false),
            Ok(other) => other,
            Err(elapsed) => Err(kube::Error::Service(elapsed.into())),
        }
    }

    fn may_take(&self, lease: &Lease, seen: &mut Seen) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        if seen.version != lease.metadata.resource_version {
            *seen = Seen { version: lease.metadata.resource_version.clone(), since: Instant::now() };
        }
        let held_for =
            u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).map_or(LEASE, Duration::from_secs);
        seen.since.elapsed() >= held_for
    }

    fn fresh(&self) -> Lease {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        self.taken(Lease { metadata, spec: None })
    }

    fn taken(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
        spec.renew_time = Some(now);
        lease
    }
}

fn post() -> PostParams {
    PostParams { field_manager: Some("modelgate-operator/lease".into()), ..PostParams::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_may_be_written_once_the_lease_leaves_less_than_the_margin() {
        let leadership = Leadership::new(true);
        assert!(leadership.ensure().is_err(), "not taken yet");
        let leadership = Leadership::new(true);
        leadership.renewed(Some(Instant::now()));
        tokio::time::advance(LEASE - MARGIN).await;
        assert!(leadership.ensure().is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(leadership.ensure().is_err());
        assert!(leadership.lost.is_cancelled(), "the process is told to exit");
        assert!(leadership.is_leader(), "no other may have taken it yet");
        tokio::time::advance(MARGIN).await;
        assert!(!leadership.is_leader());
    }

    #[test]
    fn without_election_writing_is_always_allowed() {
        assert!(Leadership::new(false).ensure().is_ok());
    }
}
