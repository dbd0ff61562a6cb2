//! The two documents of an issuer, over HTTP: discovery, then the key set it names. No redirect is followed, and an issuer
//! reached by https cannot send us to plain http.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use url::Url;

use super::keys::{Key, read};
use super::{CaSource, IssuerSettings};
use crate::outbound::fetch::Fetcher;
use crate::outbound::trust::Trust;

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Fetches an issuer's keys.
///
/// # Errors
/// A sentence for the log and the state.
pub(super) async fn fetch(settings: &IssuerSettings, timeout: Duration) -> Result<Vec<Key>, String> {
    let client = client(settings)?;
    let whole = documents(settings, &client);
    let late = || format!("{} did not answer within {} s", settings.issuer, timeout.as_secs_f32());
    tokio::time::timeout(timeout, whole).await.unwrap_or_else(|_| Err(late()))
}

async fn documents(settings: &IssuerSettings, client: &Fetcher) -> Result<Vec<Key>, String> {
    let issuer = &settings.issuer;
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document = get(client, &address).await?;
    let found: Discovery = serde_json::from_slice(&document)
        .map_err(|error| format!("{address} is not a discovery document: {error}"))?;
    if found.issuer != *issuer {
        return Err(format!(
            "{address} speaks for another issuer than {issuer}; write it as the issuer spells it"
        ));
    }
    let keys = Url::parse(&found.jwks_uri)
        .map_err(|error| format!("{address}: jwks_uri is not an address: {error}"))?;
    let plain_allowed = keys.scheme() == "http" && issuer.starts_with("http://");
    if keys.scheme() != "https" && !plain_allowed {
        return Err(format!("{address}: jwks_uri is not https"));
    }
    read(&get(client, keys.as_str()).await?, issuer)
}

/// A client for one fetch, with certificates as they are now.
fn client(settings: &IssuerSettings) -> Result<Fetcher, String> {
    let provider = rustls::crypto::ring::default_provider().into();
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots(settings)?)
        .with_no_client_auth();
    Ok(Fetcher::new(settings.reach.clone(), Arc::new(Trust::fixed(&tls))))
}

fn roots(settings: &IssuerSettings) -> Result<rustls::RootCertStore, String> {
    let mut store = rustls::RootCertStore::empty();
    let Some(ca) = &settings.ca else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            // An image without certificates of its own.
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        return Ok(store);
    };
    let pem = match ca {
        CaSource::Pem(pem) => pem.clone(),
        CaSource::Path(path) => std::fs::read(path)
            .map_err(|error| format!("the CA file {} cannot be read: {error}", path.display()))?,
    };
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("the CA file is not PEM: {error}"))?;
        store.add(certificate).map_err(|error| format!("a CA certificate cannot be used: {error}"))?;
    }
    if store.is_empty() { Err("the CA file holds no certificate".to_owned()) } else { Ok(store) }
}

async fn get(client: &Fetcher, address: &str) -> Result<Bytes, String> {
    let answer = client.send(Method::GET, address, HeaderMap::new(), Bytes::new()).await?;
    if answer.status != StatusCode::OK {
        return Err(format!("GET {address} answered {}; redirects are not followed", answer.status.as_u16()));
    }
    Ok(answer.body)
}
