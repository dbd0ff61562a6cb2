//! Who sends the request, decided before a byte of its body is read.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use modelgate_api::contract::AuthConfig;
use modelgate_api::v1alpha1::Protocol;

use super::respond::Shape;
use crate::caller::Caller;
use crate::config::snapshot::Snapshot;
use crate::error::{AuthFailure, GatewayError};
use crate::gitlab::{self, AuthError};
use crate::oidc::{CaSource, IssuerSettings, Verifier};
use crate::secrets::Secrets;
use crate::series::Handler;

/// Lets the request in, or not, and says whom it speaks for. GitLab's paths, and every unknown one where GitLab's protocol is served, ask for GitLab's
/// headers; the others for a bearer token.
///
/// # Errors
/// [`GatewayError::Unauthorized`].
pub async fn check(
    snapshot: &Snapshot,
    parts: &Parts,
    handler: Handler,
) -> Result<Arc<Caller>, GatewayError> {
    if snapshot.config.auth.anonymous {
        return Ok(Arc::clone(&snapshot.nobody_asked));
    }
    let refused = |failure| GatewayError::Unauthorized(failure);
    let token = match Shape::of(handler, snapshot.serves(Protocol::GitLab), parts.uri.path()) {
        Shape::GitLab => gitlab::auth_headers(&parts.headers),
        Shape::OpenAi => bearer(&parts.headers),
    };
    let token = token.map_err(|error| refused(AuthFailure::Headers(error)))?;
    let Some(verifier) = &snapshot.verifier else {
        return Err(refused(AuthFailure::Headers(AuthError::Forbidden)));
    };
    match verifier.verify(token).await {
        Ok(caller) => Ok(caller),
        Err(refusal) => {
            tracing::debug!(refusal = %refusal, "a token was refused");
            Err(refused(AuthFailure::Token(refusal)))
        }
    }
}

/// The bearer token of a request that needs no other header.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(if headers.contains_key(AUTHORIZATION) {
            AuthError::Malformed
        } else {
            AuthError::Missing
        });
    };
    let value = value.to_str().map_err(|_| AuthError::Malformed)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start_matches(' ')),
        _ => Err(AuthError::Malformed),
    }
}

/// Checks tokens of the configured issuers; `None` when there are none.
#[must_use]
pub fn verifier(auth: &AuthConfig, secrets: &Secrets) -> Option<Verifier> {
    let issuers: Vec<_> = auth
        .oidc
        .iter()
        .map(|issuer| IssuerSettings {
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            ca: issuer.ca.as_ref().map(|file| CaSource::Path(secrets.path(file))),
        })
        .collect();
    (!issuers.is_empty()).then(|| Verifier::new(issuers))
}
