//! What the main job shows: the request, the model's completion, and what Prometheus scrapes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::command::wait_until;
use crate::instruments::http::{Connection, Request};
use crate::progress::say;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const SCRAPE_LIMIT: Duration = Duration::from_secs(90);

/// The path that GitLab asks for completions.
pub const PATH: &str = "/v2/completions";

/// A request as GitLab sends it: a file of which the cursor's surroundings are known.
#[must_use]
pub fn request() -> Value {
    json!({
        "prompt_version": 1,
        "project_path": "demo/project",
        "project_id": 1,
        "current_file": {
            "file_name": "hello.py",
            "content_above_cursor": "# Say hello to a person\ndef hello(name):\n    print(",
            "content_below_cursor": "\n",
        },
    })
}

/// Headers of that request besides the content type.
pub const HEADERS: &[(&str, &str)] = &[("x-gitlab-authentication-type", "oidc")];

/// Sends the request through the gateway and prints both sides.
///
/// # Errors
/// When the answer is no completion.
pub fn completion(gateway: SocketAddr, small_model: bool) -> Result<()> {
    let body = request();
    say(&format!("\nPOST {PATH}\n{body:#}\n"));
    let mut post = Request::post(PATH, body.to_string());
    for (name, value) in HEADERS {
        post = post.with(name, value);
    }
    let mut shown = Value::Null;
    // A gateway tells an editor of a slow first answer only that there is no completion.
    wait_until(ANSWER_LIMIT, "a completion", || {
        let answer =
            Connection::to(gateway, ANSWER_LIMIT).send(&post).context("the gateway did not answer")?;
        if answer.status != 200 {
            bail!("the gateway answered {}: {}", answer.status, answer.text());
        }
        shown = answer.json()?;
        if completion_of(&shown).is_empty() {
            bail!("the gateway answered without one: {shown}")
        } else {
            Ok(())
        }
    })?;
    let text = completion_of(&shown);
    if small_model {
        say(
            "The model is a chat model of 135M parameters without infill tokens, there to prove the path and not to \
             write code; `make run MODEL=/file.gguf` takes a real one. Its completion:\n",
        );
    } else {
        say("The model's completion:\n");
    }
    for line in text.lines() {
        say(&format!("    | {line}"));
    }
    say(&format!("\nThe whole answer:\n{shown:#}\n"));
    Ok(())
}

fn completion_of(answer: &Value) -> &str {
    answer.pointer("/choices/0/text").and_then(Value::as_str).unwrap_or_default()
}

/// A line for a second terminal.
#[must_use]
pub fn curl(gateway: &str) -> String {
    let headers: String = HEADERS.iter().map(|(name, value)| format!(" -H '{name}: {value}'")).collect();
    format!("curl -s {gateway}{PATH} -H 'content-type: application/json'{headers} -d '{}'", request())
}

/// Waits until Prometheus has targets for each word, found in their scrape pool, and all that it has are up; prints them.
///
/// # Errors
/// When a target does not come up.
pub fn targets(prometheus: SocketAddr, wanted: &[&str]) -> Result<()> {
    let mut rows = Vec::new();
    wait_until(SCRAPE_LIMIT, "Prometheus scrapes both", || {
        let answer = Connection::to(prometheus, Duration::from_secs(10))
            .send(&Request::get("/api/v1/targets?state=active"))?
            .json()?;
        rows = parse_targets(&answer);
        for word in wanted {
            if !rows.iter().any(|row| row.pool.contains(word)) {
                bail!("no target of {word}; known: {rows:?}");
            }
        }
        if let Some(row) = rows.iter().find(|row| row.health != "up") {
            bail!("{} is {}", row.url, row.health);
        }
        Ok(())
    })?;
    say("Prometheus targets:");
    for row in rows {
        say(&format!("  {:<4}  {}  {}", row.health, row.url, row.pool));
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    health: String,
    url: String,
    pool: String,
}

fn parse_targets(answer: &Value) -> Vec<Target> {
    let text = |target: &Value, field: &str| target[field].as_str().unwrap_or_default().to_owned();
    let all = answer.pointer("/data/activeTargets").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .map(|target| Target {
            health: text(target, "health"),
            url: text(target, "scrapeUrl"),
            pool: text(target, "scrapePool"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_with_their_health() {
        let answer = json!({"data": {"activeTargets": [
            {"health": "up", "scrapeUrl": "http://10.0.0.1:8082/metrics", "scrapePool": "serviceMonitor/a/code/0"},
        ]}});
        let expected = Target {
            health: "up".into(),
            url: "http://10.0.0.1:8082/metrics".into(),
            pool: "serviceMonitor/a/code/0".into(),
        };
        assert_eq!(parse_targets(&answer), [expected]);
        assert!(parse_targets(&json!({"status": "error"})).is_empty());
    }

    #[test]
    fn the_curl_line_is_the_request_that_was_shown() {
        let line = curl("http://127.0.0.1:5000");
        assert!(line.starts_with("curl -s http://127.0.0.1:5000/v2/completions "));
        let body = line.rsplit_once(" -d '").unwrap().1.trim_end_matches('\'');
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), request());
        assert!(!body.contains('\''), "a quote would end the shell's word");
    }
}
