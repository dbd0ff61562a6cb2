//! Completions from files of 100 KB: what making the prompt and cleaning the answer take, as the gateway itself tells it
//! in `Server-Timing`.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;

use crate::load::{Target, quantile};
use crate::wire::Connection;

/// Bytes of the file before and after the cursor.
const ABOVE: usize = 60_000;
const BELOW: usize = 40_000;

/// Microseconds of engine time.
#[derive(Clone, Copy, Debug)]
pub struct EngineTime {
    pub p50: u32,
    pub p99: u32,
}

/// Asks for this many completions, one after another, each in another file.
pub async fn measure(target: &Target, count: usize) -> Result<EngineTime> {
    let mut connection = Connection::open(target.at).await?;
    let mut times = Vec::with_capacity(count);
    for turn in 0..count {
        let above = file(turn, ABOVE) + &format!("def last_of_{turn}(first, second):\n    return ");
        let file = json!({"file_name": "service.py", "content_above_cursor": above, "content_below_cursor": format!("\n\n\n{}", file(turn + count, BELOW))});
        let body = json!({"current_file": file, "prompt_version": 1}).to_string();
        let bearer = target.bearer.as_deref().unwrap_or_default();
        let head = format!(
            "POST /v2/code/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nx-gitlab-authentication-type: oidc\r\nauthorization: Bearer {bearer}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut answer = Vec::new();
        let request = (head + &body).into_bytes();
        connection
            .send(&request, Instant::now(), |piece| {
                answer.extend_from_slice(piece);
                Ok(())
            })
            .await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        answer["choices"][0]["text"].as_str().with_context(|| format!("no completion: {answer}"))?;
        let timing = connection.server_timing.take().context("the answer has no Server-Timing")?;
        times.push(spent(&timing, "prompt") + spent(&timing, "postprocess"));
    }
    Ok(EngineTime { p50: quantile(&times, 0.5), p99: quantile(&times, 0.99) })
}

/// Microseconds of a phase.
fn spent(timing: &str, phase: &str) -> u32 {
    let entry = timing.split(", ").find_map(|entry| entry.strip_prefix(phase)?.strip_prefix(";dur="));
    let milliseconds = entry.and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
    let micros = (milliseconds * 1e3) as u32;
    micros
}

/// Python of about this many bytes, another one for each number.
fn file(number: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 400);
    let mut at = 0;
    while text.len() < bytes {
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "class Handler{number}_{at}(Base):\n    \"\"\"Serves one kind of request.\"\"\"\n\n    def __init__(self, store, limit={at}):\n        self.store = store\n        self.limit = limit\n\n    def handle(self, request):\n        if len(request.items) > self.limit:\n            raise ValueError(f\"too many: {{len(request.items)}}\")\n        return [self.store.get(item, default=None) for item in request.items]\n\n\n"
        );
        at += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_read_from_the_header() {
        let header = "auth;dur=0.010, prompt;dur=1.500, first_byte;dur=3.000, postprocess;dur=0.250";
        assert_eq!(
            [spent(header, "prompt"), spent(header, "postprocess"), spent(header, "read")],
            [1500, 250, 0]
        );
    }

    #[test]
    fn a_file_has_its_size_and_no_two_are_alike() {
        assert!((60_000..61_000).contains(&file(1, ABOVE).len()));
        assert_ne!(file(1, 500), file(2, 500));
    }
}
