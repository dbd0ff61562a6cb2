//! The requests that ended last, for `/debug/requests`: a bounded ring that costs a request one short lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::summary::Summary;
use crate::limits;

/// The ring.
#[derive(Default)]
pub struct History {
    ended: Mutex<VecDeque<Arc<Summary>>>,
}

impl History {
    /// Adds a request, and forgets the oldest when there are too many.
    pub fn push(&self, summary: Arc<Summary>) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if ended.len() >= limits::DEBUG_REQUESTS { ended.pop_front() } else { None };
        ended.push_back(summary);
        drop(ended);
        // Freed after the lock is given back.
        drop(oldest);
    }

    /// All of them, newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Summary>> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().rev().cloned().collect()
    }

    /// Those with this id, the gateway's or the caller's, newest first.
    #[must_use]
    pub fn find(&self, id: &str) -> Vec<Arc<Summary>> {
        let mut all = self.all();
        all.retain(|summary| summary.request_id == id || summary.client_request_id.as_deref() == Some(id));
        all
    }
}
