//! A stream that broke goes on elsewhere, as if nothing had happened. A text completion is asked for the rest: prompt and
//! delivered text, the tokens that are left, the same seed. A chat is asked for once more and must say the same again up to
//! where it broke; what it says then is what was missing. Whatever cannot be carried on so is told to be broken. Pure.

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};

use crate::dialect::openai::Api;

/// What a client has been shown of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    text: String,
    tokens: u64,
    id: Option<String>,
    said_role: bool,
}

/// Reads the events that were forwarded; `None` when they hold what cannot be carried on: several choices, calls of tools,
/// probabilities, an end.
#[must_use]
pub fn delivered(events: &[u8]) -> Option<Delivered> {
    let mut shown = Delivered::default();
    for event in objects(events) {
        let event = event?;
        shown.id = shown.id.or_else(|| Some(event.get("id")?.as_str()?.to_owned()));
        let choices = event.get("choices").and_then(Value::as_array);
        for choice in choices.into_iter().flatten() {
            let known = ["index", "text", "delta", "finish_reason", "logprobs", "stop_reason", "token_ids"];
            let odd = choice
                .as_object()?
                .iter()
                .any(|(name, value)| !known.contains(&name.as_str()) && !value.is_null());
            let ended = !choice.get("finish_reason").unwrap_or(&Value::Null).is_null();
            let probable = !choice.get("logprobs").unwrap_or(&Value::Null).is_null();
            if odd || ended || probable || choice.get("index").and_then(Value::as_u64).unwrap_or(0) != 0 {
                return None;
            }
            if let Some(delta) = choice.get("delta").and_then(Value::as_object) {
                let plain = |(name, value): (&String, &Value)| {
                    matches!(name.as_str(), "role" | "content")
                        || value.is_null()
                        || value.as_array().is_some_and(Vec::is_empty)
                };
                if !delta.iter().all(plain) {
                    return None;
                }
                shown.said_role |= delta.contains_key("role");
            }
            let text = text_of(choice).unwrap_or_default();
            shown.tokens += u64::from(!text.is_empty());
            shown.text.push_str(text);
        }
        let counted = event.pointer("/usage/completion_tokens").and_then(Value::as_u64);
        shown.tokens = shown.tokens.max(counted.unwrap_or(0));
    }
    Some(shown)
}

/// The request that asks for the rest, or for all of it once more; `None` when neither can be right. `paid`: what was
/// generated once must not be generated again.
#[must_use]
pub fn request(api: Api, body: &[u8], shown: &Delivered, paid: bool) -> Option<Bytes> {
    let mut request: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let given =
        |request: &Map<String, Value>, name: &str| request.get(name).is_some_and(|value| !value.is_null());
    let one = |name: &str| request.get(name).is_none_or(|value| value.is_null() || value.as_u64() == Some(1));
    if !one("n") || !one("best_of") {
        return None;
    }
    if shown.text.is_empty() {
        // Nothing was shown: the same request is as good as the first.
        return (!paid).then(|| Bytes::copy_from_slice(body));
    }
    match api {
        Api::Completions => {
            if given(&request, "logprobs") || request.get("echo").and_then(Value::as_bool) == Some(true) {
                return None;
            }
            // Each event counts as one token, as servers send them, unless they say how many there were.
            let left =
                request.get("max_tokens")?.as_u64()?.checked_sub(shown.tokens).filter(|left| *left > 0)?;
            let prompt = format!("{}{}", request.get("prompt")?.as_str()?, shown.text);
            request.insert("prompt".into(), prompt.into());
            request.insert("max_tokens".into(), left.into());
            Some(Value::Object(request).to_string().into())
        }
        Api::Chat => {
            let cold = request.get("temperature").and_then(Value::as_f64) == Some(0.0);
            let same = (cold || given(&request, "seed"))
                && !given(&request, "tools")
                && request.get("logprobs") != Some(&Value::Bool(true));
            (same && !paid).then(|| Bytes::copy_from_slice(body))
        }
        _ => None,
    }
}

/// Makes the events of the second stream those of the first one's rest.
#[derive(Debug)]
pub struct Splice {
    id: Option<String>,
    /// What was delivered and has not been said again yet.
    expected: String,
    said_role: bool,
    /// Tokens that the first stream delivered and the second was given as its prompt.
    prompted: u64,
}

