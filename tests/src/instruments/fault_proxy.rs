//! A plain HTTP proxy between the operator and the API server that injects faults by a plan: fail a request before it
//! arrives, let it happen and cut the answer, or delay it. `kubectl proxy` behind it holds the credentials and the TLS.
//!
//! Each connection carries one request, so a watch is passed through as it comes and a cut hits exactly one request.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::http::{Head, answer, read_body, read_head};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Answer 503 without forwarding: nothing happened.
    Fail,
    /// Forward, wait for the answer, close the connection: it happened, but the client does not know.
    Cut,
    /// Forward after a while, in milliseconds.
    Delay(u64),
}

/// One line of a plan: the `nth` request (from 1) whose method and path match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// HTTP method; `*` for any that writes.
    pub method: String,
    /// Part of the path.
    pub path: String,
    /// Which of the matching requests; 0 for every one.
    pub nth: u64,
    /// What happens to it.
    pub action: Action,
}

/// Faults with the count of matching requests of each.
#[derive(Debug, Clone)]
pub struct Plan(Arc<Mutex<Vec<(Fault, u64)>>>);

impl Plan {
    /// A plan of these faults.
    #[must_use]
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(Arc::new(Mutex::new(faults.into_iter().map(|fault| (fault, 0)).collect())))
    }

    /// Counts a request and says what happens to it.
    #[must_use]
    pub fn decide(&self, method: &str, path: &str) -> Option<Action> {
        let mut faults = self.0.lock().ok()?;
        let mut decided = None;
        for (fault, count) in faults.iter_mut() {
            let writes = ["POST", "PUT", "PATCH", "DELETE"].contains(&method);
            if (fault.method == method || (fault.method == "*" && writes)) && path.contains(&fault.path) {
                *count += 1;
                if fault.nth == 0 || fault.nth == *count {
                    decided = decided.or(Some(fault.action));
                }
            }
        }
        decided
    }
}

/// Serves for as long as the process lives; every fault that struck is printed as a line of standard output.
///
/// # Errors
/// When the listener fails.
pub fn serve(listener: &TcpListener, upstream: SocketAddr, plan: &Plan) -> Result<()> {
    loop {
        let (client, _) = listener.accept().context("the listener failed")?;
        let plan = plan.clone();
        std::thread::spawn(move || {
            // A peer that hangs up ends its own connection and nothing else.
            let _ = pass(client, upstream, &plan);
        });
    }
}

fn pass(client: TcpStream, upstream: SocketAddr, plan: &Plan) -> Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let head = read_head(&mut reader)?;
    let body = read_body(&mut reader, &head)?;
    let mut words = head.start.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let action = plan.decide(method, path);
    if let Some(action) = action {
        println!("{action:?} {method} {path}");
    }
    let mut client = client;
    match action {
        Some(Action::Fail) => {
            let status = br#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"ServiceUnavailable","code":503,"message":"injected"}"#;
            return answer(&mut client, 503, "application/json", status);
        }
        Some(Action::Delay(millis)) => std::thread::sleep(Duration::from_millis(millis)),
        Some(Action::Cut) | None => {}
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(&forwarded(&head, &body))?;
    if action == Some(Action::Cut) {
        server.read_exact(&mut [0; 12])?;
        return Ok(client.shutdown(Shutdown::Both)?);
    }
    std::io::copy(&mut server, &mut client)?;
    Ok(client.shutdown(Shutdown::Both)?)
}

/// The request as sent on: its body with a length, and the connection for it alone.
fn forwarded(head: &Head, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{}\r\n", head.start);
    for (name, value) in &head.headers {
        if !["connection", "transfer-encoding", "content-length", "host"].contains(&name.as_str()) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str(&format!("host: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruments::echo;
    use crate::instruments::http::{Request, send};

    #[test]
    fn a_plan_strikes_the_request_it_names_and_no_other() {
        let fault = |method: &str, nth, action| Fault {
            method: method.into(),
            path: "configmaps".into(),
            nth,
            action,
        };
        let plan = Plan::new(vec![fault("PATCH", 2, Action::Fail), fault("*", 3, Action::Cut)]);
        assert_eq!(plan.decide("GET", "/api/v1/configmaps"), None);
        assert_eq!(plan.decide("PATCH", "/api/v1/configmaps/a"), None);
        assert_eq!(plan.decide("PATCH", "/api/v1/configmaps/a"), Some(Action::Fail));
        assert_eq!(plan.decide("DELETE", "/api/v1/configmaps/a"), Some(Action::Cut));
        assert_eq!(plan.decide("PATCH", "/api/v1/services/a"), None);
    }

    #[test]
    fn each_action_does_what_it_says() {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = upstream.local_addr().unwrap();
        std::thread::spawn(move || echo::serve(&upstream, &echo::Options::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fault = |nth, action| Fault { method: "POST".into(), path: "completions".into(), nth, action };
        let plan =
            Plan::new(vec![fault(1, Action::Fail), fault(2, Action::Cut), fault(3, Action::Delay(50))]);
        std::thread::spawn(move || serve(&listener, target, &plan));
        let ask = || send(address, &Request::post("/v1/completions", "{}"), Duration::from_secs(5));
        assert_eq!(ask().unwrap().status, 503);
        assert!(ask().is_err(), "the answer was cut");
        assert_eq!(ask().unwrap().status, 200);
    }
}
