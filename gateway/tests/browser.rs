//! The API's documentation in a real browser, driven by WebDriver. Needs `chromium` and `chromium-driver`:
//! `make test-full SUITE=browser`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use support::{Answer, Gateway, fake, send};

struct Browser {
    driver: Child,
    at: SocketAddr,
    session: String,
}

impl Browser {
    async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed: apt-get install chromium chromium-driver");
        let mut browser =
            Self { driver, at: SocketAddr::from(([127, 0, 0, 1], port)), session: String::new() };
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(browser.at).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // No name resolves: what the page needs must come from the gateway.
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": flags}}}});
        let made = browser.call(Method::POST, "/session", &wanted).await;
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let body = if method == Method::POST { body.to_string() } else { String::new() };
        let path = format!("{}{path}", self.session);
        let headers = [("content-type", "application/json")];
        let answer = Answer::read(send(self.at, method, &path, &headers, &body).await).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()["value"].clone()
    }

    async fn open(&self, url: &str) {
        self.call(Method::POST, "/url", &json!({"url": url})).await;
    }

    async fn run(&self, script: &str) -> Value {
        self.call(Method::POST, "/execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Runs the script until it gives something true.
    async fn until(&self, script: &str) -> Value {
        for _ in 0..200 {
            let value = self.run(script).await;
            if !value.is_null() && value != json!(false) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {script}; the page: {}", self.run("return document.body.innerText").await);
    }

    async fn element(&self, selector: &str) -> String {
        let found =
            self.call(Method::POST, "/element", &json!({"using": "css selector", "value": selector})).await;
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.call(Method::POST, &format!("/element/{element}/click"), &json!({})).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Already gone when it crashed.
        let _gone = self.driver.kill();
        let _gone = self.driver.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromium-driver: make test-full SUITE=browser"]
async fn a_person_tries_a_completion_on_the_documentations_page() {
    let gateway = Gateway::start(&fake("the-canned-answer", "")).await;
    gateway.until_serving().await;
    let browser = Browser::start().await;
    let open = |path: &'static str| format!("http://{}{path}", gateway.at.http);

    browser.open(&open("/docs")).await;
    let listed = browser.until("const all = [...document.querySelectorAll('details code.path')]; return all.length && all.map(one => one.textContent)").await;
    for path in ["/v2/code/completions", "/v1/completions", "/v1/chat/completions"] {
        assert!(listed.as_array().unwrap().contains(&path.into()), "{path}: {listed}");
    }
    for operation in ["v2_code_completions", "v1_completions"] {
        browser.click(&format!("#{operation} summary")).await;
        browser.click(&format!("#{operation} button.send")).await;
        let shown = format!(
            "const shown = document.querySelector('#{operation} pre.answer'); return shown.dataset.done && shown.textContent"
        );
        let answer = browser.until(&shown).await;
        let answer = answer.as_str().unwrap();
        assert!(answer.starts_with("200") && answer.contains("the-canned-answer"), "{operation}: {answer}");
    }

    browser.open(&open("/redoc")).await;
    let text = browser.until("return document.querySelector('section h3') && document.body.innerText").await;
    assert!(text.as_str().unwrap().contains("content_above_cursor"), "{text}");
    assert_eq!(
        browser.run("return document.querySelectorAll('form, button, input').length").await,
        0,
        "a page to read"
    );
    // Anything that came from elsewhere, or was kept from it, would be listed here.
    let loaded = browser.run("return performance.getEntriesByType('resource').map(one => one.name)").await;
    assert_eq!(loaded, json!([open("/openapi.json")]));
}
