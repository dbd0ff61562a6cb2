//! What can go wrong with a request, once: status, reason label, outcome, and whether another endpoint may be tried.
//! `pipeline::respond` turns it into a body in the caller's protocol.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::dialect::{Fault, Unsupported};
use crate::gitlab::AuthError;
use crate::keys::KeyRefusal;
use crate::limit::Limited;
use crate::metrics::Outcome;
use crate::oidc::Refusal;

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No token, or none that is accepted. The texts are those of GitLab's gateway.
    #[error("{}", .0.in_gitlabs_words())]
    Unauthorized(AuthFailure),
    /// The token is good, and not for this.
    #[error("Unauthorized to {0}")]
    NotEntitled(&'static str),
    /// No such path.
    #[error("Not Found")]
    NotFound,
    /// The path exists with another method.
    #[error("Method Not Allowed")]
    MethodNotAllowed {
        /// Value of the `Allow` header.
        allow: &'static str,
    },
    /// The path exists without its trailing slash.
    #[error("Temporary Redirect")]
    RedirectSlash {
        /// Where to.
        location: HeaderValue,
    },
    /// The request's target is too long.
    #[error("the request target is longer than {} bytes", crate::limits::URI_BYTES)]
    UriTooLong,
    /// The body is too large.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not come in time.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// The client stopped sending, or sent something that is no HTTP body.
    #[error("the request body could not be read")]
    BodyBroken,
    /// The request is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// The body of GitLab's contract was refused; status and body are ready.
    #[error("the request was refused")]
    Rejected {
        /// Status.
        status: StatusCode,
        /// JSON body.
        body: Bytes,
    },
    /// No route serves the model.
    #[error("The model `{model}` does not exist")]
    UnknownModel {
        /// The model asked for, cut to a readable length.
        model: String,
    },
    /// The caller's API key is not for the model.
    #[error("this API key may not use the model `{model}`")]
    ModelNotAllowed {
        /// The model asked for, cut to a readable length.
        model: String,
    },
    /// A limit is used up.
    #[error("{}", .0.message())]
    Limited(Box<Limited>),
    /// Too many requests are under way.
    #[error("the gateway is full; try again later")]
    Shed,
    /// No backend of the route can take a request.
    #[error("no backend can take the request: {0}")]
    NoBackend(&'static str),
    /// No connection to the backend.
    #[error("the backend refused the connection")]
    Connect,
    /// The backend did not answer in time.
    #[error("the backend did not answer in time ({0})")]
    UpstreamTimeout(&'static str),
    /// The backend answered with an error.
    #[error("the backend answered {status}")]
    UpstreamStatus {
        /// Its status.
        status: StatusCode,
        /// Its body, as far as it may be shown.
        body: Bytes,
        /// Its `Retry-After`.
        retry_after: Option<HeaderValue>,
    },
    /// The backend's answer broke off or makes no sense.
    #[error("the backend's answer could not be read")]
    UpstreamBroken,
    /// A fault of the gateway itself.
    #[error("internal error")]
    Internal,
}

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

impl From<Unsupported> for GatewayError {
    fn from(unsupported: Unsupported) -> Self {
        Self::BadRequest(unsupported.to_string())
    }
}

impl From<Fault> for GatewayError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused { status, message } => {
                Self::UpstreamStatus { status, body: Bytes::from(message), retry_after: None }
            }
            Fault::Inside(_) | Fault::Shape(_) => {
                tracing::warn!(error = %fault, "no completion in the answer");
                Self::UpstreamBroken
            }
        }
    }
}

impl GatewayError {
    /// Status in protocols that have no rule of their own.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::NotEntitled(_) | Self::ModelNotAllowed { .. } => StatusCode::FORBIDDEN,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound | Self::UnknownModel { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::RedirectSlash { .. } => StatusCode::TEMPORARY_REDIRECT,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Rejected { status, .. } => *status,
            Self::Shed | Self::NoBackend(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect | Self::UpstreamBroken => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::UpstreamStatus { status, .. } => upstream_status(*status),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Small word for logs and error bodies.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::NotEntitled(_) => "not_entitled",
            Self::ModelNotAllowed { .. } => "model_not_allowed",
            Self::Limited(_) => "rate_limit_exceeded",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::RedirectSlash { .. } => "redirect",
            Self::UriTooLong => "uri_too_long",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::BadRequest(_) | Self::Rejected { .. } => "invalid_request",
            Self::UnknownModel { .. } => "model_not_found",
            Self::Shed => "overloaded",
            Self::NoBackend(_) => "no_backend",
            Self::Connect => "backend_unreachable",
            Self::UpstreamTimeout(_) => "backend_timeout",
            Self::UpstreamStatus { .. } => "backend_error",
            Self::UpstreamBroken => "backend_broken",
            Self::Internal => "internal_error",
        }
    }

    /// How metrics and SLOs count it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unauthorized(_) | Self::NotEntitled(_) | Self::ModelNotAllowed { .. } => {
                Outcome::AuthFailed
            }
            Self::Limited(_) => Outcome::Limited,
            Self::Shed => Outcome::Shed,
            Self::UpstreamTimeout(_) => Outcome::Timeout,
            Self::UpstreamStatus { status, .. } if is_callers_fault(*status) => Outcome::ClientError,
            Self::NoBackend(_) | Self::Connect | Self::UpstreamStatus { .. } | Self::UpstreamBroken => {
                Outcome::UpstreamError
            }
            Self::Internal => Outcome::InternalError,
            _ => Outcome::ClientError,
        }
    }

    /// Whether another endpoint may be tried: only when the backend cannot have seen the request.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Connect | Self::NoBackend(_))
    }
}

/// Statuses of a backend that are about the caller's request and are shown as they are. 401 and 403 are about the
/// gateway's own credential and are not.
#[must_use]
pub fn is_callers_fault(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN
}

fn upstream_status(status: StatusCode) -> StatusCode {
    if is_callers_fault(status)
        || status == StatusCode::SERVICE_UNAVAILABLE
        || status == StatusCode::GATEWAY_TIMEOUT
    {
        status
    } else {
        StatusCode::BAD_GATEWAY
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

    #[test]
    fn a_backends_refusal_of_our_own_credential_is_never_shown_as_the_callers() {
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
            let error = GatewayError::UpstreamStatus { status, body: Bytes::new(), retry_after: None };
            assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
            assert_eq!(error.outcome(), Outcome::UpstreamError);
        }
    }

    #[test]
    fn only_errors_before_a_byte_was_sent_are_retried() {
        assert!(GatewayError::Connect.is_retryable());
        assert!(!GatewayError::UpstreamTimeout("first byte").is_retryable());
        assert!(!GatewayError::UpstreamBroken.is_retryable());
    }
}
