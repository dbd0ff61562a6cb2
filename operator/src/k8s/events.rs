//! Events, for people who run `kubectl describe`. A repeated one becomes a series of the same Event (the recorder), and
//! no more than one a minute with the same text is sent. [I/O]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::Instant;

use super::child::Owner;

/// The same Event again only after this.
const QUIET: Duration = Duration::from_secs(60);
/// Events remembered; beyond that the oldest minute is forgotten.
const REMEMBERED: usize = 4096;

/// UID of the object, reason, note.
type Sent = (String, String, String);

/// Sends Events.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
    sent: Arc<Mutex<HashMap<Sent, Instant>>>,
}

impl Events {
    /// A sender that reports as `modelgate-operator`.
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter =
            Reporter { controller: "modelgate.dev/operator".into(), instance: Some(identity.into()) };
        Self { recorder: Recorder::new(client, reporter), sent: Arc::default() }
    }

    /// Something a person may have to act on.
    pub async fn warn(&self, owner: &Owner, reason: &str, note: String) {
        self.send(owner, EventType::Warning, reason, note).await;
    }

    /// Something worth knowing.
    pub async fn tell(&self, owner: &Owner, reason: &str, note: String) {
        self.send(owner, EventType::Normal, reason, note).await;
    }

    async fn send(&self, owner: &Owner, type_: EventType, reason: &str, mut note: String) {
        // The API server refuses notes of more than 1024 bytes.
        while note.len() > 1000 {
            note.pop();
        }
        if !self.is_new(owner, reason, &note) {
            return;
        }
        let event = Event {
            type_,
            reason: reason.into(),
            note: Some(note),
            action: "Reconcile".into(),
            secondary: None,
        };
        let regarding = ObjectReference {
            api_version: Some(modelgate_api::API_VERSION.into()),
            kind: Some(owner.kind.as_str().into()),
            name: Some(owner.name.clone()),
            namespace: Some(owner.namespace.clone()),
            uid: Some(owner.uid.clone()),
            ..ObjectReference::default()
        };
        // An Event that is lost is no reason to stop: the status says the same.
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::debug!(%error, reason, "event");
        }
    }

    fn is_new(&self, owner: &Owner, reason: &str, note: &str) -> bool {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if sent.len() >= REMEMBERED {
            sent.retain(|_, at| now.duration_since(*at) < QUIET);
        }
        let key = (owner.uid.clone(), reason.to_owned(), note.to_owned());
        let new = sent.get(&key).is_none_or(|at| now.duration_since(*at) >= QUIET);
        if new && sent.len() < REMEMBERED {
            sent.insert(key, now);
        }
        new
    }
}
