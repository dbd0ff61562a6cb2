//! Text of prompts and answers in the log: off unless somebody asks for it by a name that says so.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::sink::LOG;
use super::time::rfc3339;

/// Bytes of each text that are logged.
const MAX_BYTES: usize = 16 * 1024;

static ON: AtomicBool = AtomicBool::new(false);

pub(super) fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Whether texts are logged; asked before one is made for it.
#[must_use]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Logs what a step made of a text, as one line of JSON in either format.
pub fn step(request_id: &str, step: &str, before: &str, after: &str) {
    if !is_on() {
        return;
    }
    let Some(log) = LOG.get() else { return };
    let line = json!({
        "timestamp": rfc3339(std::time::SystemTime::now()),
        "level": "INFO",
        "target": "content",
        "correlation_id": request_id,
        "step": step,
        "before": cut(before),
        "after": cut(after),
    });
    log.send(format!("{line}\n").into_bytes());
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
