//! `POST /v1/chat/completions`: the request, checked.

use serde::Deserialize;
use serde_json::Value;

use super::{
    error::ApiError,
    params::{Common, Params, check_max_tokens, is_set, parse},
};
use crate::infer::model::Turn;

#[derive(Debug, Deserialize)]
struct Body {
    messages: Option<Vec<Message>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    tools: Option<Value>,
    functions: Option<Value>,
    logprobs: Option<Value>,
    response_format: Option<ResponseFormat>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of text parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

/// A checked request.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation so far; not empty.
    pub turns: Vec<Turn>,
    /// Tokens to generate at most; as many as the context has room for if absent.
    pub max_tokens: Option<usize>,
    /// The other fields.
    pub common: Common,
}

/// Reads and checks a body.
///
/// # Errors
/// The first wrong or unsupported field.
pub fn read(body: &[u8], random: u32) -> Result<ChatRequest, ApiError> {
    let own: Body = parse(body)?;
    let common = parse::<Params>(body)?.check(random)?;
    for (name, value) in [("tools", &own.tools), ("functions", &own.functions), ("logprobs", &own.logprobs)] {
        if is_set(value.as_ref()) {
            return Err(ApiError::invalid(name, format!("{name} is not supported; leave it out")));
        }
    }
    if own.response_format.is_some_and(|format| format.kind != "text") {
        return Err(ApiError::invalid(
            "response_format",
            "response_format must be {\"type\": \"text\"} or absent",
        ));
    }
    let newer = check_max_tokens("max_completion_tokens", own.max_completion_tokens)?;
    let max_tokens = newer.or(check_max_tokens("max_tokens", own.max_tokens)?);
    let messages = own.messages.unwrap_or_default();
    if messages.is_empty() {
        return Err(ApiError::invalid("messages", "messages is missing or empty"));
    }
    let turns = messages.into_iter().enumerate().map(turn).collect::<Result<_, _>>()?;
    Ok(ChatRequest { turns, max_tokens, common })
}

fn turn((index, message): (usize, Message)) -> Result<Turn, ApiError> {
    let role = match message.role.as_str() {
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        other => {
            let param = format!("messages[{index}].role");
            let message = format!("{param} is {other:?}; it must be system, developer, user or assistant");
            return Err(ApiError::invalid(&param, message));
        }
    };
    let param = format!("messages[{index}].content");
    let content = match message.content {
        None => return Err(ApiError::invalid(&param, format!("{param} is missing"))),
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => parts
            .into_iter()
            .map(|part| part.text.filter(|_| part.kind == "text"))
            .collect::<Option<String>>()
            .ok_or_else(|| ApiError::invalid(&param, format!("{param} may hold parts of type text only")))?,
    };
    Ok(Turn { role: role.into(), content })
}

#[cfg(test)]
mod tests {
    use super::{ApiError, read};

    #[test]
    fn a_conversation_is_read_with_parts_and_the_newer_name_of_the_limit() {
        let request = read(
            br#"{"messages": [{"role": "developer", "content": "x"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
                "max_tokens": 3, "max_completion_tokens": 5}"#,
            0,
        )
        .unwrap();
        assert_eq!(request.max_tokens, Some(5));
        assert_eq!((request.turns[0].role.as_str(), request.turns[1].content.as_str()), ("system", "ab"));
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (field, body) in [
            ("messages", r"{}"),
            ("messages", r#"{"messages": []}"#),
            ("messages[0].role", r#"{"messages": [{"role": "tool", "content": "a"}]}"#),
            ("messages[0].content", r#"{"messages": [{"role": "user"}]}"#),
            (
                "messages[0].content",
                r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
            ),
            ("messages[0].content", r#"{"messages": [{"role": "user", "content": 1}]}"#),
            ("tools", r#"{"messages": [{"role": "user", "content": "a"}], "tools": [{}]}"#),
            ("max_tokens", r#"{"messages": [{"role": "user", "content": "a"}], "max_tokens": -1}"#),
            (
                "response_format",
                r#"{"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_object"}}"#,
            ),
        ] {
            match read(body.as_bytes(), 0) {
                Err(ApiError::Invalid { param: Some(param), .. }) => assert_eq!(param, field, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}
