//! The two documents of an issuer, over HTTP: discovery, then the key set it names. No redirect is followed, and an issuer
//! reached by https cannot send us to plain http.

use std::sync::Arc;
use std::time::Duration;

use modelgate_api::address::refused;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use url::Url;

use super::keys::{Key, read};
use super::{CaSource, IssuerSettings};

const MAX_BODY: usize = 1024 * 1024;

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
    let issuer = &settings.issuer;
    let client = client(settings, timeout)?;
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document = get(&client, &address).await?;
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
    read(&get(&client, keys.as_str()).await?, issuer)
}

/// A client for one fetch, with certificates as they are now.
fn client(settings: &IssuerSettings, timeout: Duration) -> Result<reqwest::Client, String> {
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots(settings)?)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(Guarded))
        .timeout(timeout)
        .user_agent(concat!("modelgate-gateway/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("the HTTP client cannot be set up: {error}"))
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

/// Looks names up and refuses those that lead to a metadata service; one such address refuses all of the name's.
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match found.iter().find_map(|address| refused(address.ip(), false)) {
                Some(what) => Err(format!("{} leads to {what}; nothing is sent there", name.as_str()).into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

/// The same for an address that is no name, which is not looked up.
fn check_literal(address: &str) -> Result<(), String> {
    let host = Url::parse(address).ok().and_then(|url| url.host().map(|host| host.to_owned()));
    let literal = match host {
        Some(url::Host::Ipv4(literal)) => literal.into(),
        Some(url::Host::Ipv6(literal)) => literal.into(),
        Some(url::Host::Domain(_)) | None => return Ok(()),
    };
    refused(literal, false)
        .map_or(Ok(()), |what| Err(format!("GET {address}: {literal} is {what}; nothing is sent there")))
}

async fn get(client: &reqwest::Client, address: &str) -> Result<Vec<u8>, String> {
    let failed = |error: reqwest::Error| format!("GET {address} failed: {}", chain(&error.without_url()));
    check_literal(address)?;
    let mut response = client.get(address).send().await.map_err(failed)?;
    let status = response.status();
    if status != reqwest::StatusCode::OK {
        return Err(format!("GET {address} answered {}; redirects are not followed", status.as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(format!("GET {address} answered more than 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes: "connection refused" stands in the last.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_issuer_leads_to_a_metadata_service() {
        for address in ["http://169.254.169.254/x", "http://2852039166/x", "http://[::ffff:a9fe:a9fe]/x"] {
            assert!(check_literal(address).is_err(), "{address}");
        }
        assert!(check_literal("http://127.0.0.1:1/x").is_ok() && check_literal("https://gitlab.com").is_ok());
    }
}
