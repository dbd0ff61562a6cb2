//! What the gateway does not serve goes to another GitLab AI gateway as it came.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use support::{Gateway, Upstream, config, events};

fn gateway(model: &Upstream, duo: &Upstream) -> String {
    let backend = format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: duo}}\nspec:\n  model: {{name: duo}}\n  external: {{protocol: GitLab, url: \"http://{}\"}}\n---\n",
        duo.at
    );
    let route = "  - name: duo\n    match: {paths: [\"/v1/chat/*\", \"/v2/code/generations\"]}\n    backends: [{name: duo}]\n";
    backend + &config(&[&model.url()], route)
}

#[tokio::test]
async fn paths_of_a_route_are_handed_on_byte_for_byte() {
    let model = Upstream::start(|_| support::json(r#"{"choices":[{"text":"own"}]}"#)).await;
    let duo = Upstream::start(|seen| {
        let (sender, response) = events();
        let echo = Bytes::from(format!("data: {}\n\nhalf an ev", seen.body));
        tokio::spawn(async move {
            for piece in [echo, Bytes::from_static(b"ent \xff\x00 and no end")] {
                sender.send(Ok(piece)).await.unwrap();
            }
        });
        let (mut parts, body) = response.into_parts();
        parts.status = StatusCode::ACCEPTED;
        parts.headers.insert("x-other", "kept".parse().unwrap());
        Response::from_parts(parts, body)
    })
    .await;
    let gateway = Gateway::start(&gateway(&model, &duo)).await;
    let body = "{ \"prompt\" : 1.10, \"prompt\": \"twice\" } trailing";
    let headers = [
        ("content-type", " application/json"),
        ("authorization", "Bearer of-gitlab"),
        ("x-gitlab-instance-id", "i"),
        ("connection", "x-hop"),
        ("x-hop", "stays here"),
    ];
    let response =
        support::send(gateway.at.http, Method::POST, "/v1/chat/agent?a=b%20c", &headers, body).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers()["x-other"], "kept");
    let read = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let expected = [format!("data: {body}\n\nhalf an ev").as_bytes(), b"ent \xff\x00 and no end"].concat();
    assert_eq!(read, expected, "the stream is not touched");
    let seen = duo.last();
    assert_eq!((seen.path.as_str(), seen.body.as_str()), ("/v1/chat/agent", body));
    assert_eq!(seen.headers["authorization"], "Bearer of-gitlab");
    assert_eq!(seen.headers["x-gitlab-instance-id"], "i");
    assert!(!seen.headers.contains_key("x-hop"), "{:?}", seen.headers);

    // A path that is served here can be handed on too; others stay.
    let own = support::send(gateway.at.http, Method::POST, "/v2/code/generations", &[], "{}").await;
    assert_eq!(own.status(), StatusCode::ACCEPTED);
    // Read to its end, so that it is accounted as one that was.
    let _read = http_body_util::BodyExt::collect(own.into_body()).await.unwrap();
    let request =
        r#"{"current_file":{"file_name":"a","content_above_cursor":"x","content_below_cursor":""}}"#;
    assert_eq!(gateway.post("/v2/completions", request).await.json()["choices"][0]["text"], "own");
    let unknown = gateway.post("/v2/nothing", "{}").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let told = &unknown.json()["detail"];
    let told = told.as_str().unwrap();
    assert!(told.contains("/v2/nothing") && told.contains("external.protocol: GitLab"), "{told}");
    assert_eq!((duo.count(), model.count()), (2, 1));
    let models = gateway.get("/v1/models").await.text;
    assert!(!models.contains("duo"), "{models}");
}

#[tokio::test]
async fn a_gateway_that_takes_no_connection_is_passed_over_and_what_was_sent_is_not_sent_again() {
    let model = Upstream::start(|_| support::json(r#"{"choices":[{"text":"own"}]}"#)).await;
    let gone = Upstream::start(|_| support::json("{}")).await;
    let duo = Upstream::start(|_| support::with_status(StatusCode::INTERNAL_SERVER_ERROR, "theirs")).await;
    let yaml = gateway(&model, &duo)
        .replace("backends: [{name: duo}]", "backends: [{name: gone}, {name: duo, role: Fallback}]")
        + &format!(
            "---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: gone}}\nspec:\n  model: {{name: duo}}\n  external: {{protocol: GitLab, url: \"http://{}\"}}\n",
            gone.at
        );
    drop(gone);
    let gateway = Gateway::start(&yaml).await;
    let answer = gateway.post("/v1/chat/agent", "{}").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (500, "theirs"));
    assert_eq!(duo.count(), 1);
}
