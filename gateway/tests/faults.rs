//! Sixteen faults of backends on OpenAI's routes, one test each (GitLab's: `faults_gitlab.rs`): no half answer is shown as whole, nobody waits past the limit, no fallback is
//! used needlessly, and nothing that is paid for is asked for twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use support::script::{
    Act, Script, answer, chat_event, ending, routed, says, stream_head, streams, text_event,
};
use support::{Answer, Gateway};

const ASK: &str = r#"{"model":"m","prompt":"x = ","max_tokens":20}"#;
const ASK_STREAM: &str = r#"{"model":"m","prompt":"x = ","max_tokens":20,"stream":true}"#;

struct Two {
    gateway: Gateway,
    bad: Script,
    good: Script,
}

impl Two {
    async fn start(bad: Vec<Vec<Act>>, good: Vec<Act>, paid: bool) -> Self {
        let (bad, good) = (Script::start(bad).await, Script::start(vec![good]).await);
        let gateway = Gateway::start(&routed(&[&bad.url(), &good.url()], paid, "")).await;
        Self { gateway, bad, good }
    }

    async fn ask(&self, body: &str) -> Answer {
        self.gateway.post("/v1/completions", body).await
    }

    fn counts(&self) -> (usize, usize) {
        (self.bad.count(), self.good.count())
    }
}

async fn alone(bad: Vec<Vec<Act>>, gateway: &str) -> (Gateway, Script) {
    let bad = Script::start(bad).await;
    (Gateway::start(&routed(&[&bad.url()], false, gateway)).await, bad)
}

/// A stream of which the client has seen the first part before the second comes.
fn in_two(first: &str, second: &str) -> Vec<Act> {
    let pause = Act::Pause(Duration::from_millis(300));
    vec![stream_head(), Act::Write(first.into()), pause, Act::Write(second.into()), Act::Close]
}

fn text(answer: &Answer) -> String {
    let events = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    let pieces = events.map(|event| {
        let choice = &event["choices"][0];
        choice["text"].as_str().or(choice["delta"]["content"].as_str()).unwrap_or_default().to_owned()
    });
    pieces.collect()
}

/// The reason that the error event of a stream gives; empty when there is none.
fn in_band_error(answer: &Answer) -> String {
    let events = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let mut events = events.filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    events.find_map(|event| Some(event["error"]["code"].as_str()?.to_owned())).unwrap_or_default()
}

#[tokio::test]
async fn fault_01_a_429_is_waited_for_when_its_pause_is_short_and_capped_when_it_is_absurd() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    for pause in ["1".to_owned(), date] {
        let busy = answer("429 Too Many Requests", &format!("retry-after: {pause}\r\n"), "{}");
        let two = Two::start(vec![busy, says("late")], says("other"), true).await;
        let answer = two.ask(ASK).await;
        assert_eq!(answer.status, StatusCode::OK, "{pause}: {answer:?}");
        assert_eq!(
            (answer.text.contains("late"), two.counts()),
            (true, (2, 0)),
            "{pause}: no fallback is burnt"
        );
    }
    for pause in ["259200000", "Fri, 01 Jan 2100 00:00:00 GMT"] {
        let busy = answer("429 Too Many Requests", &format!("retry-after: {pause}\r\n"), "{}");
        let two = Two::start(vec![busy.clone()], says("other"), true).await;
        let answer = two.ask(ASK).await;
        assert_eq!((answer.status, two.counts()), (StatusCode::OK, (1, 1)), "{pause}: {answer:?}");
        assert_eq!(two.ask(ASK).await.status, StatusCode::OK);
        assert_eq!(two.counts(), (1, 2), "{pause}: what it asked for is respected");
        let (gateway, bad) = alone(vec![busy], "").await;
        let answer = gateway.post("/v1/completions", ASK).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "30"), "{pause}");
        let again = gateway.post("/v1/completions", ASK).await;
        assert_eq!((again.status.as_u16(), bad.count()), (429, 1), "{pause}: {again:?}");
    }
}

