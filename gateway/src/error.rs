//! What can go wrong with a request, once: status, reason label, outcome, and whether another endpoint may be tried.
//! `pipeline::respond` turns it into a body in the caller's protocol.

mod auth_failure;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::backend::circuit;
use crate::dialect::{Fault, Unsupported};
use crate::limit::Limited;
use crate::metrics::Outcome;
use crate::routing::retry_after;
pub use auth_failure::AuthFailure;

/// Why a request was not answered as asked.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// Every backend of the route asked to be left alone for a while.
    #[error("the backend asked for a pause")]
    Busy {
        /// Until then.
        retry_after: Duration,
    },
    /// Every backend of the route failed again and again and is left alone for a while.
    #[error("the backend failed again and again and is left alone for a while")]
    Open {
        /// Until then.
        retry_after: Duration,
    },
    /// The backend has no pod that answers, and none is expected in time.
    #[error("the model is being woken; try again in {retry_after} s")]
    Waking {
        /// Seconds until it is expected.
        retry_after: u64,
    },
    /// The backend takes no further request.
    #[error("the backend is full; try again later")]
    Full,
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
    /// The backend's answer is none: which is said in a word or two.
    #[error("the backend's answer makes no sense ({0})")]
    UpstreamMalformed(&'static str),
    /// The answer could not be carried on elsewhere as if nothing had happened.
    #[error("the backend's answer broke off and could not be carried on elsewhere")]
    Unresumable,
    /// A fault of the gateway itself.
    #[error("internal error")]
    Internal,
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
            Self::Limited(_) | Self::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound | Self::UnknownModel { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::RedirectSlash { .. } => StatusCode::TEMPORARY_REDIRECT,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Rejected { status, .. } => *status,
            Self::Shed | Self::NoBackend(_) | Self::Open { .. } | Self::Waking { .. } | Self::Full => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Connect | Self::UpstreamBroken | Self::UpstreamMalformed(_) | Self::Unresumable => {
                StatusCode::BAD_GATEWAY
            }
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
            Self::Busy { .. } => "backend_busy",
            Self::Open { .. } => "backend_open",
            Self::Waking { .. } => "backend_waking",
            Self::Full => "backend_full",
            Self::Connect => "backend_unreachable",
            Self::UpstreamTimeout(phase) => match *phase {
                "first byte" => "timeout_first_byte",
                "first token" => "timeout_first_token",
                "next piece" => "timeout_idle",
                "whole answer" => "timeout_total",
                _ => "backend_timeout",
            },
            Self::UpstreamStatus { .. } => "backend_error",
            Self::UpstreamBroken => "backend_broken",
            Self::UpstreamMalformed(_) => "backend_malformed",
            Self::Unresumable => "backend_unresumable",
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
            Self::Shed | Self::Full => Outcome::Shed,
            Self::UpstreamTimeout(_) => Outcome::Timeout,
            Self::UpstreamStatus { status, .. } if is_callers_fault(*status) => Outcome::ClientError,
            Self::NoBackend(_)
            | Self::Waking { .. }
            | Self::Busy { .. }
            | Self::Open { .. }
            | Self::Connect
            | Self::UpstreamStatus { .. }
            | Self::UpstreamBroken
            | Self::UpstreamMalformed(_) => Outcome::UpstreamError,
            Self::Unresumable => Outcome::Truncated,
            Self::Internal => Outcome::InternalError,
            _ => Outcome::ClientError,
        }
    }

    /// Whether nothing is wrong with the request: no backend could take or finish it.
    #[must_use]
    pub fn is_unavailability(&self) -> bool {
        matches!(self, Self::UpstreamStatus { .. })
            || matches!(
                self.outcome(),
                Outcome::Shed | Outcome::Limited | Outcome::UpstreamError | Outcome::Timeout
            )
    }

    /// Whether the request may be sent again, and on what condition.
    #[must_use]
    pub fn again(&self) -> Again {
        match self {
            Self::Connect | Self::Waking { .. } | Self::Full => Again::Unsent,
            Self::UpstreamStatus { status, .. } => match status.as_u16() {
                // Turned away by status, complete and before any work: nobody bills for these.
                401 | 403 | 429 | 500 | 503 | 529 => Again::Refused,
                // Said by something in between, behind which the work may go on.
                status if status >= 500 || status == 408 => Again::IfUnpaid,
                _ => Again::Never,
            },
            Self::UpstreamTimeout("whole answer") => Again::Never,
            Self::UpstreamTimeout(_) | Self::UpstreamBroken | Self::UpstreamMalformed(_) => Again::IfUnpaid,
            _ => Again::Never,
        }
    }

    /// Whether the same address may well answer if it is asked once more: it was full or restarting, or its connection broke.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect | Self::UpstreamBroken => true,
            Self::UpstreamStatus { status, .. } => matches!(status.as_u16(), 429 | 503 | 529),
            _ => false,
        }
    }

    /// Whose fault it was, where an address is to blame.
    #[must_use]
    pub fn fault(&self) -> Option<circuit::Fault> {
        match self {
            Self::Connect => Some(circuit::Fault::Unreachable),
            Self::UpstreamStatus { status, retry_after, .. } => match status.as_u16() {
                429 | 503 | 529 if retry_after.is_some() => {
                    Some(circuit::Fault::Busy(pause(retry_after.as_ref())))
                }
                429 => Some(circuit::Fault::Busy(None)),
                401 | 403 | 408 | 500.. => Some(circuit::Fault::Own),
                _ => None,
            },
            Self::UpstreamTimeout(_) | Self::UpstreamBroken | Self::UpstreamMalformed(_) => {
                Some(circuit::Fault::Own)
            }
            _ => None,
        }
    }

    /// How long the caller should wait before it asks again, where the error says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::UpstreamStatus { retry_after, .. } => pause(retry_after.as_ref()),
            Self::Busy { retry_after } | Self::Open { retry_after } => Some(*retry_after),
            Self::Waking { retry_after } => Some(Duration::from_secs(*retry_after)),
            _ => None,
        }
    }
}

