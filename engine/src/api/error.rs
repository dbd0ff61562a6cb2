//! What can be wrong with a request, its status and its body in OpenAI's shape.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;

use crate::metrics::Outcome;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// A field is missing, wrong or not supported.
    #[error("{message}")]
    Invalid {
        /// The field, as a path into the body.
        param: Option<String>,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// Another model was asked for.
    #[error("the model {name:?} does not exist here; this server has {served}")]
    UnknownModel {
        /// The name in the request.
        name: String,
        /// The names that are served.
        served: String,
    },
    /// No such path.
    #[error(
        "no such path; this server has /v1/completions, /v1/chat/completions, /v1/models, /health, /livez and /metrics"
    )]
    UnknownPath,
    /// The path exists for another method.
    #[error("wrong method; this path takes {0}")]
    WrongMethod(&'static str),
    /// The body is too long.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} seconds", .0.as_secs())]
    BodyTimeout(Duration),
    /// As many requests wait as may.
    #[error("the queue is full: {0} requests are running or waiting; try again later")]
    QueueFull(usize),
    /// The model is not ready yet, or the server is stopping.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The engine failed.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// A wrong field.
    #[must_use]
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::Invalid { param: Some(param.into()), message: message.into() }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::UnknownModel { .. } | Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::QueueFull(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// How the request is counted.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Invalid { .. }
            | Self::UnknownModel { .. }
            | Self::UnknownPath
            | Self::WrongMethod(_)
            | Self::TooLarge(_)
            | Self::BodyTimeout(_) => Outcome::Invalid,
            Self::QueueFull(_) => Outcome::QueueFull,
            Self::Unavailable(_) => Outcome::Unavailable,
            Self::Internal(_) => Outcome::Error,
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> String {
        let (kind, code) = match self {
            Self::UnknownModel { .. } => ("invalid_request_error", Some("model_not_found")),
            Self::QueueFull(_) => ("rate_limit_error", Some("queue_full")),
            Self::Unavailable(_) => ("server_error", Some("unavailable")),
            Self::Internal(_) => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        let param = match self {
            Self::Invalid { param, .. } => param.as_deref(),
            Self::UnknownModel { .. } => Some("model"),
            _ => None,
        };
        json!({"error": {"message": self.to_string(), "type": kind, "param": param, "code": code}})
            .to_string()
    }
}
