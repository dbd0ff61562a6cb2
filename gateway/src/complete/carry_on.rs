//! A generation whose backend broke off goes on at another address that is asked for the rest: the same prompt with what was
//! said already behind it, and the tokens that are left. Once, within the route's budget, and only where the rest can rightly
//! be asked for; else what has a clean end is all there is, and the outcome says so.

use std::sync::Arc;
use std::time::Instant;

use super::order::Order;
use super::progress::Progress;
use super::read::Reader;
use crate::dialect::openai::Usage;
use crate::error::GatewayError;
use crate::pipeline::dispatch;
use crate::pipeline::prompt::Rendered;
use crate::server::record::Record;

/// What a backend said before it broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The text.
    pub text: String,
    /// Its tokens; each piece counts as one, as servers send them.
    pub tokens: u32,
}

impl Said {
    /// What the whole answer used, of what the backend of its rest says: that one was shown the beginning as its prompt.
    pub(super) fn counted_in(&self, usage: Usage) -> Usage {
        let tokens = u64::from(self.tokens);
        Usage {
            prompt_tokens: usage.prompt_tokens.saturating_sub(tokens),
            completion_tokens: usage.completion_tokens + tokens,
        }
    }
}

/// The rest of a broken answer from elsewhere, with what was said before it; `None` where there is none to be had.
pub(super) async fn carry_on(
    order: &Order,
    rendered: &Rendered,
    progress: &Progress,
    broken: &Reader,
    error: &GatewayError,
    record: &mut Record,
) -> Option<(Reader, Said)> {
    let backend = Arc::clone(broken.backend());
    let series = &backend.series.routing;
    let deadline = dispatch::deadline(&order.route, record.began);
    let is_over = matches!(error, GatewayError::UpstreamTimeout("whole answer"));
    if order.choices > 1 || order.route.retries == 0 || is_over {
        return None;
    }
    let said = progress.said();
    // What was paid for and not shown must not be generated again.
    if said.text.is_empty() && backend.is_paid() {
        return None;
    }
    let rest = rendered.after(&said, &backend)?;
    if !order.route.budget.take(Instant::now()) {
        series.unresumed.inc();
        return None;
    }
    let mut tried = vec![Arc::clone(broken.endpoint())];
    let caller = record.caller().cloned();
    let began = Instant::now();
    let upstream = dispatch::elsewhere(&order.route, &rest, caller.as_deref(), &mut tried, deadline).await;
    let Ok(upstream) = upstream else {
        series.unresumed.inc();
        return None;
    };
    series.resumed.inc();
    tracing::info!(backend = %backend.name, error = %error, "the answer broke off; it is carried on elsewhere");
    record.set_backend(upstream.permit.backend());
    record.note_because("resumed");
    let at = Some(upstream.permit.endpoint().base());
    record.note_attempt(&upstream.permit.backend().name, at, began, "resumed");
    Some((Reader::new(upstream, &order.route, deadline), said))
}
