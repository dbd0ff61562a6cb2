//! Who sends a request, as `pipeline::auth` found out. Limits, caches, coalescing, routing and logs ask here, so that one
//! tenant never sees, shares or pays for what is another's.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// How the caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all: `auth.anonymous`.
    Anonymous,
    /// By a JSON web token.
    Token,
    /// By an API key.
    Key,
}

impl Proof {
    /// The word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token => "token",
            Self::Key => "key",
        }
    }
}

/// Whom a request speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// How that was proved.
    pub proof: Proof,
    /// Names the tenant wherever the subject must not stand: 32 hexadecimal digits of a hash of issuer and subject, or of
    /// the key's id; `anonymous` when nobody is asked. Two callers share what is cached only when this is equal.
    pub tenant: String,
    /// Who issued the token; empty for keys and anonymous callers.
    pub issuer: String,
    /// `sub` of the token (of GitLab's the instance's or user's id) or the subject written into the key; empty when anonymous.
    pub subject: String,
    /// Id of the API key, which is no secret.
    pub key: Option<String>,
    /// `gitlab_realm`: `saas` or `self-managed`.
    pub realm: Option<String>,
    /// `gitlab_instance_uid`.
    pub instance_uid: Option<String>,
    /// Ids of namespaces that a GitLab token names.
    pub namespaces: Vec<String>,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// `third_party_ai_features_enabled`; `None` where the token does not say it.
    pub third_party_ai: Option<bool>,
    /// Models that the caller may ask for; empty means all. A trailing `*` stands for any ending.
    pub models: Vec<String>,
    /// `exp` of the token in seconds since 1970; `u64::MAX` where nothing expires.
    pub expires_at: u64,
}

impl Caller {
    /// The caller of a gateway that asks nobody.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            proof: Proof::Anonymous,
            tenant: "anonymous".into(),
            issuer: String::new(),
            subject: String::new(),
            key: None,
            realm: None,
            instance_uid: None,
            namespaces: Vec::new(),
            scopes: Vec::new(),
            third_party_ai: None,
            models: Vec::new(),
            expires_at: u64::MAX,
        }
    }

    /// Whether the caller may use `model`.
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        let takes = |known: &String| match known.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => known == model,
        };
        self.models.is_empty() || self.models.iter().any(takes)
    }
}

/// The name of a tenant that tells nothing about it.
#[must_use]
pub fn tenant(issuer: &str, subject: &str) -> String {
    // An issuer is an address and a key's id a word: neither holds NUL, so no two pairs meet.
    let digest = Sha256::new().chain_update(issuer).chain_update([0]).chain_update(subject).finalize();
    digest.iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_uses_only_the_models_it_was_given() {
        let mut caller = Caller::anonymous();
        assert!(caller.may_use("anything"));
        caller.models = vec!["small".into(), "code-*".into()];
        let asked = ["small", "code-gecko", "code-", "smaller", "code", ""];
        assert_eq!(asked.map(|model| caller.may_use(model)), [true, true, true, false, false, false]);
    }

    #[test]
    fn tenants_of_different_issuers_differ() {
        assert_ne!(tenant("https://a", "b"), tenant("https://ab", ""));
        assert_eq!(tenant("https://a", "b").len(), 32);
    }
}
