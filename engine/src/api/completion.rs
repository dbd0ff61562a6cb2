//! `POST /v1/completions`: the request, checked.

use serde::Deserialize;
use serde_json::Value;

use super::{
    error::ApiError,
    params::{Common, Params, check_max_tokens, is_set, parse},
};

/// Tokens generated if the request does not say, as in the OpenAI API.
const DEFAULT_MAX_TOKENS: usize = 16;

#[derive(Debug, Deserialize)]
struct Body {
    prompt: Option<RawPrompt>,
    suffix: Option<String>,
    max_tokens: Option<i64>,
    best_of: Option<i64>,
    echo: Option<bool>,
    logprobs: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string, an array with one string, or an array of token numbers")]
enum RawPrompt {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u32>>),
}

/// What to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text.
    Text(String),
    /// Text before and after the place to fill.
    Infill {
        /// Before it.
        prefix: String,
        /// After it.
        suffix: String,
    },
    /// Tokens of the model's vocabulary.
    Tokens(Vec<u32>),
}

/// A checked request.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// The other fields.
    pub common: Common,
}

/// Reads and checks a body.
///
/// # Errors
/// The first wrong or unsupported field.
pub fn read(body: &[u8], random: u32) -> Result<CompletionRequest, ApiError> {
    // Two passes instead of serde's `flatten`, which would lose the names of the fields that do not fit.
    let own: Body = parse(body)?;
    let common = parse::<Params>(body)?.check(random)?;
    if own.best_of.is_some_and(|best_of| best_of != 1) {
        return Err(ApiError::invalid(
            "best_of",
            "best_of must be 1: this server gives one choice a request",
        ));
    }
    if own.echo == Some(true) {
        return Err(ApiError::invalid("echo", "echo is not supported; leave it out or set it to false"));
    }
    if is_set(own.logprobs.as_ref()) {
        return Err(ApiError::invalid("logprobs", "logprobs is not supported; leave it out"));
    }
    let max_tokens = check_max_tokens("max_tokens", own.max_tokens)?.unwrap_or(DEFAULT_MAX_TOKENS);
    Ok(CompletionRequest { prompt: check_prompt(own.prompt, own.suffix)?, max_tokens, common })
}

fn check_prompt(prompt: Option<RawPrompt>, suffix: Option<String>) -> Result<Prompt, ApiError> {
    let one = "prompt has several entries; send one request for each";
    let suffix = suffix.filter(|suffix| !suffix.is_empty());
    let prompt = match prompt {
        None => return Err(ApiError::invalid("prompt", "prompt is missing")),
        Some(RawPrompt::Text(text)) => Prompt::Text(text),
        Some(RawPrompt::Tokens(tokens)) => Prompt::Tokens(tokens),
        Some(RawPrompt::Texts(mut texts)) => match (texts.pop(), texts.is_empty()) {
            (Some(text), true) => Prompt::Text(text),
            _ => return Err(ApiError::invalid("prompt", one)),
        },
        Some(RawPrompt::TokenLists(mut lists)) => match (lists.pop(), lists.is_empty()) {
            (Some(tokens), true) => Prompt::Tokens(tokens),
            _ => return Err(ApiError::invalid("prompt", one)),
        },
    };
    match (prompt, suffix) {
        (Prompt::Text(prefix), Some(suffix)) => Ok(Prompt::Infill { prefix, suffix }),
        (_, Some(_)) => Err(ApiError::invalid("suffix", "suffix needs a prompt that is text")),
        (prompt, None) => Ok(prompt),
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, Prompt, read};

    #[test]
    fn defaults_are_those_of_the_openai_api() {
        let request = read(br#"{"prompt": "a", "suffix": null, "stop": null, "unknown": 1}"#, 7).unwrap();
        assert_eq!(request.prompt, Prompt::Text("a".into()));
        assert_eq!(request.max_tokens, 16);
        assert_eq!((request.common.sampling.temperature, request.common.sampling.top_p), (1.0, 1.0));
        assert_eq!(request.common.sampling.seed, 7);
        assert!(!request.common.stream && !request.common.include_usage && request.common.stops.is_empty());
    }

    #[test]
    fn prompts_may_be_text_one_text_or_tokens() {
        for (prompt, expected) in [
            (r#""a""#, Prompt::Text("a".into())),
            (r#"["a"]"#, Prompt::Text("a".into())),
            ("[1, 2]", Prompt::Tokens(vec![1, 2])),
            ("[[1, 2]]", Prompt::Tokens(vec![1, 2])),
        ] {
            let body = format!(r#"{{"prompt": {prompt}}}"#);
            assert_eq!(read(body.as_bytes(), 0).unwrap().prompt, expected, "{prompt}");
        }
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (field, body) in [
            ("prompt", r"{}"),
            ("prompt", r#"{"prompt": 1}"#),
            ("prompt", r#"{"prompt": ["a", "b"]}"#),
            ("n", r#"{"prompt": "a", "n": 2}"#),
            ("best_of", r#"{"prompt": "a", "best_of": 2}"#),
            ("echo", r#"{"prompt": "a", "echo": true}"#),
            ("logprobs", r#"{"prompt": "a", "logprobs": 1}"#),
            ("logit_bias", r#"{"prompt": "a", "logit_bias": {"1": 2}}"#),
            ("max_tokens", r#"{"prompt": "a", "max_tokens": 0}"#),
            ("max_tokens", r#"{"prompt": "a", "max_tokens": "5"}"#),
            ("temperature", r#"{"prompt": "a", "temperature": 2.5}"#),
            ("top_p", r#"{"prompt": "a", "top_p": -1}"#),
            ("top_k", r#"{"prompt": "a", "top_k": -2}"#),
            ("stop", r#"{"prompt": "a", "stop": [""]}"#),
            ("stop", r#"{"prompt": "a", "stop": 5}"#),
            ("stream_options", r#"{"prompt": "a", "stream_options": {"include_usage": true}}"#),
            ("suffix", r#"{"prompt": [1], "suffix": "b"}"#),
        ] {
            match read(body.as_bytes(), 0) {
                Err(ApiError::Invalid { param: Some(param), message }) => {
                    assert_eq!(param, field, "{body}");
                    assert!(message.contains(field), "{message}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
        for body in ["", "{", "[1]", r#"{"prompt": "a"} x"#] {
            assert!(matches!(read(body.as_bytes(), 0), Err(ApiError::Invalid { param: None, .. })), "{body}");
        }
    }
}
