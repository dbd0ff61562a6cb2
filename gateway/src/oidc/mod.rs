//! Who sent a request: JSON web tokens of the configured issuers, checked with keys that the issuers publish (OpenID
//! Connect discovery). The request path waits for the network only while an issuer's keys were never fetched, or when a
//! token names a key not seen before; everything else is answered from memory.
//!
//! Keys are fetched again ahead of an age (24 h unless `jwksCache` says otherwise) and, when a token names an unknown one, at most every 30 s. While an issuer cannot
//! be reached its last keys stay good for 7 days: longer than any outage a team leaves unattended, shorter than a key
//! whose removal was missed should live. Without keys every token is refused.

mod cache;
mod claims;
mod fetch;
mod issuer;
mod keys;
mod refusal;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use modelgate_api::state::IssuerState;

use cache::VerifiedCache;
use issuer::Issuer;
pub use refusal::Refusal;
use token::{Parsed, parse};

use crate::caller::Caller;
use crate::outbound::Reach;

/// An issuer whose tokens are accepted.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// As tokens spell it, an http(s) address.
    pub issuer: String,
    /// A token must name one of these.
    pub audiences: Vec<String>,
    /// Certificates to trust instead of the system's.
    pub ca: Option<CaSource>,
    /// Age at which its keys are fetched again; absent means [`Timing::refresh_after`].
    pub jwks_cache: Option<Duration>,
    /// Where its documents may be, and by which proxy.
    pub reach: Reach,
    /// Claims that a token must have, each with the values accepted.
    pub claims: Vec<(String, Vec<String>)>,
}

/// Certificates, PEM.
#[derive(Clone, Debug)]
pub enum CaSource {
    /// The certificates.
    Pem(Vec<u8>),
    /// A file, read anew for each fetch, so that a changed one needs no restart.
    Path(PathBuf),
}

/// Between two looks at the age of keys.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Time limits, replaceable for tests.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Keys are fetched again when they are this old.
    pub refresh_after: Duration,
    /// Keys older than this are not used.
    pub max_stale: Duration,
    /// Between fetches asked for by unknown keys.
    pub cool_down: Duration,
    /// Between fetches while there are no keys.
    pub cold_retry: Duration,
    /// Of one HTTP exchange.
    pub fetch_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            refresh_after: Duration::from_secs(24 * 3600),
            max_stale: Duration::from_secs(7 * 24 * 3600),
            cool_down: Duration::from_secs(30),
            cold_retry: Duration::from_secs(5),
            fetch_timeout: Duration::from_secs(10),
        }
    }
}

/// Checks tokens of a fixed list of issuers.
pub struct Verifier {
    issuers: Vec<Arc<Issuer>>,
    cache: VerifiedCache,
    timing: Timing,
}

impl Verifier {
    /// A verifier that has fetched nothing yet.
    #[must_use]
    pub fn new(issuers: Vec<IssuerSettings>) -> Self {
        Self::with_timing(issuers, Timing::default())
    }

    /// The same with other time limits.
    #[must_use]
    pub fn with_timing(issuers: Vec<IssuerSettings>, timing: Timing) -> Self {
        let issuers = issuers.into_iter().map(|settings| Arc::new(Issuer::new(settings, timing))).collect();
        Self { issuers, cache: VerifiedCache::default(), timing }
    }

    /// Checks a token.
    ///
    /// # Errors
    /// [`Refusal`]; the client is told none of it but that it was refused.
    pub async fn verify(&self, token: &str) -> Result<Arc<Caller>, Refusal> {
        let now = unix_now();
        if token.len() > token::MAX_BYTES {
            return Err(Refusal::TooLong);
        }
        let digest = cache::digest(token);
        if let Some(caller) = self.cache.get(&digest, now) {
            return Ok(caller);
        }
        let parsed = parse(token)?;
        let named = |issuer: &&Arc<Issuer>| issuer.settings.issuer == parsed.claims.iss;
        // The same issuer may be configured twice, with other audiences.
        let mut refusal = Refusal::UnknownIssuer;
        for issuer in self.issuers.iter().filter(named) {
            match check(issuer, &parsed, now).await {
                Ok((caller, generation)) => {
                    let caller = Arc::new(caller);
                    let of = Arc::clone(issuer);
                    self.cache.put(digest, Arc::clone(&caller), of, generation, now);
                    return Ok(caller);
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// What is known of each issuer.
    #[must_use]
    pub fn states(&self) -> Vec<IssuerState> {
        self.issuers.iter().map(|issuer| issuer.state()).collect()
    }

    /// Fetches the keys of every issuer once; failures are in [`Verifier::states`] and the log.
    pub async fn prefetch(&self) {
        futures::future::join_all(self.issuers.iter().map(Issuer::keys)).await;
    }

    /// Keeps the keys known: fetches until there are some, then ahead of their age, for ever. For a task of its own.
    pub async fn maintain(&self) {
        self.resolve().await;
        let shortest = self.issuers.iter().map(|issuer| issuer.refresh_after()).min();
        let pause = shortest.unwrap_or(self.timing.refresh_after) / 20;
        loop {
            tokio::time::sleep(pause.clamp(MIN_PAUSE, MAX_PAUSE)).await;
            futures::future::join_all(self.issuers.iter().map(Issuer::refresh_ahead)).await;
        }
    }

    /// Fetches until the keys of every issuer are known; for a task of its own, so that the state is right without traffic.
    pub async fn resolve(&self) {
        let mut pause = self.timing.cold_retry;
        loop {
            self.prefetch().await;
            if self.states().iter().all(|state| state.resolved) {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(60));
        }
    }
}

async fn check(issuer: &Arc<Issuer>, parsed: &Parsed<'_>, now: u64) -> Result<(Caller, u64), Refusal> {
    // Claims first: an expired or foreign token must not cause a fetch.
    parsed.check_claims(&issuer.settings, now)?;
    let keys = issuer.keys().await?;
    match parsed.check_signature(&keys.keys) {
        Err(Refusal::UnknownKey) => {
            let newer = issuer.refresh(keys.generation).await?;
            parsed.check_signature(&newer.keys)?;
            Ok((parsed.caller(), newer.generation))
        }
        checked => checked.map(|()| (parsed.caller(), keys.generation)),
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
