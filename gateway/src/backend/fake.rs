//! A backend that answers from memory, in OpenAI's dialect like any other, so the whole pipeline is used.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::json;

use crate::dialect::openai::Api;
use crate::pipeline::body::UpstreamBody;

/// Numbers of a vector.
const DIMENSIONS: usize = 8;

/// Canned answers.
#[derive(Debug)]
pub struct Fake {
    model: String,
    text: String,
    chunks: usize,
    delay: Duration,
    fail_rate: f64,
    asked: AtomicU64,
}

impl Fake {
    /// Answers `text` under the name `model`.
    #[must_use]
    pub fn new(model: &str, text: &str, chunks: u32, delay_ms: u64, fail_rate: f64) -> Self {
        Self {
            model: model.into(),
            text: text.into(),
            chunks: usize::try_from(chunks).unwrap_or(1).max(1),
            delay: Duration::from_millis(delay_ms),
            fail_rate,
            asked: AtomicU64::new(0),
        }
    }

    /// One answer, streamed piece by piece or whole.
    pub async fn answer(&self, api: Api, stream: bool) -> Response<UpstreamBody> {
        if self.fails() {
            tokio::time::sleep(self.delay).await;
            let body = json!({"error": {"message": "this failure is asked for by fake.failRate", "type": "server_error", "param": null, "code": null}});
            return json_response(StatusCode::INTERNAL_SERVER_ERROR, &body);
        }
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        if stream {
            let events = self.events(api, created);
            // The pause before the first piece is part of the time to the answer's head, as with a real server.
            tokio::time::sleep(self.delay).await;
            let mut response = Response::new(UpstreamBody::paced(events, self.delay));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
            return response;
        }
        tokio::time::sleep(self.delay).await;
        if api == Api::Embeddings {
            return json_response(StatusCode::OK, &self.embedding());
        }
        let choice = match api {
            Api::Chat => {
                json!({"index": 0, "message": {"role": "assistant", "content": self.text}, "finish_reason": "stop"})
            }
            _ => json!({"index": 0, "text": self.text, "logprobs": null, "finish_reason": "stop"}),
        };
        let tokens = self.text.split_whitespace().count();
        let body = json!({
            "id": "cmpl-fake", "object": object(api, false), "created": created, "model": self.model, "choices": [choice],
            "usage": {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens},
        });
        json_response(StatusCode::OK, &body)
    }

    /// One vector, always the same, as it says nothing of what was asked.
    fn embedding(&self) -> serde_json::Value {
        let mut vector = [0.0_f64; DIMENSIONS];
        for (at, byte) in self.text.bytes().enumerate() {
            if let Some(number) = vector.get_mut(at % DIMENSIONS) {
                *number += f64::from(byte) / 256.0;
            }
        }
        json!({
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": vector}],
            "model": self.model,
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        })
    }

    /// Failures are spread evenly, so that a test that asks for a quarter gets exactly every fourth.
    fn fails(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss)] // exact up to 2^53 requests
        let share = |n: u64| (n as f64 * self.fail_rate).floor();
        share(asked + 1) > share(asked)
    }

    fn events(&self, api: Api, created: u64) -> Vec<Bytes> {
        let letters: Vec<char> = self.text.chars().collect();
        let size = letters.len().div_ceil(self.chunks).max(1);
        let pieces = letters.chunks(size).map(|piece| piece.iter().collect::<String>());
        let event = |choice: serde_json::Value| {
            let event = json!({"id": "cmpl-fake", "object": object(api, true), "created": created, "model": self.model, "choices": [choice]});
            Bytes::from(format!("data: {event}\n\n"))
        };
        let mut events: Vec<Bytes> = pieces
            .map(|piece| match api {
                Api::Chat => event(json!({"index": 0, "delta": {"content": piece}, "finish_reason": null})),
                _ => event(json!({"index": 0, "text": piece, "logprobs": null, "finish_reason": null})),
            })
            .collect();
        events.push(match api {
            Api::Chat => event(json!({"index": 0, "delta": {}, "finish_reason": "stop"})),
            _ => event(json!({"index": 0, "text": "", "logprobs": null, "finish_reason": "stop"})),
        });
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }
}

fn object(api: Api, stream: bool) -> &'static str {
    match (api, stream) {
        (Api::Chat, true) => "chat.completion.chunk",
        (Api::Chat, false) => "chat.completion",
        _ => "text_completion",
    }
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<UpstreamBody> {
    let mut response = Response::new(UpstreamBody::whole(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_spread_evenly() {
        let fake = Fake::new("m", "x", 1, 0, 0.25);
        let failed: Vec<bool> = (0..8).map(|_| fake.fails()).collect();
        assert_eq!(failed, [false, false, false, true, false, false, false, true]);
        let never = Fake::new("m", "x", 1, 0, 0.0);
        assert!((0..100).all(|_| !never.fails()));
        let always = Fake::new("m", "x", 1, 0, 1.0);
        assert!((0..100).all(|_| always.fails()));
    }

    #[test]
    fn a_stream_is_cut_into_the_pieces_asked_for() {
        let fake = Fake::new("m", "äbcdef", 3, 0, 0.0);
        let events = fake.events(Api::Completions, 0);
        assert_eq!(events.len(), 3 + 2);
        assert!(std::str::from_utf8(&events[0]).unwrap().contains("\"text\":\"äb\""));
    }
}
