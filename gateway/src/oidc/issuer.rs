//! One issuer's keys over time: one fetch for everybody who waits, none that a client can force more often than the
//! cool-down allows, the last good keys while the issuer is away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use modelgate_api::state::IssuerState;

use super::fetch::fetch;
use super::keys::Key;
use super::{IssuerSettings, Refusal, Timing};

/// Share of their age at which keys are fetched again.
const REFRESH_AHEAD: f32 = 0.8;

/// Keys as they were fetched.
pub(super) struct Fetched {
    pub(super) keys: Vec<Key>,
    /// Grows with each fetch; none has 0.
    pub(super) generation: u64,
    at: Instant,
}

pub(super) struct Issuer {
    pub(super) settings: IssuerSettings,
    timing: Timing,
    current: ArcSwapOption<Fetched>,
    /// Held during a fetch; when the last one ended, failed or not.
    last_attempt: tokio::sync::Mutex<Option<Instant>>,
    /// Why the last fetch failed; empty when it did not.
    message: Mutex<String>,
}

impl Issuer {
    pub(super) fn new(settings: IssuerSettings, timing: Timing) -> Self {
        Self {
            settings,
            timing,
            current: ArcSwapOption::empty(),
            last_attempt: tokio::sync::Mutex::new(None),
            message: Mutex::new("the keys were not fetched yet".to_owned()),
        }
    }

    /// Whether keys of this generation are those in use and not too old.
    pub(super) fn serves(&self, generation: u64) -> bool {
        self.usable().is_some_and(|known| known.generation == generation)
    }

    /// Fetches keys that will soon be as old as they may be, so that no request ever does.
    pub(super) async fn refresh_ahead(self: &Arc<Self>) {
        let refresh_after = self.refresh_after();
        let known = self.current.load_full();
        match known {
            Some(known) if known.at.elapsed() < refresh_after.mul_f32(REFRESH_AHEAD) => {}
            Some(known) => self.fetch_once(known.generation).await,
            None => self.fetch_once(0).await,
        }
    }

    pub(super) fn refresh_after(&self) -> Duration {
        self.settings.jwks_cache.unwrap_or(self.timing.refresh_after)
    }

    /// Keys not older than allowed. Waits for a fetch only when there are none.
    pub(super) async fn keys(self: &Arc<Self>) -> Result<Arc<Fetched>, Refusal> {
        let Some(known) = self.usable() else { return self.refresh(self.generation()).await };
        let rested = |last: Option<Instant>| last.is_none_or(|at| at.elapsed() >= self.timing.cool_down);
        let due = known.at.elapsed() > self.refresh_after();
        if due && self.last_attempt.try_lock().is_ok_and(|last| rested(*last)) {
            let issuer = Arc::clone(self);
            let generation = known.generation;
            tokio::spawn(async move { issuer.fetch_once(generation).await });
        }
        Ok(known)
    }

    /// Keys newer than `seen` where the cool-down allows a fetch, else those there are.
    pub(super) async fn refresh(self: &Arc<Self>, seen: u64) -> Result<Arc<Fetched>, Refusal> {
        // A task of its own: a client that hangs up must not end a fetch that others wait for.
        let issuer = Arc::clone(self);
        let fetching = tokio::spawn(async move { issuer.fetch_once(seen).await });
        if let Err(error) = fetching.await {
            tracing::error!(%error, issuer = self.settings.issuer, "the task that fetches keys ended");
        }
        self.usable().ok_or(Refusal::Unavailable)
    }

    async fn fetch_once(&self, seen: u64) {
        let mut last_attempt = self.last_attempt.lock().await;
        if self.generation() != seen {
            return;
        }
        let pause = if self.usable().is_some() { self.timing.cool_down } else { self.timing.cold_retry };
        if last_attempt.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        let fetched = fetch(&self.settings, self.timing.fetch_timeout).await;
        *last_attempt = Some(Instant::now());
        let issuer = &self.settings.issuer;
        let message = match fetched {
            Ok(keys) => {
                tracing::info!(issuer, keys = keys.len(), "fetched the issuer's keys");
                self.current.store(Some(Arc::new(Fetched {
                    keys,
                    generation: seen + 1,
                    at: Instant::now(),
                })));
                String::new()
            }
            Err(error) => {
                tracing::warn!(issuer, %error, "the issuer's keys cannot be fetched");
                error
            }
        };
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }

    fn generation(&self) -> u64 {
        self.current.load().as_ref().map_or(0, |known| known.generation)
    }

    fn usable(&self) -> Option<Arc<Fetched>> {
        self.current.load_full().filter(|known| known.at.elapsed() < self.timing.max_stale)
    }

    /// What the gateway's state says of the issuer.
    pub(super) fn state(&self) -> IssuerState {
        let message = self.message.lock().unwrap_or_else(PoisonError::into_inner).clone();
        IssuerState { issuer: self.settings.issuer.clone(), resolved: self.usable().is_some(), message }
    }
}

#[cfg(test)]
impl Issuer {
    pub(super) fn for_tests() -> Self {
        let settings = IssuerSettings {
            issuer: "https://issuer.example".into(),
            audiences: Vec::new(),
            ca: None,
            jwks_cache: None,
            reach: crate::outbound::Reach::default(),
            claims: Vec::new(),
        };
        Self::new(settings, Timing::default())
    }

    pub(super) fn set_for_tests(&self, generation: u64) {
        self.current.store(Some(Arc::new(Fetched { keys: Vec::new(), generation, at: Instant::now() })));
    }
}
