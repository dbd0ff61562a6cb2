//! What the gateway of 2023 answers to bodies and requests that are not as it wants them: every row of its contract, over
//! sockets. The corpus beside `src/gitlab/tests.rs` has hundreds more, without sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, Gateway, fake};

const PATH: &str = "/v2/completions";
const JSON: &str = "application/json";

async fn strict() -> Gateway {
    Gateway::start(&(fake("x", "") + "  completion: {compat: Strict}\n")).await
}

async fn send(gateway: &Gateway, kind: Option<&str>, body: &str) -> Answer {
    let headers: Vec<(&str, &str)> = kind.map(|kind| ("content-type", kind)).into_iter().collect();
    gateway.send(Method::POST, PATH, &headers, body).await
}

/// A valid body with this in it.
fn with(more: &Value) -> String {
    let file = json!({"file_name": "a.py", "content_above_cursor": "p", "content_below_cursor": "s"});
    let mut body = json!({"current_file": file});
    for (name, value) in more.as_object().unwrap() {
        match name.strip_prefix("current_file.") {
            Some(member) => body["current_file"][member] = value.clone(),
            None => body[name] = value.clone(),
        }
    }
    body.to_string()
}

fn one(loc: &Value, msg: &str, kind: &str, ctx: &Value) -> Value {
    let mut error = json!({"loc": loc, "msg": msg, "type": kind});
    if !ctx.is_null() {
        error["ctx"] = ctx.clone();
    }
    json!({"detail": [error]})
}

/// Type and body, then what is told: place, words, kind and further facts.
type Row = (&'static str, String, Value, String, &'static str, Value);

/// What is missing, no object, or too much.
fn of_the_whole() -> Vec<Row> {
    let missing = ("field required", "value_error.missing");
    let dict = ("value is not a valid dict", "type_error.dict");
    let long = |limit: usize| format!("ensure this value has at most {limit} characters");
    let many: Vec<Value> = (0..11).map(|_| json!({"requests": 1, "accepts": 0, "errors": 0})).collect();
    vec![
        (JSON, "{}".into(), json!(["body", "current_file"]), missing.0.into(), missing.1, Value::Null),
        (JSON, "[]".into(), json!(["body", "current_file"]), missing.0.into(), missing.1, Value::Null),
        (JSON, String::new(), json!(["body"]), missing.0.into(), missing.1, Value::Null),
        (JSON, "null".into(), json!(["body"]), missing.0.into(), missing.1, Value::Null),
        ("text/plain", with(&json!({})), json!(["body"]), dict.0.into(), dict.1, Value::Null),
        (
            JSON,
            with(&json!({"current_file.file_name": "f".repeat(256)})),
            json!(["body", "current_file", "file_name"]),
            long(255),
            "value_error.any_str.max_length",
            json!({"limit_value": 255}),
        ),
        (
            JSON,
            with(&json!({"current_file.content_above_cursor": "😀".repeat(100_001)})),
            json!(["body", "current_file", "content_above_cursor"]),
            long(100_000),
            "value_error.any_str.max_length",
            json!({"limit_value": 100_000}),
        ),
        (
            JSON,
            with(&json!({"telemetry": many})),
            json!(["body", "telemetry"]),
            "ensure this value has at most 10 items".into(),
            "value_error.list.max_items",
            json!({"limit_value": 10}),
        ),
    ]
}

/// Null, and versions that are no longer 1.
fn of_values_that_are_set() -> Vec<Row> {
    let none = ("none is not an allowed value", "type_error.none.not_allowed");
    vec![
        (
            JSON,
            with(&json!({"telemetry": null})),
            json!(["body", "telemetry"]),
            none.0.into(),
            none.1,
            Value::Null,
        ),
        (
            JSON,
            with(&json!({"prompt_version": null})),
            json!(["body", "prompt_version"]),
            none.0.into(),
            none.1,
            Value::Null,
        ),
        (
            JSON,
            with(&json!({"current_file.content_below_cursor": null})),
            json!(["body", "current_file", "content_below_cursor"]),
            none.0.into(),
            none.1,
            Value::Null,
        ),
        (
            JSON,
            with(&json!({"prompt_version": 2})),
            json!(["body", "prompt_version"]),
            "unexpected value; permitted: 1".into(),
            "value_error.const",
            json!({"given": 2, "permitted": [1]}),
        ),
        (
            JSON,
            with(&json!({"prompt_version": "1"})),
            json!(["body", "prompt_version"]),
            "unexpected value; permitted: 1".into(),
            "value_error.const",
            json!({"given": "1", "permitted": [1]}),
        ),
    ]
}

/// Values of another kind, and members that lists lack.
fn of_kinds() -> Vec<Row> {
    let missing = ("field required", "value_error.missing");
    vec![
        (
            JSON,
            with(&json!({"project_id": "x"})),
            json!(["body", "project_id"]),
            "value is not a valid integer".into(),
            "type_error.integer",
            Value::Null,
        ),
        (
            JSON,
            with(&json!({"project_id": 0})).replace("\"project_id\":0", "\"project_id\":NaN"),
            json!(["body", "project_id"]),
            "value is not a valid integer".into(),
            "type_error.integer",
            Value::Null,
        ),
        (
            JSON,
            with(&json!({"current_file.content_above_cursor": []})),
            json!(["body", "current_file", "content_above_cursor"]),
            "str type expected".into(),
            "type_error.str",
            Value::Null,
        ),
        (
            JSON,
            with(&json!({"telemetry": [{"accepts": 0, "errors": 0}]})),
            json!(["body", "telemetry", 0, "requests"]),
            missing.0.into(),
            missing.1,
            Value::Null,
        ),
        (
            JSON,
            with(
                &json!({"telemetry": [{"requests": 1, "accepts": 0, "errors": 0, "experiments": [{"name": "e"}]}]}),
            ),
            json!(["body", "telemetry", 0, "experiments", 0, "variant"]),
            missing.0.into(),
            missing.1,
            Value::Null,
        ),
    ]
}

