//! The sixteen faults of backends on GitLab's completion route, one test each. An editor of today (`Current`) gets a success,
//! with what has a clean end or no choice at all; the gateway of 2023 (`Strict`) showed what it showed, a row each. Whatever
//! is shown, the outcome tells the truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use support::script::{Act, Script, answer, ending, routed, says, stream_head, streams, text_event};
use support::{Answer, Gateway};

const CLEAN: &str = "total = a + b";
/// What `Strict` shows: the status, and the text of its one choice.
const EMPTY: (u16, &str) = (200, "");
const FAILED: (u16, &str) = (500, "");

async fn ask(gateway: &Gateway, distinct: usize) -> Answer {
    let above = format!("def f{distinct}(a, b):\n    ");
    let file = json!({"file_name": "a.py", "content_above_cursor": above, "content_below_cursor": "\n"});
    gateway.post("/v2/completions", &json!({"project_id": 1, "current_file": file}).to_string()).await
}

fn text(answer: &Answer) -> String {
    if !answer.status.is_success() {
        return String::new();
    }
    answer.json()["choices"][0]["text"].as_str().unwrap_or_default().to_owned()
}

/// Asks a backend that does this and has nobody beside it, at both levels.
async fn alone(acts: &[Vec<Act>], outcome: &str, current: &str, strict: (u16, &str)) {
    for compat in ["Current", "Strict"] {
        let bad = Script::start(acts.to_vec()).await;
        let settings = format!("  completion: {{compat: {compat}}}\n");
        let gateway = Gateway::start(&routed(&[&bad.url()], false, &settings)).await;
        let began = Instant::now();
        let answer = ask(&gateway, 0).await;
        assert!(began.elapsed() < Duration::from_secs(15), "{compat}: {:?}", began.elapsed());
        assert!(!answer.broken);
        assert_eq!(answer.header("x-modelgate-outcome"), outcome, "{compat}: {answer:?}");
        let expected = if compat == "Strict" { strict } else { (200, current) };
        assert_eq!((answer.status.as_u16(), text(&answer).as_str()), expected, "{compat}: {answer:?}");
        if answer.status.is_success() {
            let choices = answer.json()["choices"].as_array().unwrap().len();
            let one = compat == "Strict" || !current.is_empty();
            assert_eq!(choices, usize::from(one), "{compat}: {answer:?}");
        } else {
            assert_eq!(answer.text, "Internal Server Error", "{compat}");
        }
        gateway.until_metric(&format!(r#"operation="code_completion",outcome="{outcome}"}} 1"#)).await;
    }
}

/// Asks one that does this with another beside it: what the client sees and how often each was asked, the same at both
/// levels where it is a success.
async fn beside(bad: &[Vec<Act>], good: &[Act], paid: bool) -> (Answer, usize, Script, Gateway) {
    let (bad, good) = (Script::start(bad.to_vec()).await, Script::start(vec![good.to_vec()]).await);
    let gateway = Gateway::start(&routed(&[&bad.url(), &good.url()], paid, "")).await;
    let answer = ask(&gateway, 0).await;
    let asked = bad.count();
    (answer, asked, good, gateway)
}

/// A stream that says a whole line and the beginning of another, and then does this.
fn begun(then: Vec<Act>) -> Vec<Act> {
    let events = text_event("a", "total = a + b") + &text_event("a", "\\n    retu");
    let mut acts = vec![stream_head(), Act::Write(events), Act::Pause(Duration::from_millis(200))];
    acts.extend(then);
    acts
}

fn whole(text: &str) -> Vec<Act> {
    streams(&(text_event("g", text) + &ending("g")))
}

#[tokio::test]
async fn fault_01_a_429_is_waited_for_when_its_pause_is_short_and_capped_when_it_is_absurd() {
    let busy = |pause: &str| answer("429 Too Many Requests", &format!("retry-after: {pause}\r\n"), "{}");
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    for pause in ["1", &date] {
        let (answer, asked, good, _gateway) =
            beside(&[busy(pause), says("late")], &says("other"), true).await;
        assert_eq!(
            (text(&answer).as_str(), asked, good.count()),
            ("late", 2, 0),
            "{pause}: no fallback is burnt"
        );
    }
    for pause in ["259200000", "Fri, 01 Jan 2100 00:00:00 GMT"] {
        alone(&[busy(pause)], "client_error", "", FAILED).await;
        let (answer, asked, good, gateway) = beside(&[busy(pause)], &says("other"), true).await;
        assert_eq!((text(&answer).as_str(), asked, good.count()), ("other", 1, 1), "{pause}");
        assert_eq!(
            (text(&ask(&gateway, 1).await).as_str(), good.count()),
            ("other", 2),
            "{pause}: it is respected"
        );
    }
}

#[tokio::test]
async fn fault_02_a_500_before_headers_is_made_good_elsewhere() {
    let failed = answer("500 Internal Server Error", "", r#"{"error":{"message":"at 10.1.2.3"}}"#);
    alone(std::slice::from_ref(&failed), "upstream_error", "", EMPTY).await;
    let (answer, asked, good, _gateway) = beside(&[failed], &says("other"), true).await;
    assert_eq!((text(&answer).as_str(), asked, good.count()), ("other", 1, 1));
}

#[tokio::test]
async fn fault_03_a_burst_of_503_passes_unseen() {
    let full = answer("503 Service Unavailable", "", "{}");
    alone(&[full.clone(), full.clone(), says("x")], "success", "x", (200, "x")).await;
    alone(&[full], "upstream_error", "", FAILED).await;
}

#[tokio::test]
async fn fault_04_a_refused_connection_costs_nothing() {
    let refusing = Script::start(vec![]).await;
    let url = refusing.url();
    drop(refusing);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let good = Script::start(vec![says("other")]).await;
    let gateway = Gateway::start(&routed(&[&url, &good.url()], true, "")).await;
    assert_eq!((text(&ask(&gateway, 0).await).as_str(), good.count()), ("other", 1));
    for (compat, expected) in [("Current", (200, "")), ("Strict", FAILED)] {
        let settings = format!("  completion: {{compat: {compat}}}\n");
        let gateway = Gateway::start(&routed(&[&url], false, &settings)).await;
        let answer = ask(&gateway, 0).await;
        assert_eq!((answer.status.as_u16(), text(&answer).as_str()), expected, "{compat}");
        assert_eq!(answer.header("x-modelgate-outcome"), "upstream_error");
    }
}

#[tokio::test]
async fn fault_05_a_reset_before_headers_is_asked_again_only_where_nobody_pays_twice() {
    let reset = vec![vec![Act::Reset]];
    alone(&reset, "upstream_error", "", FAILED).await;
    for (paid, expected) in [(false, ("other", 1)), (true, ("", 0))] {
        let (answer, _, good, _gateway) = beside(&reset, &says("other"), paid).await;
        assert_eq!((text(&answer).as_str(), good.count()), expected, "paid {paid}: {answer:?}");
    }
}

#[tokio::test]
async fn fault_06_a_hang_before_headers_ends_at_its_limit() {
    let hang = vec![vec![Act::Hang]];
    alone(&hang, "timeout", "", FAILED).await;
    for (paid, expected) in [(false, ("other", 1, 1)), (true, ("", 1, 0))] {
        let (answer, asked, good, _gateway) = beside(&hang, &says("other"), paid).await;
        assert_eq!((text(&answer).as_str(), asked, good.count()), expected, "paid {paid}: {answer:?}");
    }
}

#[tokio::test]
async fn fault_07_a_hang_after_headers_ends_at_the_limit_for_a_token() {
    let silent = vec![stream_head(), Act::Write(": still here\n\n".into()), Act::Hang];
    alone(std::slice::from_ref(&silent), "timeout", "", FAILED).await;
    let (answer, _, _good, _gateway) = beside(&[silent], &whole("other"), false).await;
    assert_eq!(text(&answer), "other");
    alone(&[begun(vec![Act::Hang])], "timeout", CLEAN, (200, CLEAN)).await;
}

#[tokio::test]
async fn fault_08_a_reset_in_mid_stream_goes_on_elsewhere_or_ends_clean() {
    alone(&[begun(vec![Act::Reset])], "truncated", CLEAN, (200, CLEAN)).await;
    // Not a line is whole: nothing is shown, at either level.
    let early = vec![
        stream_head(),
        Act::Write(text_event("a", "tot")),
        Act::Pause(Duration::from_millis(200)),
        Act::Reset,
    ];
    alone(&[early], "truncated", "", EMPTY).await;
    for paid in [false, true] {
        let (answer, asked, good, gateway) =
            beside(&[begun(vec![Act::Reset])], &whole("rn total"), paid).await;
        assert_eq!((text(&answer).as_str(), asked), ("total = a + b\n    return total", 1), "{answer:?}");
        assert_eq!(answer.header("x-modelgate-outcome"), "success");
        let rest = good.last();
        assert_eq!(
            rest["prompt"], "def f0(a, b):\n    total = a + b\n    retu",
            "the rest alone is asked for"
        );
        assert_eq!(rest["max_tokens"], 62, "of 64 tokens two were used");
        gateway.until_metric(r#"modelgate_resumed_streams_total{backend="b0",result="resumed"} 1"#).await;
    }
}

#[tokio::test]
async fn fault_09_an_end_without_a_finish_reason_or_done_is_no_end() {
    alone(&[begun(vec![Act::Write("data: {\"half".into()), Act::Close])], "truncated", CLEAN, (200, CLEAN))
        .await;
    let (answer, ..) = beside(&[begun(vec![Act::Close])], &whole("rn total"), false).await;
    assert_eq!(text(&answer), "total = a + b\n    return total");
}

#[tokio::test]
async fn fault_10_an_error_event_in_a_200_stream_is_an_error() {
    let error = "data: {\"error\":{\"message\":\"CUDA out of memory at node-7\",\"code\":500}}\n\n";
    alone(&[streams(error)], "upstream_error", "", EMPTY).await;
    let late = begun(vec![Act::Write(error.to_owned() + "data: [DONE]\n\n"), Act::Close]);
    alone(std::slice::from_ref(&late), "truncated", CLEAN, (200, CLEAN)).await;
    let (answer, ..) = beside(&[late], &whole("rn total"), false).await;
    assert_eq!(text(&answer), "total = a + b\n    return total");
    let callers = "data: {\"error\":{\"message\":\"prompt is too long\",\"code\":400}}\n\n";
    let (answer, asked, good, _gateway) = beside(&[streams(callers)], &says("other"), false).await;
    assert_eq!(
        (text(&answer).as_str(), asked, good.count()),
        ("", 1, 0),
        "the caller's fault is nobody else's"
    );
}

#[tokio::test]
async fn fault_11_an_empty_200_is_no_answer() {
    for empty in [answer("200 OK", "", ""), streams(""), streams(": ping\n\n")] {
        alone(std::slice::from_ref(&empty), "upstream_error", "", FAILED).await;
        let (answer, ..) = beside(&[empty], &says("other"), false).await;
        assert_eq!(text(&answer), "other");
    }
}

#[tokio::test]
async fn fault_12_malformed_json_is_not_taken_for_an_answer() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"choices\":[";
    let short = vec![Act::Write(head.into()), Act::Close];
    let broken = ["{\"choices\":[{\"text\":\"a\"}", "null", "<html>", "[1]", "{}", "{\"choices\":[]}"];
    for acts in broken.iter().map(|body| answer("200 OK", "", body)).chain([short]) {
        alone(&[acts], "upstream_error", "", FAILED).await;
    }
    for (paid, expected) in [(false, ("other", 1)), (true, ("", 0))] {
        let (answer, _, good, _gateway) = beside(&[answer("200 OK", "", "null")], &says("other"), paid).await;
        assert_eq!((text(&answer).as_str(), good.count()), expected, "paid {paid}");
    }
}

#[tokio::test]
async fn fault_13_malformed_events_end_the_answer_where_it_is_clean() {
    for broken in ["data: {\"choices\":[{\"text\":\"a\"}\n\n", "data: nonsense\n\n"] {
        let late = begun(vec![Act::Write(broken.to_owned() + &ending("a")), Act::Close]);
        alone(&[late], "truncated", CLEAN, (200, CLEAN)).await;
    }
    alone(&[streams("nonsense\n\n")], "upstream_error", "", FAILED).await;
    let (answer, ..) = beside(&[streams("nonsense\n\n")], &whole("other"), false).await;
    assert_eq!(text(&answer), "other");
}

#[tokio::test]
async fn fault_14_one_byte_at_a_time_is_slow_and_nothing_else() {
    let events = text_event("a", "one ") + &text_event("a", "two") + &ending("a");
    alone(&[vec![stream_head(), Act::Trickle(events), Act::Close]], "success", "one two", (200, "one two"))
        .await;
    let body = r#"{"choices":[{"text":"x"}]}"#;
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    alone(&[vec![Act::Trickle(head + body)]], "success", "x", (200, "x")).await;
}

#[tokio::test]
async fn fault_15_an_answer_of_another_kind_is_no_answer() {
    let page = vec![Act::Write(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 16\r\n\r\n<h1>Sign in</h1>".into(),
    )];
    alone(std::slice::from_ref(&page), "upstream_error", "", FAILED).await;
    let (answer, ..) = beside(&[page], &says("other"), false).await;
    assert_eq!(text(&answer), "other");
}

#[tokio::test]
async fn fault_16_a_pooled_connection_that_went_stale_is_not_the_editors_trouble() {
    for compat in ["Current", "Strict"] {
        let bad = Script::start(vec![says("first"), vec![Act::Reset], says("third")]).await;
        let settings = format!("  completion: {{compat: {compat}}}\n");
        let gateway = Gateway::start(&routed(&[&bad.url()], false, &settings)).await;
        let texts = [ask(&gateway, 0).await, ask(&gateway, 1).await].map(|answer| text(&answer));
        assert_eq!((texts, bad.count()), (["first".into(), "third".into()], 3), "{compat}");
        // Closed by the server while nobody looked: the next request opens another.
        let mut closing = says("x");
        closing.push(Act::Close);
        let bad = Script::start(vec![closing]).await;
        let gateway = Gateway::start(&routed(&[&bad.url()], false, &settings)).await;
        for distinct in 0..5 {
            assert_eq!(text(&ask(&gateway, distinct).await), "x", "{compat}");
        }
    }
}
