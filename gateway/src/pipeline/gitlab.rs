//! GitLab's routes: what their bodies ask for, carried to a model and back. The contract itself, bodies and words, is
//! `crate::gitlab`'s and pure.

use http::StatusCode;
use http::request::Parts;
use modelgate_api::v1alpha1::Compat;

use super::parse;
use super::respond::{self, Reply};
use crate::config::snapshot::Snapshot;
use crate::error::GatewayError;
use crate::gitlab::{self, Unit};
use crate::metrics::Outcome;
use crate::server::record::Record;

/// Holds the caller to its scopes. The gateway of 2023 knew none.
///
/// # Errors
/// [`GatewayError::NotEntitled`].
pub fn entitle(snapshot: &Snapshot, record: &Record, unit: Unit) -> Result<(), GatewayError> {
    match record.caller() {
        Some(caller) if snapshot.config.compat == Compat::Current => gitlab::entitle(caller, unit),
        _ => Ok(()),
    }
}

/// `POST /v1/code/user_access_token`: a token for one user's direct access.
///
/// # Errors
/// 404 without a key to sign with, 403 for a caller that may not have one.
pub fn token(snapshot: &Snapshot, parts: &Parts, record: &mut Record) -> Result<Reply, GatewayError> {
    let direct = snapshot.direct_access.as_ref().ok_or(GatewayError::NotFound)?;
    parse::check_method(record.handler, parts)?;
    let caller = record.caller().ok_or(GatewayError::Internal)?;
    gitlab::entitle(caller, Unit::IssueToken)?;
    let issued = direct.issue(caller, &parts.headers).ok_or(GatewayError::Internal)?;
    let body = serde_json::to_vec(&issued).map_err(|_| GatewayError::Internal)?;
    record.set_outcome(Outcome::Success);
    Ok(respond::whole(StatusCode::OK, respond::JSON, body))
}