#[tokio::test]
async fn every_mistake_of_a_body_is_told_in_the_words_of_2023() {
    let gateway = strict().await;
    let rows = [of_the_whole(), of_values_that_are_set(), of_kinds()];
    for (kind, body, loc, msg, error, ctx) in rows.concat() {
        let answer = send(&gateway, Some(kind), &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{loc} {msg}: {answer:?}");
        assert_eq!(answer.json(), one(&loc, &msg, error, &ctx), "{}", answer.text);
        assert!(
            answer.text.starts_with(r#"{"detail":[{"loc":["body""#),
            "members in FastAPI's order: {}",
            answer.text
        );
    }
    let all = send(&gateway, Some(JSON), r#"{"current_file":{},"project_id":"x","telemetry":null}"#).await;
    assert_eq!(all.json()["detail"].as_array().unwrap().len(), 5, "all errors, not the first: {}", all.text);
}

#[tokio::test]
async fn ten_malformed_bodies_are_refused_at_the_place_where_python_stops() {
    let gateway = strict().await;
    let (value, name) = ("Expecting value", "Expecting property name enclosed in double quotes");
    for (body, msg, line, column, at) in [
        (r#"{"prompt_version":}"#, value, 1, 19, 18),
        ("{", name, 1, 2, 1),
        (r#"{"a":1,}"#, name, 1, 8, 7),
        (r#"{"a":1"#, "Expecting ',' delimiter", 1, 7, 6),
        (r#"{"a""#, "Expecting ':' delimiter", 1, 5, 4),
        (r#"{"a":"b"#, "Unterminated string starting at", 1, 6, 5),
        (r#"{"a":1} x"#, "Extra data", 1, 9, 8),
        ("{\"a\":\"b\nc\"}", "Invalid control character at", 1, 8, 7),
        ("{\"a\":\n  tru}", value, 2, 3, 8),
        (r#"{"a":"\x"}"#, "Invalid \\escape", 1, 7, 6),
    ] {
        let answer = send(&gateway, Some(JSON), body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let ctx = json!({"msg": msg, "doc": body, "pos": at, "lineno": line, "colno": column});
        let text = format!("{msg}: line {line} column {column} (char {at})");
        let expected = one(&json!(["body", at]), &text, "value_error.jsondecode", &ctx);
        assert_eq!(answer.json(), expected, "{body}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_the_gateway_of_2023_let_pass_passes() {
    let gateway = strict().await;
    let bodies = [
        with(&json!({"project_id": "12"})),
        with(&json!({"project_id": 1.5})),
        with(&json!({"project_id": true})),
        with(&json!({"project_id": -1, "project_path": ""})),
        with(&json!({"current_file.content_above_cursor": 5})),
        with(&json!({"prompt_version": true})),
        with(&json!({"prompt_version": 1.0})),
        with(&json!({"current_file.file_name": format!("{}a.py", " ".repeat(300))})),
        with(&json!({"current_file.content_above_cursor": "\u{feff}a\0b"})),
        with(&json!({"current_file.content_above_cursor": "😀".repeat(100_000)})),
        with(
            &json!({"intent": "completion", "choices_count": 4, "stream": true, "context": [1], "metadata": {}}),
        ),
        with(&json!({"telemetry": [{"requests": -1, "accepts": 0, "errors": 0}]})),
    ];
    for body in &bodies {
        let answer = send(&gateway, Some(JSON), body).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{}: {answer:?}",
            body.chars().take(120).collect::<String>()
        );
    }
    for kind in [
        None,
        Some(" application/json"),
        Some("application/vnd.x+json"),
        Some("application/json; charset=utf-8"),
    ] {
        let answer = send(&gateway, kind, &with(&json!({}))).await;
        assert_eq!(answer.status, StatusCode::OK, "{kind:?}: {answer:?}");
    }
}

#[tokio::test]
async fn methods_slashes_and_paths_are_answered_as_in_2023() {
    let gateway = strict().await;
    let get = gateway.get(PATH).await;
    assert_eq!(
        (get.status.as_u16(), get.header("allow"), get.text.as_str()),
        (405, "POST", r#"{"detail":"Method Not Allowed"}"#)
    );
    let slash = gateway.post("/v2/completions/", "{}").await;
    assert_eq!((slash.status.as_u16(), slash.text.as_str()), (307, ""));
    assert!(slash.header("location").ends_with("/v2/completions"), "{slash:?}");
    let unknown = gateway.post("/v3/code/completions", "{}").await;
    assert_eq!((unknown.status.as_u16(), unknown.text.as_str()), (404, r#"{"detail":"Not Found"}"#));
    let head = gateway.send(Method::HEAD, "/monitoring/healthz", &[], "").await;
    assert_eq!(head.status.as_u16(), 405);
}

/// Bytes that are no UTF-8 are sent as they are.
#[tokio::test]
async fn a_body_that_is_no_text_is_a_400() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let gateway = strict().await;
    let mut stream = tokio::net::TcpStream::connect(gateway.at.http).await.unwrap();
    let head = "POST /v2/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"{\"a\":\"\xff\"}").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.ends_with(r#"{"detail":"There was an error parsing the body"}"#), "{answer}");
}
