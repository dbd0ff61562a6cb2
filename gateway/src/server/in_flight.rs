//! Requests under way: their number is bounded, and `/debug/requests` lists them, without any prompt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::error::GatewayError;
use crate::limits;

/// The requests under way.
#[derive(Default)]
pub struct InFlight {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next: u64,
    requests: BTreeMap<u64, Entry>,
}

struct Entry {
    request_id: String,
    handler: &'static str,
    backend: Option<String>,
    began: Instant,
}

/// A request as `/debug/requests` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    request_id: String,
    handler: &'static str,
    backend: Option<String>,
    age_ms: u128,
}

impl InFlight {
    /// Lets a request in.
    ///
    /// # Errors
    /// [`GatewayError::Shed`] when too many are under way.
    pub fn admit(self: &Arc<Self>, request_id: &str, handler: &'static str) -> Result<Slot, GatewayError> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.requests.len() >= limits::IN_FLIGHT {
            return Err(GatewayError::Shed);
        }
        let id = list.next;
        list.next += 1;
        list.requests.insert(
            id,
            Entry { request_id: request_id.into(), handler, backend: None, began: Instant::now() },
        );
        Ok(Slot { all: Arc::clone(self), id })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).requests.len()
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.select(|_| true)
    }

    /// Those with this id, oldest first.
    #[must_use]
    pub fn find(&self, request_id: &str) -> Vec<Row> {
        self.select(|entry| entry.request_id == request_id)
    }

    fn select(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Row> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |entry: &Entry| Row {
            request_id: entry.request_id.clone(),
            handler: entry.handler,
            backend: entry.backend.clone(),
            age_ms: entry.began.elapsed().as_millis(),
        };
        list.requests.values().filter(|entry| wanted(entry)).map(row).collect()
    }
}

/// A request's place; given back when dropped.
pub struct Slot {
    all: Arc<InFlight>,
    id: u64,
}

impl Slot {
    /// Notes which backend answers.
    pub fn set_backend(&self, name: &str) {
        let mut list = self.all.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = list.requests.get_mut(&self.id) {
            entry.backend = Some(name.into());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.all.list.lock().unwrap_or_else(PoisonError::into_inner).requests.remove(&self.id);
    }
}
