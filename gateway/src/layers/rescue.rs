//! Turns a panic into an error, so that one bad request cannot take its connection, or others on it, along.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::error::GatewayError;

/// Runs `work`; a panic becomes [`GatewayError::Internal`]. Nothing shared is left half-changed: what the pipeline writes
/// to is either the request's own or atomic.
pub(super) async fn catch<T>(work: impl Future<Output = Result<T, GatewayError>>) -> Result<T, GatewayError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(_panic) => {
            tracing::error!("a request panicked; this is a fault of the gateway");
            Err(GatewayError::Internal)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        let result = catch::<()>(async { panic!("as a bug would") }).await;
        assert!(matches!(result, Err(GatewayError::Internal)));
    }
}