impl Splice {
    /// For what was `shown`.
    #[must_use]
    pub fn new(api: Api, shown: Delivered) -> Self {
        let Delivered { text, tokens, id, said_role } = shown;
        let (expected, prompted) = if api == Api::Completions { (String::new(), tokens) } else { (text, 0) };
        Self { id, expected, said_role, prompted }
    }

    /// Whole events of the second stream → what the client gets to see; `None` when it says something else.
    #[must_use]
    pub fn push(&mut self, events: &[u8]) -> Option<Bytes> {
        let mut out = BytesMut::new();
        for line in events.split(|byte| *byte == b'\n') {
            let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) else { continue };
            if data == b"[DONE]" {
                if !self.expected.is_empty() {
                    return None;
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
                continue;
            }
            let mut event: Value = serde_json::from_slice(data).ok()?;
            if self.change(&mut event)? {
                out.extend_from_slice(format!("data: {event}\n\n").as_bytes());
            }
        }
        Some(out.freeze())
    }

    /// Whether the event is shown.
    fn change(&mut self, event: &mut Value) -> Option<bool> {
        if let (Some(id), Some(own)) = (&self.id, event.get_mut("id")) {
            *own = Value::from(id.as_str());
        }
        if self.prompted > 0
            && let Some(usage) = event.get_mut("usage").and_then(Value::as_object_mut)
        {
            let count = |usage: &Map<String, Value>, name: &str| usage.get(name).and_then(Value::as_u64);
            if let (Some(prompt), Some(answer)) =
                (count(usage, "prompt_tokens"), count(usage, "completion_tokens"))
            {
                usage.insert("prompt_tokens".into(), prompt.saturating_sub(self.prompted).into());
                usage.insert("completion_tokens".into(), answer.saturating_add(self.prompted).into());
            }
        }
        let Some(choice) = event.pointer_mut("/choices/0") else { return Some(true) };
        let ended = !choice.get("finish_reason").unwrap_or(&Value::Null).is_null();
        let text = text_of(choice).unwrap_or_default().to_owned();
        if !self.expected.is_empty() {
            if let Some(rest) = self.expected.strip_prefix(&text) {
                self.expected = rest.to_owned();
                return if ended {
                    self.expected.is_empty().then_some(true).inspect(|_| set_text(choice, ""))
                } else {
                    Some(false)
                };
            }
            let rest = text.strip_prefix(&self.expected)?.to_owned();
            self.expected.clear();
            set_text(choice, &rest);
        } else if self.said_role
            && let Some(delta) = choice.get_mut("delta").and_then(Value::as_object_mut)
        {
            delta.remove("role");
            if delta.is_empty() && !ended {
                return Some(false);
            }
        }
        Some(true)
    }
}

fn text_of(choice: &Value) -> Option<&str> {
    choice.get("text").or_else(|| choice.pointer("/delta/content"))?.as_str()
}

fn set_text(choice: &mut Value, text: &str) {
    if let Some(delta) = choice.get_mut("delta") {
        *delta = if text.is_empty() { json!({}) } else { json!({"content": text}) };
    } else if let Some(own) = choice.get_mut("text") {
        *own = Value::from(text);
    }
}