#[tokio::test]
async fn fault_02_a_500_before_headers_is_made_good_elsewhere() {
    let failed = answer("500 Internal Server Error", "", r#"{"error":{"message":"at 10.1.2.3"}}"#);
    let two = Two::start(vec![failed.clone()], says("other"), true).await;
    assert_eq!((two.ask(ASK).await.status, two.counts()), (StatusCode::OK, (1, 1)));
    let (gateway, bad) = alone(vec![failed], "").await;
    let answer = gateway.post("/v1/completions", ASK).await;
    assert_eq!((answer.status.as_u16(), bad.count()), (502, 1), "{answer:?}");
    assert!(!answer.text.contains("10.1.2.3"), "{answer:?}");
}

#[tokio::test]
async fn fault_03_a_burst_of_503_passes_unseen() {
    let full = answer("503 Service Unavailable", "", "{}");
    let (gateway, bad) = alone(vec![full.clone(), full.clone(), says("x")], "").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, StatusCode::OK);
    assert_eq!(bad.count(), 3);
    let (gateway, bad) = alone(vec![full], "").await;
    for _ in 0..100 {
        assert_eq!(gateway.post("/v1/completions", ASK).await.status.as_u16(), 503);
    }
    assert!(bad.count() <= 150, "a storm of retries: {} requests for 100", bad.count());
}

#[tokio::test]
async fn fault_04_a_refused_connection_costs_nothing() {
    let refusing = Script::start(vec![]).await;
    let url = refusing.url();
    drop(refusing);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let good = Script::start(vec![says("other")]).await;
    let gateway = Gateway::start(&routed(&[&url, &good.url()], true, "")).await;
    for _ in 0..20 {
        assert_eq!(gateway.post("/v1/completions", ASK).await.status, StatusCode::OK);
    }
    assert_eq!(good.count(), 20);
}

#[tokio::test]
async fn fault_05_a_reset_before_headers_is_asked_again_only_where_nobody_pays_twice() {
    let two = Two::start(vec![vec![Act::Reset]], says("other"), false).await;
    assert_eq!((two.ask(ASK).await.status, two.counts()), (StatusCode::OK, (1, 1)));
    let two = Two::start(vec![vec![Act::Reset]], says("other"), true).await;
    let answer = two.ask(ASK).await;
    assert_eq!((answer.status.as_u16(), two.counts()), (502, (1, 0)), "{answer:?}");
}

