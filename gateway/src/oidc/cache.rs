//! Tokens already checked, by the SHA-256 of the whole token: one that shares any part with another never hits. An entry
//! dies with its token, and with the key set that it was checked with: when an issuer's keys are fetched anew every token
//! of it is checked again, so a withdrawn key is believed no longer than it stays in our memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::issuer::Issuer;
use super::token::LEEWAY;
use crate::caller::Caller;

const MAX_ENTRIES: usize = 4096;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

pub(super) type TokenDigest = [u8; 32];

pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token).into()
}

struct Entry {
    caller: Arc<Caller>,
    issuer: Arc<Issuer>,
    /// Of the issuer's keys when the token was checked.
    generation: u64,
    /// By the monotonic clock, so that a clock set back prolongs nothing.
    until: Instant,
}

impl Entry {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small constant
    fn alive(&self, now: u64) -> bool {
        self.issuer.serves(self.generation)
            && Instant::now() < self.until
            && now < self.caller.expires_at.saturating_add(LEEWAY as u64)
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

    pub(super) fn put(
        &self,
        digest: TokenDigest,
        caller: Arc<Caller>,
        issuer: Arc<Issuer>,
        generation: u64,
        now: u64,
    ) {
        let left = Duration::from_secs(caller.expires_at.saturating_sub(now));
        // A token of a century is no reason to overflow the clock.
        let until = Instant::now() + left.min(LONGEST);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| entry.alive(now));
        }
        if entries.len() >= MAX_ENTRIES {
            // Any will do: the map's order is random, so no client can choose whose.
            let evicted = entries.keys().next().copied();
            evicted.map(|evicted| entries.remove(&evicted));
        }
        entries.insert(digest, Entry { caller, issuer, generation, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(expires_at: u64) -> Arc<Caller> {
        Arc::new(Caller { expires_at, ..Caller::anonymous() })
    }

    #[test]
    fn an_entry_dies_with_its_token_and_with_the_keys_it_was_checked_with() {
        let cache = VerifiedCache::default();
        let issuer = Arc::new(Issuer::for_tests());
        issuer.set_for_tests(1);
        let put = |name: &str, generation| {
            cache.put(digest(name), caller(1000), Arc::clone(&issuer), generation, 100);
        };
        put("a", 1);
        assert!(cache.get(&digest("a"), 100).is_some());
        assert!(cache.get(&digest("b"), 100).is_none());
        assert!(cache.get(&digest("a"), 1030).is_none(), "expired by the wall clock");
        assert!(cache.get(&digest("a"), 100).is_none(), "and gone for good");
        put("a", 1);
        issuer.set_for_tests(2);
        assert!(cache.get(&digest("a"), 100).is_none(), "its key set was replaced");
        for index in 0..2 * MAX_ENTRIES {
            put(&index.to_string(), 2);
        }
        assert_eq!(cache.entries.lock().unwrap().len(), MAX_ENTRIES);
    }
}
