//! Whether a server stops generating when its client has left: a long answer is begun and dropped, and the server's own
//! count of running requests must fall.

use std::time::Duration;

use http_body_util::BodyExt;
use modelgate_api::v1alpha1::Measured;
use tokio::time::{Instant, sleep, timeout};

use super::{Measuring, TIMEOUT};
use crate::dialect::Generation;
use crate::pipeline::body::UpstreamBody;

/// Families in which servers tell how many requests they are working on.
const GAUGES: [&str; 5] = [
    "vllm:num_requests_running",
    "sglang:num_running_reqs",
    "tgi_batch_current_size",
    "llamacpp:requests_processing",
    "modelgate_engine_requests_running",
];
/// An answer that lasts longer than all of this.
const LONG: u32 = 2048;
/// Time for the count to rise and to fall: servers tell it once in a while.
const RISES: Duration = Duration::from_secs(5);
const FALLS: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);

impl Measuring<'_> {
    pub(super) async fn cancel(&mut self) {
        if !self.abilities.stream {
            return;
        }
        let Some((gauge, before)) = self.running().await else {
            let detail = "the server tells nowhere how many requests it is working on";
            return self.found("cancel", Measured::Unknown, detail);
        };
        let Some(body) = self.begin().await else {
            return self.found("cancel", Measured::Unknown, "a long answer did not begin");
        };
        let rose = self.wait(RISES, |now| now > before).await;
        drop(body);
        let left = Instant::now();
        if !rose {
            let detail = format!("{gauge} did not count the request");
            return self.found("cancel", Measured::Unknown, detail);
        }
        if self.wait(FALLS, |now| now <= before).await {
            let detail = format!("{gauge} fell {} ms after the client had left", left.elapsed().as_millis());
            self.found("cancel", Measured::Supported, detail);
        } else {
            let detail = format!("{gauge} had not fallen {} s after the client had left", FALLS.as_secs());
            self.found("cancel", Measured::Absent, detail);
        }
    }

    /// The body of a long answer of which the first piece has come.
    async fn begin(&self) -> Option<UpstreamBody> {
        let ask = Generation { stream: true, max_tokens: LONG, ..self.ask() };
        let wire = self.dialect.render(&ask, &self.abilities).ok().filter(|wire| wire.stream)?;
        let begun = async {
            let response = self.open(wire).await.ok().filter(|response| response.status().is_success())?;
            let mut body = response.into_body();
            body.frame().await?.ok()?;
            Some(body)
        };
        timeout(TIMEOUT, begun).await.ok().flatten()
    }

    async fn wait(&self, longest: Duration, reached: impl Fn(f64) -> bool) -> bool {
        let until = Instant::now() + longest;
        while Instant::now() < until {
            if self.running().await.is_some_and(|(_, now)| reached(now)) {
                return true;
            }
            sleep(PAUSE).await;
        }
        false
    }

    /// The family and its sum over all of its series.
    async fn running(&self) -> Option<(&'static str, f64)> {
        let (status, body) = self.get("/metrics").await.ok()?;
        let text = String::from_utf8_lossy(&body);
        let value = |line: &str, name: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value);
            value.split_whitespace().next()?.parse::<f64>().ok()
        };
        let sum = |name: &'static str| {
            let values: Vec<f64> = text.lines().filter_map(|line| value(line, name)).collect();
            (!values.is_empty()).then(|| (name, values.iter().sum()))
        };
        GAUGES.into_iter().find_map(sum).filter(|_| status.is_success())
    }
}