#[tokio::test]
async fn fault_06_a_hang_before_headers_ends_at_its_limit() {
    let two = Two::start(vec![vec![Act::Hang]], says("other"), false).await;
    assert_eq!((two.ask(ASK).await.status, two.counts()), (StatusCode::OK, (1, 1)));
    let two = Two::start(vec![vec![Act::Hang]], says("other"), true).await;
    let began = Instant::now();
    let answer = two.ask(ASK).await;
    assert_eq!((answer.status.as_u16(), two.counts()), (504, (1, 0)), "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], "timeout_first_byte");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn fault_07_a_hang_after_headers_ends_at_the_limit_for_a_first_token() {
    let hang = vec![stream_head(), Act::Write(": still here\n\n".into()), Act::Hang];
    let whole = text_event("g", "other") + &ending("g");
    let two = Two::start(vec![hang.clone()], streams(&whole), false).await;
    let answer = two.ask(ASK_STREAM).await;
    assert_eq!((answer.status, text(&answer).as_str()), (StatusCode::OK, "other"), "{answer:?}");
    let (gateway, _bad) = alone(vec![hang], "").await;
    let answer = gateway.post("/v1/completions", ASK_STREAM).await;
    assert_eq!(answer.status.as_u16(), 504);
    assert_eq!(answer.json()["error"]["code"], "timeout_first_token");
}

#[tokio::test]
async fn fault_08_a_reset_in_mid_stream_goes_on_elsewhere_or_is_told() {
    let begun = text_event("a", "one ") + &text_event("a", "two ");
    let cut = |events: &str| {
        vec![stream_head(), Act::Write(events.into()), Act::Pause(Duration::from_millis(200)), Act::Reset]
    };
    let rest = streams(&(text_event("b", "three") + &ending("b")));
    let two = Two::start(vec![cut(&begun)], rest, false).await;
    let answer = two.ask(ASK_STREAM).await;
    assert_eq!(text(&answer), "one two three", "{answer:?}");
    let asked = two.good.last();
    assert_eq!((asked["prompt"].as_str(), asked["max_tokens"].as_u64()), (Some("x = one two "), Some(18)));
    assert!(answer.text.ends_with("data: [DONE]\n\n") && !answer.text.contains("\"b\""), "{answer:?}");
    two.gateway.until_metric(r#"modelgate_resumed_streams_total{backend="b0",result="resumed"} 1"#).await;

    // A chat that says the same again goes on; one that cannot is told to be broken.
    let begun = chat_event("a", "one ") + &chat_event("a", "two ");
    let again = streams(&(chat_event("b", "one two th") + &chat_event("b", "ree") + &ending("b")));
    for (temperature, expected, error) in [("0", "one two three", ""), ("0.7", "one two ", "backend_broken")]
    {
        let two = Two::start(vec![cut(&begun)], again.clone(), false).await;
        let body = format!(r#"{{"model":"m","messages":[],"stream":true,"temperature":{temperature}}}"#);
        let answer = two.gateway.post("/v1/chat/completions", &body).await;
        assert_eq!(
            (text(&answer).as_str(), in_band_error(&answer).as_str()),
            (expected, error),
            "{answer:?}"
        );
        assert_eq!(answer.text.contains("[DONE]"), error.is_empty());
    }
    let other = streams(&(chat_event("b", "one TWO") + &ending("b")));
    let two = Two::start(vec![cut(&begun)], other, false).await;
    let body = r#"{"model":"m","messages":[],"stream":true,"temperature":0}"#;
    let answer = two.gateway.post("/v1/chat/completions", body).await;
    assert_eq!(in_band_error(&answer), "backend_unresumable", "{answer:?}");
    assert!(!answer.text.contains("[DONE]") && text(&answer) == "one two ", "{answer:?}");
}

#[tokio::test]
async fn fault_09_an_end_without_a_finish_reason_or_done_is_no_end() {
    let cut = streams(&(text_event("a", "one ") + "data: {\"half"));
    let rest = streams(&(text_event("b", "two") + &ending("b")));
    let two = Two::start(vec![cut.clone()], rest, false).await;
    let answer = two.ask(ASK_STREAM).await;
    assert_eq!((text(&answer).as_str(), in_band_error(&answer).as_str()), ("one two", ""), "{answer:?}");
    let (gateway, _bad) = alone(vec![cut], "").await;
    let answer = gateway.post("/v1/completions", ASK_STREAM).await;
    assert_eq!((text(&answer).as_str(), in_band_error(&answer).as_str()), ("one ", "backend_broken"));
    assert!(!answer.text.contains("[DONE]") && !answer.text.contains("half"), "{answer:?}");
    gateway.until_metric(r#"operation="text_completion",outcome="truncated"} 1"#).await;
}

#[tokio::test]
async fn fault_10_an_error_event_in_a_200_stream_is_an_error() {
    let error = "data: {\"error\":{\"message\":\"CUDA out of memory at node-7\",\"code\":500}}\n\n";
    let whole = streams(&(text_event("g", "other") + &ending("g")));
    let two = Two::start(vec![streams(error)], whole.clone(), false).await;
    let answer = two.ask(ASK_STREAM).await;
    assert_eq!((answer.status, text(&answer).as_str()), (StatusCode::OK, "other"), "{answer:?}");
    let (gateway, _bad) = alone(vec![streams(error)], "").await;
    let answer = gateway.post("/v1/completions", ASK_STREAM).await;
    assert_eq!((answer.status.as_u16(), answer.text.contains("node-7")), (502, false), "{answer:?}");
    let late = in_two(&text_event("a", "one "), &(error.to_owned() + "data: [DONE]\n\n"));
    let (gateway, _bad) = alone(vec![late], "").await;
    let answer = gateway.post("/v1/completions", ASK_STREAM).await;
    assert_eq!(in_band_error(&answer), "backend_error");
    assert!(!answer.text.contains("[DONE]") && !answer.text.contains("node-7"), "{answer:?}");
    gateway.until_metric(r#"operation="text_completion",outcome="upstream_error"} 1"#).await;
    let callers = "data: {\"error\":{\"message\":\"prompt is too long\",\"code\":400}}\n\n";
    let two = Two::start(vec![streams(callers)], whole, false).await;
    let answer = two.ask(ASK_STREAM).await;
    assert_eq!(
        (answer.status.as_u16(), two.counts()),
        (400, (1, 0)),
        "the caller's fault is nobody else's: {answer:?}"
    );
}

#[tokio::test]
async fn fault_11_an_empty_200_is_no_answer() {
    for (empty, body) in
        [(answer("200 OK", "", ""), ASK), (streams(""), ASK_STREAM), (streams(": ping\n\n"), ASK_STREAM)]
    {
        let good =
            if body == ASK { says("other") } else { streams(&(text_event("g", "other") + &ending("g"))) };
        let two = Two::start(vec![empty.clone()], good, false).await;
        let answer = two.ask(body).await;
        assert_eq!((answer.status, answer.text.contains("other")), (StatusCode::OK, true), "{answer:?}");
        let (gateway, _bad) = alone(vec![empty], "").await;
        let answer = gateway.post("/v1/completions", body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
            (502, Some("backend_malformed"))
        );
    }
}

#[tokio::test]
async fn fault_12_malformed_json_is_not_passed_on() {
    for broken in [r#"{"choices":[{"text":"a"}"#, "null", "<html>", "[1]"] {
        let two = Two::start(vec![answer("200 OK", "", broken)], says("other"), false).await;
        assert_eq!((two.ask(ASK).await.status, two.counts()), (StatusCode::OK, (1, 1)), "{broken}");
        let two = Two::start(vec![answer("200 OK", "", broken)], says("other"), true).await;
        let answer = two.ask(ASK).await;
        assert_eq!((answer.status.as_u16(), two.counts()), (502, (1, 0)), "{broken}: {answer:?}");
    }
    let short = vec![
        Act::Write(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"choices\":["
                .into(),
        ),
        Act::Close,
    ];
    let (gateway, _bad) = alone(vec![short], "").await;
    let answer = gateway.post("/v1/completions", ASK).await;
    assert_eq!((answer.status.as_u16(), answer.broken), (502, false), "half an answer is none: {answer:?}");
}

#[tokio::test]
async fn fault_13_malformed_events_end_the_stream_with_an_error() {
    for broken in ["data: {\"choices\":[{\"text\":\"a\"}\n\n", "data: nonsense\n\n"] {
        let (gateway, _bad) =
            alone(vec![in_two(&text_event("a", "one "), &(broken.to_owned() + &ending("a")))], "").await;
        let answer = gateway.post("/v1/completions", ASK_STREAM).await;
        assert_eq!((text(&answer).as_str(), in_band_error(&answer).as_str()), ("one ", "backend_malformed"));
        assert!(!answer.text.contains("[DONE]"), "{answer:?}");
    }
    let two =
        Two::start(vec![streams("nonsense\n\n")], streams(&(text_event("g", "other") + &ending("g"))), false)
            .await;
    assert_eq!(text(&two.ask(ASK_STREAM).await), "other");
}

#[tokio::test]
async fn fault_14_one_byte_at_a_time_is_slow_and_nothing_else() {
    let whole = text_event("a", "one ") + &text_event("a", "two") + &ending("a");
    let bytes = vec![stream_head(), Act::Trickle(whole.clone()), Act::Close];
    let (gateway, _bad) = alone(vec![bytes], "").await;
    let answer = gateway.post("/v1/completions", ASK_STREAM).await;
    assert_eq!(answer.text, whole);
    let body = r#"{"choices":[{"text":"x"}]}"#;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (gateway, _bad) = alone(vec![vec![Act::Trickle(head + body)]], "").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.text, body);
}

#[tokio::test]
async fn fault_15_an_answer_of_another_kind_is_no_answer() {
    let page = |kind: &str, body: &str| {
        vec![Act::Write(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))]
    };
    for (page, body) in [
        (page("text/html", "<h1>Sign in</h1>"), ASK),
        (page("application/json", "{}"), ASK_STREAM),
        (streams(&ending("a")), ASK),
    ] {
        let good =
            if body == ASK { says("other") } else { streams(&(text_event("g", "other") + &ending("g"))) };
        let two = Two::start(vec![page.clone()], good, false).await;
        assert!(two.ask(body).await.text.contains("other"), "{page:?}");
        let (gateway, _bad) = alone(vec![page], "").await;
        let answer = gateway.post("/v1/completions", body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
            (502, Some("backend_malformed"))
        );
    }
}

#[tokio::test]
async fn fault_16_a_pooled_connection_that_went_stale_is_not_the_clients_trouble() {
    let (gateway, bad) = alone(vec![says("first"), vec![Act::Reset], says("third")], "").await;
    assert!(gateway.post("/v1/completions", ASK).await.text.contains("first"));
    assert!(gateway.post("/v1/completions", ASK).await.text.contains("third"));
    assert_eq!(bad.count(), 3);
    // Closed by the server while nobody looked: the next request opens another.
    let mut closing = says("first");
    closing.push(Act::Close);
    let (gateway, _bad) = alone(vec![closing], "").await;
    for _ in 0..5 {
        assert_eq!(gateway.post("/v1/completions", ASK).await.status, StatusCode::OK);
    }
}
