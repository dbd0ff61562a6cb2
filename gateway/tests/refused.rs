//! Refusals on every route in that route's own shape: bad input, callers that are not let in, models that fail, limits, protocols
//! that are not listed. None of them reaches a model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, Gateway, Upstream, config, fake, json as answers};

const ALL: &str = "  protocols: [GitLab, OpenAI, Mistral, LlamaCppInfill, Tabby]\n";
const ANSWER: &str = r#"{"id":"x","choices":[{"text":"a + b","finish_reason":"stop"}]}"#;

/// The sentence of a refusal, where it stands in the protocol's own shape.
fn sentence<'a>(shape: &str, answer: &'a Answer, kept: &'a mut Value) -> &'a str {
    if shape == "tabby" {
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        return &answer.text;
    }
    assert_eq!(answer.header("content-type"), "application/json", "{}", answer.text);
    *kept = answer.json();
    let status = json!(answer.status.as_u16());
    let message = match shape {
        "openai" => {
            assert!(kept["error"]["type"].is_string() && kept["error"]["code"].is_string(), "{kept}");
            &kept["error"]["message"]
        }
        "llama" => {
            assert!(kept["error"]["type"].is_string() && kept["error"]["code"] == status, "{kept}");
            &kept["error"]["message"]
        }
        "mistral" => {
            assert!(kept["object"] == "error" && kept["type"].is_string(), "{kept}");
            &kept["message"]
        }
        // FastAPI's list of errors, or one sentence.
        _ if kept["detail"].is_array() => {
            assert!(kept["detail"][0]["loc"].is_array() && kept["detail"][0]["type"].is_string(), "{kept}");
            &kept["detail"][0]["msg"]
        }
        _ => kept.get("detail").unwrap_or(&kept["error"]),
    };
    message.as_str().unwrap_or_else(|| panic!("{shape}: {}", answer.text))
}

const ROUTES: [(&str, &str); 14] = [
    ("/completions", "gitlab"),
    ("/v2/completions", "gitlab"),
    ("/v2/code/completions", "gitlab"),
    ("/v2/code/generations", "gitlab"),
    ("/v2/experimental/code/completions", "gitlab"),
    ("/v3/code/completions", "gitlab"),
    ("/v4/code/suggestions", "gitlab"),
    ("/v1/completions", "openai"),
    ("/v1/chat/completions", "openai"),
    ("/v1/embeddings", "openai"),
    ("/v1/fim/completions", "mistral"),
    ("/infill", "llama"),
    ("/v1/events", "tabby"),
    ("/v1/health", "tabby"),
];

