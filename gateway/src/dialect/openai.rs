//! OpenAI's dialect. Bodies that pass through are never rebuilt: the few members that matter are found as spans, the
//! model's name is spliced in, and everything else reaches the backend byte for byte.

pub mod generate;
pub mod infill;
pub mod wish;
pub mod words;

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::GatewayError;
use crate::limits;
use crate::protocol::depth;

/// Paths under a server's base address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Text completion.
    Completions,
    /// Chat.
    Chat,
    /// Embeddings.
    Embeddings,
    /// The list of models.
    Models,
}

impl Api {
    /// Every path, in the order of the enum.
    pub const ALL: [Self; 4] = [Self::Completions, Self::Chat, Self::Embeddings, Self::Models];

    /// The path, appended to the base address.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Completions => "/completions",
            Self::Chat => "/chat/completions",
            Self::Embeddings => "/embeddings",
            Self::Models => "/models",
        }
    }
}

/// Longest model name that is looked up; no configured name is longer.
const MODEL_NAME_BYTES: usize = 512;

/// What the gateway must know of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The model asked for.
    pub model: String,
    /// Where its JSON string stands in the body, quotes included.
    pub span: Range<usize>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the request says anything about what a stream holds besides its text.
    pub has_stream_options: bool,
    /// Whether it wants to be told the usage of a stream.
    pub wants_usage: bool,
    /// Whether the text after a gap is given.
    pub has_suffix: bool,
    /// Longest answer that is asked for, in tokens.
    pub max_tokens: Option<u64>,
    /// Where the prompt, the messages or the input begin.
    pub prompt: Option<usize>,
    /// Where the texts stand between which the answer belongs, when it asks for that.
    pub infill: Option<Box<infill::Spans>>,
}

/// What a request says of a stream's contents.
#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

/// Members of a body that matter, as they stand in it.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    suffix: Option<&'a RawValue>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
}

/// Finds the head of a body in one pass, checking on the way that all of it is JSON.
///
/// # Errors
/// [`GatewayError::BadRequest`] with a sentence for the caller.
pub fn scan(body: &[u8]) -> Result<Head, GatewayError> {
    let bad = |why: String| GatewayError::BadRequest(why);
    let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8".into()))?;
    if !text.trim_start().starts_with('{') {
        return Err(bad("the body must be a JSON object".into()));
    }
    if !depth::is_within(body, limits::JSON_DEPTH) {
        return Err(bad(format!("the body is nested deeper than {}", limits::JSON_DEPTH)));
    }
    let members: Members<'_> = serde_json::from_str(text)
        .map_err(|error| bad(format!("the body could not be parsed as JSON: {error}")))?;
    let stream = match members.stream.map(RawValue::get) {
        None | Some("null" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(bad("\"stream\" must be true or false".into())),
    };
    let raw = members.model.ok_or_else(|| bad("you must provide a model parameter".into()))?.get();
    let model: String = serde_json::from_str(raw).map_err(|_| bad("\"model\" must be a string".into()))?;
    if model.len() > MODEL_NAME_BYTES {
        return Err(bad(format!("\"model\" is longer than {MODEL_NAME_BYTES} bytes")));
    }
    let place = |raw: &str| raw.as_ptr().addr() - text.as_ptr().addr();
    let start = place(raw);
    let text_at = |raw: &RawValue| {
        let at = place(raw.get());
        (raw.get().len() > 2 && raw.get().starts_with('"')).then(|| at..at + raw.get().len())
    };
    let infill = members.prompt.and_then(text_at).zip(members.suffix.and_then(text_at));
    let has_stop = members.stop.is_some_and(|stop| stop.get() != "null");
    // What is none is the server's to refuse.
    let options = members.stream_options.and_then(|options| serde_json::from_str(options.get()).ok());
    let options: StreamOptions = options.unwrap_or_default();
    let longest = members.max_completion_tokens.or(members.max_tokens);
    Ok(Head {
        model,
        span: start..start + raw.len(),
        stream,
        has_stream_options: members.stream_options.is_some(),
        wants_usage: options.include_usage == Some(true),
        has_suffix: members.suffix.is_some_and(|suffix| !matches!(suffix.get(), "null" | "\"\"")),
        max_tokens: longest.and_then(|longest| longest.get().parse().ok()),
        prompt: members.prompt.or(members.messages).or(members.input).map(|prompt| place(prompt.get())),
        infill: infill.map(|(prompt, suffix)| Box::new(infill::Spans { prompt, suffix, has_stop })),
    })
}

/// Asks for the usage of a stream; put behind the model's name.
pub(super) const USAGE: &str = ",\"stream_options\":{\"include_usage\":true}";

/// The same with the wish that a stream tells its usage added.
#[must_use]
pub fn with_model_and_usage(body: &Bytes, span: &Range<usize>, model: &str) -> [Bytes; 3] {
    let name = serde_json::Value::from(model).to_string() + USAGE;
    [body.slice(..span.start), Bytes::from(name), body.slice(span.end..)]
}

/// The body with another model's name, in up to three pieces that share the original's memory.
#[must_use]
pub fn with_model(body: &Bytes, span: &Range<usize>, model: &str) -> [Bytes; 3] {
    let name = serde_json::Value::from(model).to_string();
    if body.get(span.clone()) == Some(name.as_bytes()) {
        return [body.clone(), Bytes::new(), Bytes::new()];
    }
    [body.slice(..span.start), Bytes::from(name), body.slice(span.end..)]
}

/// Tokens that a backend says it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
}

