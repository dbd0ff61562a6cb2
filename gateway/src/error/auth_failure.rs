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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_not_being_let_in_has_a_series() {
        let failures = [
            AuthFailure::Headers(AuthError::Missing),
            AuthFailure::Headers(AuthError::Malformed),
            AuthFailure::Headers(AuthError::TokenType),
            AuthFailure::Headers(AuthError::Mismatch("")),
            AuthFailure::Headers(AuthError::NotBound),
            AuthFailure::Token(Refusal::TooLong),
            AuthFailure::Token(Refusal::Malformed("")),
            AuthFailure::Token(Refusal::Header("")),
            AuthFailure::Token(Refusal::Algorithm),
            AuthFailure::Token(Refusal::UnknownIssuer),
            AuthFailure::Token(Refusal::UnknownKey),
            AuthFailure::Token(Refusal::AmbiguousKey),
            AuthFailure::Token(Refusal::Signature),
            AuthFailure::Token(Refusal::Expired),
            AuthFailure::Token(Refusal::NotYetValid),
            AuthFailure::Token(Refusal::Audience),
            AuthFailure::Token(Refusal::Claim),
            AuthFailure::Token(Refusal::Unavailable),
            AuthFailure::Key(KeyRefusal::Unknown),
            AuthFailure::Key(KeyRefusal::Expired),
            AuthFailure::Key(KeyRefusal::Unavailable),
        ];
        assert_eq!(failures.map(AuthFailure::as_str), AuthFailure::LABELS);
    }
}
