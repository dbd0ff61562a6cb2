//! Pods behind a headless Service: its DNS name is looked up again and again, and the last answer is kept when a lookup
//! fails, so requests go on while the cluster's DNS or API server is gone.

use std::sync::Weak;
use std::time::Duration;

use super::Backend;

const INTERVAL: Duration = Duration::from_secs(2);
const JITTER_MS: u64 = 500;
const INTERVAL_WHEN_WANTED: Duration = Duration::from_millis(250);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers "no such name" in a row until the pods are believed to be gone: one may be a server that restarts.
const GONE_AFTER: u32 = 3;

enum Answer {
    Addresses(Vec<String>),
    NoSuchName,
    Failed(String),
}

/// Looks the name up until the backend is gone.
pub(super) async fn follow(backend: Weak<Backend>, host: String, port: u16) {
    let mut missing = 0;
    loop {
        let answer = look_up(&host, port).await;
        let Some(backend) = backend.upgrade() else { return };
        backend.admission.looked_up();
        match answer {
            Answer::Addresses(bases) => {
                missing = 0;
                backend.set_endpoints(&bases);
            }
            Answer::NoSuchName => {
                missing += 1;
                if missing == GONE_AFTER {
                    backend.set_endpoints(&[]);
                }
            }
            Answer::Failed(error) => {
                tracing::warn!(backend = %backend.name, host, error, "the name could not be looked up; the last answer is kept");
            }
        }
        let admission = backend.admission.waiter();
        drop(backend);
        // Somebody waits for a pod: every tenth of a second counts then.
        let usual = tokio::time::sleep(INTERVAL + Duration::from_millis(rand::random_range(0..JITTER_MS)));
        tokio::select! {
            () = usual => {}
            () = admission.wanted() => tokio::time::sleep(INTERVAL_WHEN_WANTED).await,
        }
    }
}

async fn look_up(host: &str, port: u16) -> Answer {
    // The dot at the end keeps the resolver from trying the search domains of the pod first.
    let absolute =
        if host.contains('.') && !host.ends_with('.') { format!("{host}.") } else { host.to_owned() };
    match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((absolute.as_str(), port))).await {
        Ok(Ok(addresses)) => {
            let mut bases: Vec<String> = addresses.map(|address| format!("http://{address}/v1")).collect();
            bases.sort();
            bases.dedup();
            Answer::Addresses(bases)
        }
        // getaddrinfo's EAI_AGAIN is the one error that says nothing about the name.
        Ok(Err(error)) if error.to_string().contains("Temporary failure") => {
            Answer::Failed(error.to_string())
        }
        Ok(Err(_)) => Answer::NoSuchName,
        Err(_) => Answer::Failed("no answer in time".into()),
    }
}