#[tokio::test]
async fn bad_input_is_refused_in_each_routes_own_shape_and_reaches_no_model() {
    let upstream = Upstream::start(|_| answers(ANSWER)).await;
    let gateway = Gateway::start(&config(&[&upstream.url()], ALL)).await;
    let deep = format!("{}{}", "[".repeat(4_000), "]".repeat(4_000));
    let deep = format!(r#"{{"model":"alias","prompt":"x","input_prefix":"x","type":"view","x":{deep}}}"#);
    let wide = format!(r#"{{"model":"alias","x":"{}"}}"#, "a".repeat(9 * 1024 * 1024));
    let bodies = [
        ("empty", "", [400, 422]),
        ("no JSON", "{\"model\":", [400, 422]),
        ("a list", "[1, 2]", [400, 422]),
        ("a number", "7", [400, 422]),
        (
            "another type",
            r#"{"model":7,"prompt":[7],"current_file":7,"input_prefix":7,"type":7,"prompt_components":7}"#,
            [400, 422],
        ),
        ("too deep", &deep, [400, 422]),
        ("too large", &wide, [413, 413]),
    ];
    for (path, shape) in ROUTES.into_iter().filter(|(path, _)| *path != "/v1/health") {
        for (what, body, statuses) in &bodies {
            let answer = gateway.post(path, body).await;
            let mut kept = Value::Null;
            assert!(
                statuses.contains(&answer.status.as_u16()),
                "{path}, {what}: {} {}",
                answer.status,
                answer.text
            );
            assert!(!sentence(shape, &answer, &mut kept).is_empty(), "{path}, {what}");
        }
        let answer = gateway.send(Method::DELETE, path, &[], "").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, "POST"),
            "{path}"
        );
        assert!(!sentence(shape, &answer, &mut Value::Null).is_empty());
    }
    // Told by its body, and refused in Tabby's words.
    for body in [
        r#"{"language":"python"}"#,
        r#"{"segments":7}"#,
        r#"{"segments":{"suffix":"x"}}"#,
        r#"{"segments":{"prefix":"x"},"temperature":9}"#,
    ] {
        let answer = gateway.post("/v1/completions", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        assert!(!sentence("tabby", &answer, &mut Value::Null).is_empty());
    }
    let stops = json!({"model": "alias", "prompt": "x", "stop": vec!["a"; 17]}).to_string();
    assert_eq!(gateway.post("/v1/fim/completions", &stops).await.status, StatusCode::BAD_REQUEST);
    let unknown = gateway.post("/v1/fim/completions", r#"{"model":"nobody","prompt":"x"}"#).await;
    assert_eq!(
        (unknown.status, unknown.json()["code"].as_str()),
        (StatusCode::NOT_FOUND, Some("model_not_found"))
    );
    assert_eq!(upstream.count(), 0, "an invalid request reached the model: {:?}", upstream.last());
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_in_each_routes_own_shape() {
    let upstream = Upstream::start(|_| answers(ANSWER)).await;
    let yaml =
        config(&[&upstream.url()], ALL).replace("anonymous: true", "apiKeys: {secretRef: {name: keys}}");
    let gateway = Gateway::start(&yaml).await;
    let asked = |path: &str| if path == "/v1/health" { Method::GET } else { Method::POST };
    for (path, shape) in ROUTES {
        for headers in [&[][..], &[("authorization", "Bearer nonsense")], &[("authorization", "Basic x")]] {
            let answer = gateway.send(asked(path), path, headers, "{}").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {}", answer.text);
            assert!(!sentence(shape, &answer, &mut Value::Null).is_empty(), "{path}");
        }
    }
    assert_eq!(upstream.count(), 0);
    assert!(matches!(gateway.get("/health").await.status.as_u16(), 200 | 503), "open, as in the original");
}

#[tokio::test]
async fn a_failing_model_and_a_limit_are_told_in_each_routes_own_shape() {
    let failing = Gateway::start(&(fake("x", ", failRate: 1.0") + ALL)).await;
    let limited = fake("x", "") + ALL + "  limits: [{name: few, by: Subject, requestsPerMinute: 1}]\n";
    let limited = Gateway::start(&limited).await;
    assert_eq!(limited.post("/v1/embeddings", r#"{"model":"canned","input":"x"}"#).await.status, 200);
    for (path, shape, body) in [
        (
            "/v1/fim/completions",
            "mistral",
            json!({"model": "canned", "prompt": "def refused9(a, b):\n    return "}),
        ),
        ("/infill", "llama", json!({"input_prefix": "def refused10(a, b):\n    return "})),
        ("/v1/completions", "tabby", json!({"segments": {"prefix": "def refused11(a, b):\n    return "}})),
        ("/v1/embeddings", "openai", json!({"model": "canned", "input": "x"})),
    ] {
        let answer = failing.post(path, &body.to_string()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-modelgate-outcome")),
            (502, "upstream_error"),
            "{path}: {}",
            answer.text
        );
        assert!(!sentence(shape, &answer, &mut Value::Null).is_empty());
        let answer = limited.post(path, &body.to_string()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-modelgate-outcome")),
            (429, "limited"),
            "{path}: {}",
            answer.text
        );
        assert!(
            !sentence(shape, &answer, &mut Value::Null).is_empty()
                && !answer.header("retry-after").is_empty()
        );
    }
}

#[tokio::test]
async fn a_protocol_that_is_not_listed_says_what_would_have_to_be() {
    let gateway = Gateway::start(&fake("x", "")).await;
    for (path, shape, name) in [
        ("/v1/fim/completions", "mistral", "Mistral"),
        ("/infill", "llama", "LlamaCppInfill"),
        ("/props", "llama", "LlamaCppInfill"),
        ("/health", "llama", "LlamaCppInfill"),
        ("/v1/health", "tabby", "Tabby"),
        ("/v1beta/server_setting", "tabby", "Tabby"),
        ("/v1/events", "tabby", "Tabby"),
    ] {
        let answer = gateway.post(path, "{}").await;
        let mut kept = Value::Null;
        let said = sentence(shape, &answer, &mut kept);
        assert!(said.contains(name) && said.contains("spec.protocols"), "{path}: {said}");
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let gateway = Gateway::start(&(fake("x", "") + "  protocols: [Mistral]\n")).await;
    for (path, name) in
        [("/v2/completions", "GitLab"), ("/v1/completions", "OpenAI or Tabby"), ("/v1/models", "OpenAI")]
    {
        let answer = gateway.post(path, "{}").await;
        let mut kept = Value::Null;
        let said = sentence("openai", &answer, &mut kept);
        assert!(said.contains(name) && said.contains("spec.protocols"), "{path}: {said}");
    }
}
