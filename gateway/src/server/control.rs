//! The control listener: probes of the kubelet, and the state document that the operator follows by long polls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use modelgate_api::v1alpha1::GoDuration;

use super::{plain, refused};
use crate::app::Gateway;
use crate::limits;

/// Answers a probe or a poll.
pub async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if let Some(refusal) = refused(&request, &["/livez", "/readyz", "/v1/state"]) {
        return refusal;
    }
    match request.uri().path() {
        "/readyz" if gateway.drain.is_draining() => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n")
        }
        "/livez" | "/readyz" => plain(StatusCode::OK, "text/plain", "ok\n"),
        _ => match poll(request.uri().query().unwrap_or_default()) {
            Ok(poll) => state(&gateway, poll).await,
            Err(why) => plain(StatusCode::BAD_REQUEST, "text/plain", format!("{why}\n")),
        },
    }
}

/// What a poll asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Poll {
    since: Option<u64>,
    wait: Duration,
}

fn poll(query: &str) -> Result<Poll, String> {
    let mut poll = Poll::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "since" => poll.since = Some(value.parse().map_err(|_| format!("since={value}: not a number"))?),
            "wait" => {
                let wait = GoDuration(value.into_owned()).parse().map_err(|why| format!("wait: {why}"))?;
                poll.wait = wait.min(limits::STATE_WAIT);
            }
            other => return Err(format!("parameter \"{other}\" is not known; there are since and wait")),
        }
    }
    Ok(poll)
}

async fn state(gateway: &Gateway, poll: Poll) -> Response<Full<Bytes>> {
    if let Some(since) = poll.since.filter(|_| !poll.wait.is_zero()) {
        // Also when the time is over the document as it is now is the answer.
        let _elapsed = tokio::time::timeout(poll.wait, gateway.workshop.changed.after(since)).await;
    }
    match serde_json::to_vec(&gateway.state()) {
        Ok(body) => plain(StatusCode::OK, "application/json", body),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_bounded_and_its_mistakes_are_named() {
        let asked = poll("since=7&wait=25s").unwrap();
        assert_eq!(asked, Poll { since: Some(7), wait: Duration::from_secs(25) });
        assert_eq!(poll("wait=1h").unwrap().wait, limits::STATE_WAIT);
        assert_eq!(poll("").unwrap(), Poll::default());
        for bad in ["since=x", "wait=25", "sinse=1"] {
            assert!(poll(bad).is_err(), "{bad}");
        }
    }
}
