//! TLS of listeners. Certificates are files of mounted Secrets, read again every second: a new one serves new connections
//! while those that stand stay as they are, and one that cannot be used leaves the last good one in force.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use modelgate_api::contract::TlsFiles;
use modelgate_api::state::CertificateState;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::secrets::Secrets;

/// How often the files are read.
const INTERVAL: Duration = Duration::from_secs(1);

/// A listener's certificate as it is now; without one its connections are plain.
#[derive(Default)]
pub struct ListenerTls {
    state: Mutex<State>,
    acceptor: ArcSwapOption<TlsAcceptor>,
}

#[derive(Default)]
struct State {
    files: Option<TlsFiles>,
    /// What the acceptor was made of, or why it could not be made.
    seen: Option<Result<Vec<Vec<u8>>, String>>,
    /// Why what the files hold now is not in use.
    problem: Option<String>,
}

/// What a connection must do before a request.
pub enum Handshake {
    /// Nothing.
    Plain,
    /// Agree on keys.
    Tls(Arc<TlsAcceptor>),
    /// Go: TLS is asked for and there is no certificate to show.
    Refuse,
}

impl ListenerTls {
    /// Follows these files from now on. Whether TLS is spoken at all changes at once. Tells whether anything changed.
    pub fn follow(&self, files: Option<&TlsFiles>, secrets: &Secrets) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.files.as_ref() != files {
            *state = State { files: files.cloned(), seen: None, problem: None };
            if files.is_none() {
                self.acceptor.store(None);
                return true;
            }
        }
        self.reload(&mut state, secrets)
    }

    fn reload(&self, state: &mut State, secrets: &Secrets) -> bool {
        let Some(files) = &state.files else { return false };
        let read = read(files, secrets);
        if state.seen.as_ref() == Some(&read) {
            return false;
        }
        let made = read.as_ref().map_err(Clone::clone).and_then(|parts| acceptor(parts));
        state.problem = made.as_ref().err().cloned();
        match made {
            Ok(acceptor) => {
                tracing::info!(secret = %files.certificate.secret, "certificate loaded");
                self.acceptor.store(Some(Arc::new(acceptor)));
            }
            Err(problem) => {
                tracing::error!(problem, secret = %files.certificate.secret, "the certificate of a listener cannot be used; the last good one stays in force");
            }
        }
        state.seen = Some(read);
        true
    }

    /// The certificate as the state document shows it; `None` when TLS is not asked for.
    #[must_use]
    pub fn certificate(&self, listener: &str) -> Option<CertificateState> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let files = state.files.as_ref()?;
        Some(CertificateState {
            listener: listener.into(),
            secret: files.certificate.secret.clone(),
            serving: self.acceptor.load().is_some(),
            message: state.problem.clone().unwrap_or_default(),
        })
    }

    /// What the next connection must do.
    #[must_use]
    pub fn handshake(&self) -> Handshake {
        match self.acceptor.load_full() {
            Some(acceptor) => Handshake::Tls(acceptor),
            None if self.state.lock().unwrap_or_else(PoisonError::into_inner).files.is_some() => {
                Handshake::Refuse
            }
            None => Handshake::Plain,
        }
    }
}

/// Reads the files of every listener again and again.
pub async fn watch(gateway: Arc<crate::app::Gateway>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        gateway.follow_certificates();
    }
}

fn read(files: &TlsFiles, secrets: &Secrets) -> Result<Vec<Vec<u8>>, String> {
    let all = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    all.into_iter().flatten().map(|file| secrets.read(file)).collect()
}

fn acceptor(parts: &[Vec<u8>]) -> Result<TlsAcceptor, String> {
    let (Some(certificate), Some(key)) = (parts.first(), parts.get(1)) else {
        return Err("certificate and key are missing".into());
    };
    let certificates = certificates(certificate)?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the private key is not PEM: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match parts.get(2) {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in self::certificates(ca)? {
                roots.add(certificate).map_err(|error| format!("a client CA cannot be used: {error}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
        }
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| format!("certificate and key cannot be used: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("a certificate is not PEM: {error}"))?;
    if found.is_empty() { Err("there is no certificate".into()) } else { Ok(found) }
}
