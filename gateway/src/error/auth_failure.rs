//! Why nobody was let in: one label each, and the words of GitLab's contract.

use crate::gitlab::AuthError;
use crate::keys::KeyRefusal;
use crate::oidc::Refusal;

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// The headers carry no usable token.
    Headers(AuthError),
    /// The token was refused.
    Token(Refusal),
    /// The API key was refused.
    Key(KeyRefusal),
}

impl AuthFailure {
    /// Every label, so that each series exists from the start.
    pub const LABELS: [&'static str; 21] = [
        "header_missing",
        "header_malformed",
        "token_type",
        "header_mismatch",
        "not_bound",
        "too_long",
        "malformed",
        "header",
        "algorithm",
        "unknown_issuer",
        "unknown_key",
        "ambiguous_key",
        "signature",
        "expired",
        "not_yet_valid",
        "audience",
        "claim",
        "keys_unavailable",
        "key_unknown",
        "key_expired",
        "keys_file_unavailable",
    ];

    /// The same in the words of GitLab's contract, which tells nothing about the token.
    #[must_use]
    pub fn in_gitlabs_words(self) -> AuthError {
        match self {
            Self::Headers(error) => error,
            Self::Token(_) | Self::Key(_) => AuthError::Forbidden,
        }
    }

    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Headers(error) => error.reason(),
            Self::Token(refusal) => refusal.reason(),
            Self::Key(refusal) => refusal.reason(),
        }
    }
}
