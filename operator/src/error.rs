//! What can go wrong in a reconcile, and how long to wait before the next try.

use std::time::Duration;

/// A reconcile that did not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or could not be reached.
    #[error("{action}: {source}")]
    Api {
        /// What was tried, such as `apply Deployment a/b`.
        action: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A child's name is taken by an object of somebody else.
    #[error("{kind} {name} exists and does not belong to this object; delete or rename it")]
    Taken {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The Lease is gone or about to go: nothing may be written any more.
    #[error("the Lease is not held any more; nothing is written")]
    LeaseLost,
    /// An object could not be rendered.
    #[error("render {what}: {message}")]
    Render {
        /// Which object.
        what: &'static str,
        /// Why not.
        message: String,
    },
}

impl Error {
    pub(crate) fn api(action: impl Into<String>, source: kube::Error) -> Self {
        Self::Api { action: action.into(), source: Box::new(source) }
    }

    /// Label of metrics: a closed set.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => match status.code {
                    401 | 403 => ErrorKind::Forbidden,
                    404 => ErrorKind::NotFound,
                    409 => ErrorKind::Conflict,
                    400 | 422 => ErrorKind::Refused,
                    _ => ErrorKind::Server,
                },
                _ => ErrorKind::Network,
            },
            Self::Taken { .. } | Self::Render { .. } => ErrorKind::Refused,
            Self::LeaseLost => ErrorKind::LeaseLost,
        }
    }
}

/// Kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// 401, 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 400, 422, or a name that is taken: a person must act.
    Refused,
    /// 429, 5xx.
    Server,
    /// No answer.
    Network,
    /// Not the leader any more.
    LeaseLost,
}

impl ErrorKind {
    /// Every kind, for metrics that are there from the start.
    pub const ALL: [Self; 7] = [
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::Refused,
        Self::Server,
        Self::Network,
        Self::LeaseLost,
    ];

    /// The kind as a label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Server => "server",
            Self::Network => "network",
            Self::LeaseLost => "lease_lost",
        }
    }

    /// First wait and longest wait; each failure in a row doubles the wait.
    fn bounds(self) -> (Duration, Duration) {
        let (first, longest) = match self {
            Self::Conflict | Self::NotFound => (200, 60_000),
            Self::Server | Self::Network | Self::LeaseLost => (1_000, 60_000),
            Self::Forbidden | Self::Refused => (5_000, 120_000),
        };
        (Duration::from_millis(first), Duration::from_millis(longest))
    }

    /// How long to wait after `failures` failures in a row (1 is the first).
    #[must_use]
    pub fn wait(self, failures: u32) -> Duration {
        let (first, longest) = self.bounds();
        first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_or_more_and_never_overflow() {
        for kind in ErrorKind::ALL {
            assert!(kind.wait(2) >= kind.wait(1).saturating_mul(2).min(kind.wait(u32::MAX)));
            assert!(kind.wait(u32::MAX) >= Duration::from_secs(60), "{kind:?}");
            assert!(kind.wait(0) <= Duration::from_secs(5));
        }
    }
}
