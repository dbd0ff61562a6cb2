//! API keys: `mgk_<id>_<secret>`, checked against the hashes of a mounted file. The file never holds a key, only its
//! SHA-256: a key carries 256 random bits, so there is nothing to guess and a slow hash, made for passwords, would only
//! make each request slow.

pub mod file;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::caller::{Caller, Proof, tenant};
use file::{Entry, KeyFile};
pub use watch::Keys;

/// What every key begins with, so that scanners for leaked secrets find it and nobody takes it for a token.
pub const PREFIX: &str = "mgk_";
/// Longest text that is looked at.
const MAX_BYTES: usize = 128;

/// Why a key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// No such key, or another secret.
    #[error("the API key is not known; it may have been revoked")]
    Unknown,
    /// Its time is over.
    #[error("the API key has expired")]
    Expired,
    /// The gateway has no keys, or cannot read them.
    #[error("the gateway has no API keys")]
    Unavailable,
}

impl KeyRefusal {
    /// A label for metrics, of a closed set.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "key_unknown",
            Self::Expired => "key_expired",
            Self::Unavailable => "keys_file_unavailable",
        }
    }
}

/// Whether a bearer token is meant to be an API key.
#[must_use]
pub fn is_key(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// A new key: the text for its owner, and what the file keeps.
#[must_use]
pub fn generate(subject: &str, models: Vec<String>, expires: Option<SystemTime>) -> (String, Entry) {
    let id: [u8; 6] = rand::random();
    let secret: [u8; 32] = rand::random();
    let id = hex(&id);
    let key = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
    let entry = Entry {
        id,
        sha256: hex(&Sha256::digest(&key)),
        subject: subject.to_owned(),
        models,
        created: crate::state::rfc3339(SystemTime::now()),
        expires: expires.map(crate::state::rfc3339),
    };
    (key, entry)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

struct Known {
    digest: [u8; 32],
    caller: Arc<Caller>,
}

/// The keys of one file.
#[derive(Default)]
pub struct Table {
    by_id: HashMap<String, Known>,
}

impl Table {
    /// Of a file that was read and checked.
    #[must_use]
    pub fn new(file: &KeyFile) -> Self {
        let known = |entry: &Entry| {
            let digest = file::digest(&entry.sha256)?;
            let expires_at = entry.expires.as_deref().map_or(Some(u64::MAX), file::seconds)?;
            let caller = Caller {
                proof: Proof::Key,
                tenant: tenant("key", &entry.id),
                subject: entry.subject.clone(),
                key: Some(entry.id.clone()),
                models: entry.models.clone(),
                expires_at,
                ..Caller::anonymous()
            };
            Some((entry.id.clone(), Known { digest, caller: Arc::new(caller) }))
        };
        Self { by_id: file.keys.iter().filter_map(known).collect() }
    }

    /// Whom the key speaks for. The id, which is no secret, finds the entry; the hashes are compared whole, and one is
    /// compared also when no entry is there, so the time tells nothing.
    ///
    /// # Errors
    /// [`KeyRefusal`].
    pub fn check(&self, key: &str, now: u64) -> Result<Arc<Caller>, KeyRefusal> {
        if key.len() > MAX_BYTES {
            return Err(KeyRefusal::Unknown);
        }
        let digest: [u8; 32] = Sha256::digest(key).into();
        let id = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).map_or("", |(id, _)| id);
        let known = self.by_id.get(id);
        let same = equal(&digest, known.map_or(&[0; 32], |known| &known.digest));
        match known.filter(|_| same) {
            None => Err(KeyRefusal::Unknown),
            Some(known) if known.caller.expires_at <= now => Err(KeyRefusal::Expired),
            Some(known) => Ok(Arc::clone(&known.caller)),
        }
    }
}

/// Compares without stopping at the first difference.
#[must_use]
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0_u8, |differing, (left, right)| differing | (left ^ right));
    left.len() == right.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_key_opens_only_whole_and_only_in_its_time() {
        let now = SystemTime::now();
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let (key, entry) = generate("alice", vec!["small".into()], Some(now + Duration::from_secs(60)));
        let (other, second) = generate("bob", Vec::new(), None);
        assert!(!entry.sha256.contains(&key) && key.len() == 4 + 12 + 1 + 43);
        let table = Table::new(&KeyFile { keys: vec![entry.clone(), second] });
        let caller = table.check(&key, seconds(now)).unwrap();
        assert_eq!((caller.subject.as_str(), caller.key.as_ref()), ("alice", Some(&entry.id)));
        assert!(caller.may_use("small") && !caller.may_use("large"));
        assert_ne!(caller.tenant, table.check(&other, seconds(now)).unwrap().tenant);
        assert_eq!(table.check(&key, seconds(now) + 61), Err(KeyRefusal::Expired));
        let last = if key.ends_with('A') { "B" } else { "A" };
        let nearly = format!("{}{last}", &key[..key.len() - 1]);
        // The id of one with the secret of another, parts, additions, and what only looks like a key.
        let mixed = format!("{PREFIX}{}_{}", entry.id, &other[17..]);
        let long = format!("{key}{}", "x".repeat(1 << 20));
        for wrong in [&nearly, &mixed, &key[..key.len() - 1], &format!("{key}x"), &long, PREFIX, "mgk__", ""]
        {
            assert_eq!(table.check(wrong, seconds(now)), Err(KeyRefusal::Unknown), "{}", wrong.len());
        }
    }

    #[test]
    fn hashes_are_compared_whole() {
        assert!(equal(b"ab", b"ab") && equal(b"", b""));
        assert!(!equal(b"ab", b"ac") && !equal(b"ab", b"a") && !equal(b"a", b"ab"));
    }
}