fn pause(header: Option<&HeaderValue>) -> Option<Duration> {
    let headers = http::HeaderMap::from_iter([(http::header::RETRY_AFTER, header?.clone())]);
    retry_after::parse(&headers, SystemTime::now())
}

/// On what condition a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It must not be.
    Never,
    /// Not a byte was sent: always, and it costs nobody anything.
    Unsent,
    /// It was turned away by status before any work: within the budget.
    Refused,
    /// It may have been worked on: within the budget, and only where nobody pays for it twice.
    IfUnpaid,
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
    fn a_backends_refusal_of_our_own_credential_is_never_shown_as_the_callers() {
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
            let error = GatewayError::UpstreamStatus { status, body: Bytes::new(), retry_after: None };
            assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
            assert_eq!(error.outcome(), Outcome::UpstreamError);
        }
    }

    #[test]
    fn a_request_is_sent_again_only_as_far_as_nobody_pays_twice() {
        let status = |status: u16| GatewayError::UpstreamStatus {
            status: StatusCode::from_u16(status).unwrap(),
            body: Bytes::new(),
            retry_after: None,
        };
        let cases = [
            (GatewayError::Connect, Again::Unsent, Some(circuit::Fault::Unreachable)),
            (status(429), Again::Refused, Some(circuit::Fault::Busy(None))),
            (status(500), Again::Refused, Some(circuit::Fault::Own)),
            (status(503), Again::Refused, Some(circuit::Fault::Own)),
            (status(401), Again::Refused, Some(circuit::Fault::Own)),
            (status(502), Again::IfUnpaid, Some(circuit::Fault::Own)),
            (status(504), Again::IfUnpaid, Some(circuit::Fault::Own)),
            (status(400), Again::Never, None),
            (status(404), Again::Never, None),
            (status(422), Again::Never, None),
            (GatewayError::UpstreamTimeout("first byte"), Again::IfUnpaid, Some(circuit::Fault::Own)),
            (GatewayError::UpstreamTimeout("whole answer"), Again::Never, Some(circuit::Fault::Own)),
            (GatewayError::UpstreamBroken, Again::IfUnpaid, Some(circuit::Fault::Own)),
            (GatewayError::BadRequest(String::new()), Again::Never, None),
        ];
        for (error, again, fault) in cases {
            assert_eq!((error.again(), error.fault()), (again, fault), "{error:?}");
        }
        let asked = GatewayError::UpstreamStatus {
            status: StatusCode::SERVICE_UNAVAILABLE,
            body: Bytes::new(),
            retry_after: Some(HeaderValue::from_static("259200")),
        };
        assert_eq!(asked.fault(), Some(circuit::Fault::Busy(Some(retry_after::CAP))));
    }
}
