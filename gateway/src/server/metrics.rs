//! The metrics listener: `/metrics` and nothing else.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use modelgate_api::contract::BasicAuthFiles;
use sha2::{Digest, Sha256};

use super::{plain, refused};
use crate::app::Gateway;
use crate::keys::equal;
use crate::secrets::Secrets;
use crate::telemetry;

/// Answers a scrape.
pub async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if let Some(refusal) = refused(&request, &["/metrics"]) {
        return refusal;
    }
    let login = gateway.snapshot.load().config.listeners.metrics_basic_auth.clone();
    if let Some(login) = login
        && !may_scrape(&login, &gateway.workshop.secrets, request.headers())
    {
        let mut refusal = plain(StatusCode::UNAUTHORIZED, "text/plain", "name or password is wrong\n");
        refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"metrics\""));
        return refusal;
    }
    let reports = &gateway.reports;
    let dropped = (telemetry::take_dropped(), reports.take_dropped_usage(), reports.take_dropped_otlp());
    gateway.metrics.count_dropped(dropped.0, dropped.1, dropped.2);
    match gateway.metrics.encode() {
        Ok(text) => plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        Err(error) => {
            tracing::error!(error = %error, "metrics could not be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "metrics could not be written\n")
        }
    }
}

/// Whether the request gives the name and password of the files as they are now; where they cannot be read nobody may.
fn may_scrape(login: &BasicAuthFiles, secrets: &Secrets, headers: &HeaderMap) -> bool {
    let wanted = |file| {
        secrets.read(file).inspect_err(|error| {
            tracing::warn!(
                error,
                "nobody can scrape: what listeners.metrics.basicAuthSecretRef names cannot be read"
            );
        })
    };
    let (Ok(name), Ok(password)) = (wanted(&login.username), wanted(&login.password)) else { return false };
    let end = |bytes: &[u8]| bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec();
    let wanted = [end(&name), b":".to_vec(), end(&password)].concat();
    given(headers).is_some_and(|given| equal(&Sha256::digest(given), &Sha256::digest(wanted)))
}

fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    let text = scheme.eq_ignore_ascii_case("basic").then_some(text)?;
    STANDARD.decode(text.trim()).ok()
}
