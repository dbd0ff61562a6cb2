//! Why a token is refused: a label for metrics, words for the log, and never a byte of the token.

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Over 8 KiB.
    #[error("the token is longer than 8 KiB")]
    TooLong,
    /// Not three parts of base64url with JSON inside, or a claim of the wrong type.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// An extension that must be understood, encryption, compression, or a foreign type.
    #[error("the token's header asks for what is not supported: {0}")]
    Header(&'static str),
    /// Not one of RS256, RS384, RS512, ES256, ES384, EdDSA.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// `iss` is not configured.
    #[error("the token's issuer is not configured; auth.oidc lists those that are")]
    UnknownIssuer,
    /// The issuer publishes no usable key of that id and algorithm.
    #[error("the issuer publishes no usable key of the token's kid and algorithm")]
    UnknownKey,
    /// No `kid`, and several keys.
    #[error("the token names no key and the issuer publishes several")]
    AmbiguousKey,
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` is over.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is still to come.
    #[error("the token is not valid yet; compare the clocks of issuer and gateway")]
    NotYetValid,
    /// `aud` holds none of ours.
    #[error("the token is for another audience; auth.oidc[].audiences lists those accepted")]
    Audience,
    /// A claim of `auth.oidc[].claims` is missing or another.
    #[error("the token lacks a claim that auth.oidc[].claims asks for")]
    Claim,
    /// The issuer's keys are not known.
    #[error("the issuer's keys are not known; the state of the gateway says why")]
    Unavailable,
}

impl Refusal {
    /// A label for metrics, of a closed set.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed(_) => "malformed",
            Self::Header(_) => "header",
            Self::Algorithm => "algorithm",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKey => "unknown_key",
            Self::AmbiguousKey => "ambiguous_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Audience => "audience",
            Self::Claim => "claim",
            Self::Unavailable => "keys_unavailable",
        }
    }
}
