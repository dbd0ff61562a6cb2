//! What a backend is shown of us: a bearer token from a file, or one that Google gives. Both are read again and again, so
//! that a rotated one needs no restart; while Google's is fetched again the old one serves.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use modelgate_api::contract::{SecretFile, Target};
use modelgate_api::v1alpha1::ExternalProtocol;
use tokio::sync::Notify;

use super::{Backend, Parts};
use crate::google::{Google, Turn};
use crate::outbound::trust::Trust;
use crate::secrets::Secrets;

/// How often files are read again and the clock is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// A server that refuses a token makes it fetched anew at most this often.
const REFUSED_INTERVAL: Duration = Duration::from_secs(30);

/// Where the token is from.
pub(super) enum Origin {
    /// None is sent.
    Nothing,
    /// A file.
    File(SecretFile, Secrets),
    /// Google.
    Google(Box<Google>),
}

/// Keeps token and CA of an external server fresh until the backend is gone.
pub(super) async fn watch(backend: Weak<Backend>) {
    let mut refused = false;
    while let Some(strong) = backend.upgrade() {
        strong.credential.refresh(&strong.name, refused).await;
        strong.trust.refresh();
        refused = tokio::time::timeout(INTERVAL, strong.credential.refused.notified()).await.is_ok();
    }
}

/// The token of a backend.
pub(super) struct Credential {
    origin: tokio::sync::Mutex<Origin>,
    header: ArcSwapOption<HeaderValue>,
    missing: Mutex<Option<String>>,
    refused: Notify,
    last_refused: Mutex<Option<Instant>>,
}

impl Credential {
    pub(super) fn new(origin: Origin) -> Self {
        let missing =
            matches!(origin, Origin::Google(_)).then(|| "its first token is being fetched".to_owned());
        let credential = Self {
            header: ArcSwapOption::empty(),
            missing: Mutex::new(missing),
            refused: Notify::new(),
            last_refused: Mutex::new(None),
            origin: tokio::sync::Mutex::new(Origin::Nothing),
        };
        if let Origin::File(file, secrets) = &origin {
            credential.set(from_file(file, secrets));
        }
        Self { origin: tokio::sync::Mutex::new(origin), ..credential }
    }

    /// The header to send.
    pub(super) fn header(&self) -> Option<Arc<HeaderValue>> {
        self.header.load_full()
    }

    /// Why there is none, where one is asked for.
    pub(super) fn missing(&self) -> Option<String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server refused the token: it may have been revoked.
    pub(super) fn was_refused(&self) {
        let mut last = self.last_refused.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= REFUSED_INTERVAL) {
            *last = Some(Instant::now());
            self.refused.notify_one();
        }
    }

    /// Looks at file and clock once.
    async fn refresh(&self, backend: &str, refused: bool) {
        let mut origin = self.origin.lock().await;
        match &mut *origin {
            Origin::Nothing => {}
            Origin::File(file, secrets) => self.set(from_file(file, secrets)),
            Origin::Google(google) => match google.turn(refused).await {
                Turn::Rest => {}
                Turn::Fresh(token) => {
                    tracing::debug!(backend, lifetime = ?token.lifetime, "a new token of Google's");
                    self.set(
                        bearer(token.value.as_bytes()).ok_or_else(|| "Google's token cannot be sent".into()),
                    );
                }
                Turn::Stale(why) => {
                    tracing::warn!(
                        backend,
                        error = why,
                        "no new token of Google's; the old one is good for some time yet"
                    );
                }
                Turn::Failed(why) => {
                    tracing::warn!(backend, error = why, "no token of Google's");
                    self.set(Err(why));
                }
            },
        }
    }

    fn set(&self, header: Result<HeaderValue, String>) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        match header {
            Ok(header) => {
                self.header.store(Some(Arc::new(header)));
                *missing = None;
            }
            Err(why) => {
                self.header.store(None);
                *missing = Some(why);
            }
        }
    }
}

fn from_file(file: &SecretFile, secrets: &Secrets) -> Result<HeaderValue, String> {
    let token = secrets.read(file)?;
    bearer(token.trim_ascii())
        .ok_or_else(|| format!("{}: holds bytes that no HTTP header may have", secrets.path(file).display()))
}

fn bearer(token: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Where an external server's credential and CA are.
pub(super) fn credentials(target: &Target, parts: &Parts) -> (Origin, Option<SecretFile>) {
    let Target::External { protocol, credential, ca, .. } = target else { return (Origin::Nothing, None) };
    let origin = match (protocol, credential) {
        (ExternalProtocol::VertexAI, file) => {
            let path = file.as_ref().map(|file| parts.secrets.path(file));
            // Google's own servers have public certificates; a private CA is the backend's alone.
            let trust = Arc::new(Trust::new(&parts.tls, None, parts.secrets.clone()));
            let google = Google::new(
                path,
                parts.reach.clone(),
                trust,
                parts.google.clone(),
                parts.secrets.folder().into(),
            );
            Origin::Google(Box::new(google))
        }
        (_, Some(file)) => Origin::File(file.clone(), parts.secrets.clone()),
        (_, None) => Origin::Nothing,
    };
    (origin, ca.clone())
}
