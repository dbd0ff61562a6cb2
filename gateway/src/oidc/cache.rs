//! Tokens already checked, by the SHA-256 of the whole token: one that shares any part with another never hits. A key that
//! an issuer withdrew is therefore believed for five minutes at most after it left our memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::token::LEEWAY;
use crate::caller::Caller;

const MAX_ENTRIES: usize = 4096;
const MAX_AGE: Duration = Duration::from_secs(300);

pub(super) type TokenDigest = [u8; 32];

pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token).into()
}

struct Entry {
    caller: Arc<Caller>,
    /// By the monotonic clock, so that a clock set back prolongs nothing.
    until: Instant,
}

impl Entry {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small constant
    fn alive(&self, now: u64) -> bool {
        Instant::now() < self.until && now < self.caller.expires_at.saturating_add(LEEWAY as u64)
    }
}

#[derive(Default)]
pub(super) struct VerifiedCache {
    entries: Mutex<HashMap<TokenDigest, Entry>>,
}

impl VerifiedCache {
    pub(super) fn get(&self, digest: &TokenDigest, now: u64) -> Option<Arc<Caller>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(digest)?;
        if entry.alive(now) {
            return Some(Arc::clone(&entry.caller));
        }
        entries.remove(digest);
        None
    }

    pub(super) fn put(&self, digest: TokenDigest, caller: Arc<Caller>, now: u64) {
        let left = Duration::from_secs(caller.expires_at.saturating_sub(now));
        let until = Instant::now() + left.min(MAX_AGE);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| entry.alive(now));
        }
        if entries.len() >= MAX_ENTRIES {
            // Any will do: the map's order is random, so no client can choose whose.
            let evicted = entries.keys().next().copied();
            evicted.map(|evicted| entries.remove(&evicted));
        }
        entries.insert(digest, Entry { caller, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(expires_at: u64) -> Arc<Caller> {
        Arc::new(Caller { expires_at, ..Caller::anonymous() })
    }

    #[test]
    fn an_entry_dies_with_its_token_and_the_cache_stays_bounded() {
        let cache = VerifiedCache::default();
        cache.put(digest("a"), caller(1000), 100);
        assert!(cache.get(&digest("a"), 100).is_some());
        assert!(cache.get(&digest("b"), 100).is_none());
        assert!(cache.get(&digest("a"), 1030).is_none(), "expired by the wall clock");
        assert!(cache.get(&digest("a"), 100).is_none(), "and gone for good");
        for index in 0..2 * MAX_ENTRIES {
            cache.put(digest(&index.to_string()), caller(1000), 100);
        }
        assert_eq!(cache.entries.lock().unwrap().len(), MAX_ENTRIES);
    }
}