/// The JSON objects of whole events; `None` for one that cannot be read.
fn objects(events: &[u8]) -> impl Iterator<Item = Option<Value>> {
    let data = events
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(<[u8]>::trim_ascii);
    data.filter(|data| *data != b"[DONE]").map(|data| serde_json::from_slice(data).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(id: &str, pieces: &[&str]) -> Vec<u8> {
        let event = |piece: &&str| {
            format!(
                "data: {}\n\n",
                json!({"id": id, "choices": [{"index": 0, "text": piece, "finish_reason": null}]})
            )
        };
        pieces.iter().map(event).collect::<String>().into_bytes()
    }

    fn chat(id: &str, pieces: &[&str]) -> Vec<u8> {
        let event = |piece: &&str| {
            format!(
                "data: {}\n\n",
                json!({"id": id, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]})
            )
        };
        let role = format!(
            "data: {}\n\n",
            json!({"id": id, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]})
        );
        (role + &pieces.iter().map(event).collect::<String>()).into_bytes()
    }

    fn shown_texts(events: &[u8]) -> String {
        objects(events)
            .flatten()
            .filter_map(|event| Some(text_of(event.pointer("/choices/0")?)?.to_owned()))
            .collect()
    }

    #[test]
    fn the_rest_of_a_text_is_asked_for_with_what_is_left_of_everything() {
        let shown = delivered(&text("one", &["a", "b c"])).unwrap();
        let body =
            br#"{"model":"m","prompt":"x = ","suffix":"z","max_tokens":10,"seed":7,"stream":true,"own":1.5}"#;
        let asked: Value =
            serde_json::from_slice(&request(Api::Completions, body, &shown, true).unwrap()).unwrap();
        assert_eq!(
            asked,
            json!({"model": "m", "prompt": "x = ab c", "suffix": "z", "max_tokens": 8, "seed": 7, "stream": true, "own": 1.5})
        );
    }

    #[test]
    fn what_cannot_be_carried_on_rightly_is_not() {
        let shown = delivered(&text("one", &["a", "b"])).unwrap();
        for body in [
            r#"{"prompt":"x"}"#,
            r#"{"prompt":"x","max_tokens":2}"#,
            r#"{"prompt":["x","y"],"max_tokens":9}"#,
            r#"{"prompt":"x","max_tokens":9,"n":2}"#,
            r#"{"prompt":"x","max_tokens":9,"best_of":3}"#,
            r#"{"prompt":"x","max_tokens":9,"echo":true}"#,
            r#"{"prompt":"x","max_tokens":9,"logprobs":1}"#,
        ] {
            assert_eq!(request(Api::Completions, body.as_bytes(), &shown, false), None, "{body}");
        }
        let shown = delivered(&chat("one", &["a"])).unwrap();
        for (body, paid) in [
            (r#"{"messages":[]}"#, false),
            (r#"{"messages":[],"temperature":0.2}"#, false),
            (r#"{"messages":[],"temperature":0,"tools":[{}]}"#, false),
            (r#"{"messages":[],"temperature":0}"#, true),
        ] {
            assert_eq!(request(Api::Chat, body.as_bytes(), &shown, paid), None, "{body}");
        }
        for body in [r#"{"messages":[],"temperature":0}"#, r#"{"messages":[],"seed":1}"#] {
            assert_eq!(request(Api::Chat, body.as_bytes(), &shown, false).unwrap(), body.as_bytes());
        }
        let two = b"data: {\"choices\":[{\"index\":1,\"text\":\"a\"}]}\n\n";
        let tool = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"id\":\"x\"}]}}]}\n\n";
        let ended = b"data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\n";
        assert_eq!([delivered(two), delivered(tool), delivered(ended)], [None, None, None]);
    }

    #[test]
    fn a_chat_that_says_the_same_again_goes_on_whatever_its_pieces() {
        let all = "one two three four";
        for cut in 0..all.len() {
            for size in 1..6 {
                let shown = delivered(&chat("first", &[&all[..cut]])).unwrap();
                let pieces: Vec<String> = all
                    .as_bytes()
                    .chunks(size)
                    .map(|piece| String::from_utf8(piece.to_vec()).unwrap())
                    .collect();
                let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
                let mut splice = Splice::new(Api::Chat, shown);
                let rest = splice.push(&chat("second", &pieces)).unwrap();
                assert_eq!(
                    format!("{}{}", &all[..cut], shown_texts(&rest)),
                    all,
                    "cut at {cut}, pieces of {size}"
                );
                assert!(!String::from_utf8_lossy(&rest).contains("second"), "one stream has one id");
                assert!(!String::from_utf8_lossy(&rest).contains("role"), "the role is said once");
            }
        }
    }

    #[test]
    fn a_chat_that_says_something_else_or_ends_before_is_no_rest() {
        let shown = || delivered(&chat("first", &["one two"])).unwrap();
        assert_eq!(Splice::new(Api::Chat, shown()).push(&chat("s", &["one ", "too"])), None);
        let mut early = chat("s", &["one "]);
        early.extend_from_slice(b"data: [DONE]\n\n");
        assert_eq!(Splice::new(Api::Chat, shown()).push(&early), None);
        let end = br#"data: {"choices":[{"index":0,"delta":{"content":"one"},"finish_reason":"stop"}]}"#;
        assert_eq!(Splice::new(Api::Chat, shown()).push(end), None);
    }

    #[test]
    fn the_usage_of_a_resumed_text_is_that_of_the_whole() {
        let shown = delivered(&text("one", &["a", "b"])).unwrap();
        let mut splice = Splice::new(Api::Completions, shown);
        let out = splice.push(br#"data: {"id":"two","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}"#).unwrap();
        let event: Value = serde_json::from_slice(&out[6..]).unwrap();
        assert_eq!(
            event,
            json!({"id": "one", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}})
        );
    }
}
