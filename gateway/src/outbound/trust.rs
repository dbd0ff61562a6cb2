//! What TLS trusts: the system's certificates, Mozilla's where the system has none, or a private CA alone.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use modelgate_api::contract::SecretFile;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::secrets::Secrets;

/// Both versions of HTTP are offered, the newer first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What the connections of one backend trust. A private CA is read again and again, so that a new one needs no restart.
pub struct Trust {
    file: Option<SecretFile>,
    secrets: Secrets,
    seen: Mutex<Vec<u8>>,
    missing: Mutex<Option<String>>,
    config: ArcSwap<rustls::ClientConfig>,
}

impl Trust {
    /// The system's certificates, or those of a CA's file once [`Trust::refresh`] has read it.
    #[must_use]
    pub fn new(system: &rustls::ClientConfig, file: Option<SecretFile>, secrets: Secrets) -> Self {
        Self {
            file,
            secrets,
            seen: Mutex::default(),
            missing: Mutex::default(),
            config: ArcSwap::new(with_http2(system)),
        }
    }

    /// What `config` trusts, for good.
    #[must_use]
    pub fn fixed(config: &rustls::ClientConfig) -> Self {
        Self::new(config, None, Secrets::new(std::path::Path::new("")))
    }

    /// What a connection that is opened now trusts.
    #[must_use]
    pub fn config(&self) -> Arc<rustls::ClientConfig> {
        self.config.load_full()
    }

    /// Why there is no CA to trust, where one is asked for.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again. When it holds no CA, what was trusted before still is; before the first one nothing is.
    pub fn refresh(&self) {
        let Some(file) = &self.file else { return };
        let read = self.read(file);
        let had = !self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if let Err(why) = &read
            && had
        {
            tracing::warn!(error = why, "the CA cannot be read any more; the old one is still trusted");
        }
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = read.err().filter(|_| !had);
    }

    fn read(&self, file: &SecretFile) -> Result<(), String> {
        let pem = self.secrets.read(file)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == pem {
            return Ok(());
        }
        let path = self.secrets.path(file);
        let fault = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| fault(&format_args!("is not PEM: {error}")))?;
            roots
                .add(certificate)
                .map_err(|error| fault(&format_args!("a CA certificate cannot be used: {error}")))?;
        }
        if roots.is_empty() {
            return Err(fault(&"holds no certificate"));
        }
        let config = config(roots).map_err(|error| fault(&error))?;
        self.config.store(with_http2(&config));
        *seen = pem;
        Ok(())
    }
}

/// The system's certificates, or Mozilla's where the system has none (as in a bare image).
///
/// # Errors
/// When the cryptography library offers no protocol version that is safe.
pub fn system() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    let (added, _unparsable) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    config(roots)
}

fn config(roots: rustls::RootCertStore) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The same, offering both versions of HTTP to a server that can negotiate.
fn with_http2(config: &rustls::ClientConfig) -> Arc<rustls::ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Arc::new(config)
}