/// The last `usage` object in a piece of an answer.
#[must_use]
pub fn usage_in(bytes: &[u8]) -> Option<Usage> {
    let at = memchr::memmem::rfind(bytes, b"\"usage\"")?;
    let rest = bytes.get(at + b"\"usage\"".len()..)?;
    let rest = rest.get(memchr::memchr(b'{', rest)?..)?;
    serde_json::Deserializer::from_slice(rest).into_iter::<Usage>().next()?.ok()
}

/// The first choice of a completion.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FirstChoice {
    /// Its text.
    pub text: String,
    /// Why it ended, in the words that clients know.
    pub finish_reason: &'static str,
}

/// The first choice of a completion. A backend's own word for its end is `stop` unless it says that the length was used up.
///
/// # Errors
/// [`GatewayError::UpstreamBroken`] when the answer has none.
pub fn first_choice(answer: &[u8]) -> Result<FirstChoice, GatewayError> {
    #[derive(Deserialize)]
    struct Completion {
        choices: Vec<Choice>,
    }
    #[derive(Deserialize)]
    struct Choice {
        text: Option<String>,
        finish_reason: Option<String>,
    }
    let completion: Completion = serde_json::from_slice(answer).map_err(|_| GatewayError::UpstreamBroken)?;
    let choice = completion.choices.into_iter().next().ok_or(GatewayError::UpstreamBroken)?;
    let finish_reason = if choice.finish_reason.as_deref() == Some("length") { "length" } else { "stop" };
    Ok(FirstChoice { text: choice.text.unwrap_or_default(), finish_reason })
}

/// The kind of an error of this status.
#[must_use]
pub fn error_kind(status: http::StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// An error as OpenAI's clients read it.
#[must_use]
pub fn error_body(status: http::StatusCode, message: &str, code: &str) -> Bytes {
    let kind = error_kind(status);
    let body = serde_json::json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn only_the_models_name_changes() {
        let body = Bytes::from_static(
            br#"{ "temperature":1.10, "model" : "a\u0062" ,"x":{"model":"in"},"stream":true}"#,
        );
        let head = scan(&body).unwrap();
        assert_eq!((head.model.as_str(), head.stream), ("ab", true));
        let parts = with_model(&body, &head.span, "q\"z");
        assert_eq!(
            parts.concat(),
            br#"{ "temperature":1.10, "model" : "q\"z" ,"x":{"model":"in"},"stream":true}"#
        );
        let same = Bytes::from_static(br#"{"model":"m"}"#);
        let head = scan(&same).unwrap();
        assert_eq!(with_model(&same, &head.span, "m")[0], same);
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_reason() {
        let cases: [(&[u8], &str); 9] = [
            (b"[\"m\",true]", "JSON object"),
            (b"", "JSON object"),
            (b"{\"model\":\"a\",\"model\":\"b\"}", "duplicate field"),
            (b"{\"model\":1}", "must be a string"),
            (b"{}", "provide a model"),
            (b"{\"model\":\"a\",\"stream\":\"yes\"}", "true or false"),
            (b"{\"model\":\"a\"", "parsed"),
            (b"{\"model\":\"a\"} x", "parsed"),
            (b"{\"model\":\"\xff\"}", "UTF-8"),
        ];
        for (body, needle) in cases {
            let error = scan(body).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
    }

    #[test]
    fn usage_is_read_wherever_it_stands() {
        let usage = Usage { prompt_tokens: 3, completion_tokens: 5 };
        assert_eq!(
            usage_in(br#"{"usage":{"prompt_tokens":3,"completion_tokens":5,"x":{}},"y":1}"#),
            Some(usage)
        );
        assert_eq!(
            usage_in(b"data: {\"usage\": {\"completion_tokens\":5, \"prompt_tokens\":3}}\n\n"),
            Some(usage)
        );
        assert_eq!(usage_in(br#"{"usage":null}"#), None);
    }

    proptest! {
        #[test]
        fn the_span_is_the_string_that_serde_reads(model in "\\PC{0,40}", before in "\\PC{0,20}", stream in proptest::bool::ANY) {
            let body = serde_json::json!({"a": before, "model": model, "stream": stream, "z": [1, {"model": 2}]}).to_string();
            let head = scan(body.as_bytes()).unwrap();
            prop_assert_eq!(&head.model, &model);
            prop_assert_eq!(head.stream, stream);
            let spliced = with_model(&Bytes::from(body), &head.span, "other").concat();
            let value: serde_json::Value = serde_json::from_slice(&spliced).unwrap();
            prop_assert_eq!(value, serde_json::json!({"a": before, "model": "other", "stream": stream, "z": [1, {"model": 2}]}));
        }
    }

    #[test]
    fn the_first_choice_says_whether_the_length_was_used_up() {
        let read = |choices: &str| super::first_choice(format!("{{\"choices\":{choices}}}").as_bytes());
        let choice = read(r#"[{"text":"a","finish_reason":"length"},{"text":"b"}]"#).unwrap();
        assert_eq!((choice.text.as_str(), choice.finish_reason), ("a", "length"));
        assert_eq!(read(r#"[{"text":"a","finish_reason":"eos_token"}]"#).unwrap().finish_reason, "stop");
        assert_eq!(read(r#"[{"text":null}]"#).unwrap().text, "");
        assert!(read("[]").is_err());
    }
}
