//! Who sends the request, decided before a byte of its body is read.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use modelgate_api::contract::AuthConfig;
use modelgate_api::v1alpha1::Compat;

use super::respond::Shape;
use crate::caller::Caller;
use crate::config::snapshot::Snapshot;
use crate::error::{AuthFailure, GatewayError};
use crate::gitlab::{self, AuthError};
use crate::keys::{self, KeyRefusal};
use crate::oidc::{CaSource, IssuerSettings, Refusal, Verifier};
use crate::outbound::Reach;
use crate::secrets::Secrets;
use crate::series::Handler;

/// How long a request waits for the keys of an issuer that was never reached: an editor gives up after 5 s.
const KEYS_WAIT: Duration = Duration::from_secs(2);

/// Lets the request in, or not, and says whom it speaks for. GitLab's paths, and every unknown one where GitLab's protocol
/// is served, ask for GitLab's headers; the others for a bearer token, which is an API key if it begins like one.
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
    let shape = Shape::of(handler, parts.uri.path(), snapshot);
    let token = match shape {
        Shape::GitLab => gitlab::auth_headers(&parts.headers),
        _ => bearer(&parts.headers),
    };
    let token = token.map_err(|error| refused(AuthFailure::Headers(error)))?;
    if shape != Shape::GitLab && keys::is_key(token) {
        let unavailable = Err(KeyRefusal::Unavailable);
        let checked = snapshot.keys.as_ref().map_or(unavailable, |keys| keys.check(token));
        return checked.map_err(|refusal| refused(AuthFailure::Key(refusal)));
    }
    let caller = identify(snapshot, token).await.map_err(refused)?;
    if let Some(config) = &snapshot.config.auth.gitlab {
        let agreed = match (shape, snapshot.config.compat) {
            // The gateway of 2023 compared nothing.
            (Shape::GitLab, Compat::Current) => gitlab::agree(&parts.headers, &caller),
            _ => Ok(()),
        };
        let bound = gitlab::bind(config, &caller);
        bound.and(agreed).map_err(|error| refused(AuthFailure::Headers(error)))?;
    }
    Ok(caller)
}

/// Whom a token speaks for.
async fn identify(snapshot: &Snapshot, token: &str) -> Result<Arc<Caller>, AuthFailure> {
    if let Some(caller) = snapshot.direct_access.as_ref().and_then(|direct| direct.verify(token)) {
        return Ok(Arc::new(caller));
    }
    let Some(verifier) = &snapshot.verifier else {
        return Err(AuthFailure::Headers(AuthError::Forbidden));
    };
    // Keys that were never fetched are fetched by a task of their own, which goes on when this wait ends.
    let verified = tokio::time::timeout(KEYS_WAIT, verifier.verify(token)).await;
    verified.unwrap_or(Err(Refusal::Unavailable)).map_err(|refusal| {
        tracing::debug!(refusal = %refusal, "a token was refused");
        AuthFailure::Token(refusal)
    })
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
pub fn verifier(auth: &AuthConfig, secrets: &Secrets, reach: &Reach) -> Option<Verifier> {
    let issuers: Vec<_> = auth
        .oidc
        .iter()
        .map(|issuer| IssuerSettings {
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            ca: issuer.ca.as_ref().map(|file| CaSource::Path(secrets.path(file))),
            jwks_cache: Some(Duration::from_secs(issuer.jwks_cache_seconds)),
            reach: reach.clone(),
            claims: issuer.claims.iter().map(|claim| (claim.name.clone(), claim.values.clone())).collect(),
        })
        .collect();
    (!issuers.is_empty()).then(|| Verifier::new(issuers))
}
