//! How much each key, subject, project or model may use: requests and tokens a minute, requests under way. Tokens are
//! reserved by an estimate before the request is sent and settled with the truth when its answer has ended.
//!
//! Counts are kept in this process ([`local`]) or, shared by the gateway's pods, in Redis ([`shared`]). While Redis
//! cannot be asked each pod counts for itself.

mod bucket;
mod local;
pub mod redis;
mod shared;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use modelgate_api::contract::{GatewayConfig, LimitConfig, RedisConfig};
use modelgate_api::v1alpha1::LimitBy;

use crate::caller::{Caller, Proof, tenant};
use crate::metrics::Metrics;
use crate::outbound::Reach;
use crate::secrets::Secrets;
use local::Local;
use shared::Shared;

/// When a limit of requests under way may be tried again; nobody knows when one of them ends.
const CONCURRENT_WAIT: Duration = Duration::from_secs(1);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests a minute.
    Requests,
    /// Tokens a minute.
    Tokens,
    /// Requests under way.
    Concurrent,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Concurrent];

    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrent => "concurrent",
        }
    }
}

/// One count that a request is charged to.
#[derive(Clone, Debug)]
struct Charge {
    /// Index of the limit.
    rule: usize,
    kind: Kind,
    key: String,
    /// Key of the count that keys without room share.
    overflow: String,
    limit: u32,
    cost: u32,
}

/// The charge that was not taken.
#[derive(Debug)]
struct Denied {
    index: usize,
    /// Until it could be; `None` when nobody knows.
    wait: Option<Duration>,
}

/// A request was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Name of the limit.
    pub limit: String,
    /// What it counts.
    pub kind: Kind,
    /// When to try again.
    pub retry_after: Duration,
    /// `x-ratelimit-*`.
    pub headers: HeaderMap,
}

impl Limited {
    /// The sentence for the caller.
    #[must_use]
    pub fn message(&self) -> String {
        let what = match self.kind {
            Kind::Requests => "requests a minute",
            Kind::Tokens => "tokens a minute",
            Kind::Concurrent => "requests at once",
        };
        format!("the limit \"{}\" of {what} is reached; try again in {} s", self.limit, self.seconds())
    }

    /// `Retry-After`: whole seconds, never 0.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        (self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0)).max(1)
    }
}

/// What a request is counted by.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// The client's address, which stands for the subject of anonymous callers.
    pub client: IpAddr,
    /// The project, as the request names it; empty when it names none.
    pub project: &'a str,
    /// The model.
    pub model: &'a str,
    /// Tokens that it will cost, at a guess.
    pub tokens: u32,
}

/// The limits of a configuration with their counts.
pub struct Limits {
    prefix: String,
    rules: Vec<LimitConfig>,
    redis: Option<RedisConfig>,
    local: Arc<Local>,
    shared: Option<Arc<Shared>>,
    metrics: Arc<Metrics>,
}

impl Limits {
    /// Builds them; counts are taken over from `previous`.
    #[must_use]
    pub fn build(
        config: &GatewayConfig,
        previous: Option<&Arc<Self>>,
        secrets: &Secrets,
        metrics: &Arc<Metrics>,
        reach: &Reach,
    ) -> Arc<Self> {
        let prefix = format!("{}/{}", config.namespace, config.gateway);
        let same = |old: &&Arc<Self>| {
            old.rules == config.limits && old.redis == config.redis && old.prefix == prefix
        };
        if let Some(old) = previous.filter(same) {
            return Arc::clone(old);
        }
        for (rule, kind) in config.limits.iter().flat_map(|rule| Kind::ALL.map(|kind| (rule, kind))) {
            if quota(rule, kind).is_some() {
                metrics.limited.with_label_values(&[rule.name.as_str(), kind.as_str()]);
            }
        }
        let lease = config.routes.iter().map(|route| route.timeout.total_ms).max().unwrap_or(300_000);
        let kept = previous.filter(|old| old.redis == config.redis).and_then(|old| old.shared.clone());
        let shared = config.redis.as_ref().map(|redis| {
            kept.unwrap_or_else(|| Arc::new(Shared::new(redis, secrets, reach, Arc::clone(metrics), lease)))
        });
        Arc::new(Self {
            prefix,
            rules: config.limits.clone(),
            redis: config.redis.clone(),
            local: previous.map(|old| Arc::clone(&old.local)).unwrap_or_default(),
            shared,
            metrics: Arc::clone(metrics),
        })
    }

    /// Whether tokens are counted, so that their number must be guessed.
    #[must_use]
    pub fn counts_tokens(&self) -> bool {
        self.rules.iter().any(|rule| rule.tokens_per_minute.is_some())
    }

    /// Lets a request in, or says which limit is used up.
    ///
    /// # Errors
    /// [`Limited`].
    pub async fn admit(self: &Arc<Self>, ask: Ask<'_>) -> Result<Option<Ticket>, Limited> {
        let mut charges = self.charges(ask);
        if charges.is_empty() {
            return Ok(None);
        }
        let (taken, lease) = match &self.shared {
            Some(shared) => match shared.take(&charges).await {
                Some((taken, lease)) => (taken, Some(lease)),
                None => (self.local.take(&mut charges), None),
            },
            None => (self.local.take(&mut charges), None),
        };
        match taken {
            Ok(left) => {
                let headers = headers(&charges, &left);
                let reserved = ask.tokens;
                Ok(Some(Ticket { limits: Arc::clone(self), charges, lease, reserved, owed: 0.0, headers }))
            }
            Err(denied) => Err(self.limited(&charges, &denied)),
        }
    }

    fn limited(&self, charges: &[Charge], denied: &Denied) -> Limited {
        let retry_after = denied.wait.unwrap_or(CONCURRENT_WAIT);
        let charge = charges.get(denied.index);
        let kind = charge.map_or(Kind::Requests, |charge| charge.kind);
        let limit =
            charge.and_then(|charge| self.rules.get(charge.rule)).map_or("", |rule| rule.name.as_str());
        self.metrics.limited.with_label_values(&[limit, kind.as_str()]).inc();
        let headers = charge.map(|charge| headers(std::slice::from_ref(charge), &[0])).unwrap_or_default();
        Limited { limit: limit.into(), kind, retry_after, headers }
    }

    fn charges(&self, ask: Ask<'_>) -> Vec<Charge> {
        let mut charges = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let Some(whose) = whose(rule.by, ask) else { continue };
            for kind in Kind::ALL {
                let Some(limit) = quota(rule, kind) else { continue };
                let cost = if kind == Kind::Tokens { ask.tokens } else { 1 };
                let key = |whose: &str| format!("{}/{}/{}/{whose}", self.prefix, rule.name, kind.as_str());
                charges.push(Charge { rule: index, kind, key: key(&whose), overflow: key("*"), limit, cost });
            }
        }
        charges
    }
}

fn quota(rule: &LimitConfig, kind: Kind) -> Option<u32> {
    match kind {
        Kind::Requests => rule.requests_per_minute,
        Kind::Tokens => rule.tokens_per_minute,
        Kind::Concurrent => rule.concurrent,
    }
}

/// Whose count it is, as a hash: neither memory nor Redis holds a subject or a project. `None`: the limit does not apply.
fn whose(by: LimitBy, ask: Ask<'_>) -> Option<String> {
    let caller = ask.caller;
    Some(match by {
        LimitBy::Key => tenant("key", caller.key.as_deref()?),
        LimitBy::Subject => match caller.proof {
            Proof::Anonymous => tenant("address", &ask.client.to_string()),
            Proof::Key => tenant("key subject", &caller.subject),
            Proof::Token => caller.tenant.clone(),
        },
        LimitBy::Project => tenant("project", ask.project),
        LimitBy::Model => tenant("model", ask.model),
    })
}

/// `x-ratelimit-*` of the count of each kind that is nearest to its end.
fn headers(charges: &[Charge], left: &[u32]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let names = [
        (
            Kind::Requests,
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ),
        (
            Kind::Tokens,
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ),
    ];
    for (kind, limit, remaining, reset) in names {
        let of_kind = charges.iter().zip(left).filter(|(charge, _)| charge.kind == kind);
        let tightest =
            of_kind.min_by_key(|(charge, left)| u64::from(**left) * 1_000_000 / u64::from(charge.limit));
        let Some((charge, left)) = tightest else { continue };
        let full_in = u64::from(charge.limit.saturating_sub(*left)) * 60 / u64::from(charge.limit.max(1));
        headers.insert(HeaderName::from_static(limit), charge.limit.into());
        headers.insert(HeaderName::from_static(remaining), (*left).into());
        if let Ok(value) = HeaderValue::try_from(format!("{full_in}s")) {
            headers.insert(HeaderName::from_static(reset), value);
        }
    }
    headers
}

/// A request that was let in. Dropping it gives back its places; what it owes or gets back of its tokens is settled then.
pub struct Ticket {
    limits: Arc<Limits>,
    charges: Vec<Charge>,
    /// Id of its places in Redis; `None` when it was counted in this process.
    lease: Option<String>,
    reserved: u32,
    owed: f64,
    /// `x-ratelimit-*`.
    pub headers: HeaderMap,
}

impl Ticket {
    /// Notes the truth: what was used, where the backend told it. Without it the estimate stands, unless the request
    /// reached no backend.
    pub fn used(&mut self, tokens: Option<u64>, reached: bool) {
        let reserved = |charge: &Charge| f64::from(self.reserved.min(charge.limit));
        let charge = self.charges.iter().find(|charge| charge.kind == Kind::Tokens);
        let reserved = charge.map_or(0.0, reserved);
        #[allow(clippy::cast_precision_loss)] // no answer has 2^53 tokens
        let owed = tokens.map(|tokens| tokens as f64 - reserved);
        self.owed = owed.unwrap_or(if reached { 0.0 } else { -reserved });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match (self.lease.take(), &self.limits.shared) {
            (Some(lease), Some(shared)) => shared.settle(std::mem::take(&mut self.charges), self.owed, lease),
            _ => self.limits.local.settle(&self.charges, self.owed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rules: &[LimitConfig]) -> Arc<Limits> {
        let config = GatewayConfig { limits: rules.to_vec(), ..GatewayConfig::default() };
        let metrics = Arc::new(Metrics::new().unwrap());
        Limits::build(
            &config,
            None,
            &Secrets::new(std::path::Path::new("/nonexistent")),
            &metrics,
            &Reach::default(),
        )
    }

    fn rule(by: LimitBy) -> LimitConfig {
        LimitConfig {
            name: "l".into(),
            by,
            requests_per_minute: None,
            tokens_per_minute: None,
            concurrent: None,
        }
    }

    fn ask<'a>(caller: &'a Caller, project: &'a str, model: &'a str, tokens: u32) -> Ask<'a> {
        Ask { caller, client: IpAddr::from([192, 0, 2, 1]), project, model, tokens }
    }

    #[tokio::test]
    async fn tokens_are_reserved_before_and_settled_after() {
        let limits = limits(&[LimitConfig { tokens_per_minute: Some(1000), ..rule(LimitBy::Subject) }]);
        let caller = Caller::anonymous();
        let left = async || {
            let ticket = limits.admit(ask(&caller, "", "m", 0)).await.unwrap().unwrap();
            ticket.headers["x-ratelimit-remaining-tokens"].to_str().unwrap().parse::<u32>().unwrap()
        };
        let mut ticket = limits.admit(ask(&caller, "", "m", 900)).await.unwrap().unwrap();
        let refused = limits.admit(ask(&caller, "", "m", 900)).await.err().unwrap();
        assert_eq!((refused.limit.as_str(), refused.kind), ("l", Kind::Tokens));
        assert!(refused.retry_after > Duration::from_secs(40), "{refused:?}");
        ticket.used(Some(100), true);
        drop(ticket);
        assert!((900..=905).contains(&left().await), "800 came back");
        let mut ticket = limits.admit(ask(&caller, "", "m", 100)).await.unwrap().unwrap();
        ticket.used(None, false);
        drop(ticket);
        assert!(left().await >= 900, "what reached no backend cost nothing");
        let mut ticket = limits.admit(ask(&caller, "", "m", 100)).await.unwrap().unwrap();
        ticket.used(Some(5000), true);
        drop(ticket);
        let refused = limits.admit(ask(&caller, "", "m", 1)).await.err().unwrap();
        assert!(refused.retry_after > Duration::from_secs(200), "the debt is paid off first: {refused:?}");
    }

    #[tokio::test]
    async fn each_limit_counts_apart_what_it_says() {
        let key = |id: &str, subject: &str| Caller {
            proof: Proof::Key,
            key: Some(id.into()),
            subject: subject.into(),
            tenant: tenant("key", id),
            ..Caller::anonymous()
        };
        let token = Caller { proof: Proof::Token, tenant: "t".into(), ..Caller::anonymous() };
        let (one, two, other) = (key("1", "alice"), key("2", "alice"), key("3", "bob"));
        for (by, asks) in [
            (LimitBy::Key, [(&one, "p", "m", true), (&two, "p", "m", true), (&one, "q", "n", false)]),
            (LimitBy::Subject, [(&one, "p", "m", true), (&two, "p", "m", false), (&other, "p", "m", true)]),
            (LimitBy::Project, [(&one, "p", "m", true), (&other, "p", "n", false), (&one, "", "m", true)]),
            (LimitBy::Model, [(&one, "p", "m", true), (&other, "q", "m", false), (&one, "p", "n", true)]),
            (LimitBy::Key, [(&token, "p", "m", true), (&token, "p", "m", true), (&token, "p", "m", true)]),
        ] {
            let limits = limits(&[LimitConfig { requests_per_minute: Some(1), ..rule(by) }]);
            for (caller, project, model, admitted) in asks {
                let result = limits.admit(ask(caller, project, model, 0)).await;
                assert_eq!(result.is_ok(), admitted, "{by:?} {} {project} {model}", caller.tenant);
            }
        }
    }

    #[tokio::test]
    async fn places_are_given_back_when_the_answer_has_ended() {
        let limits = limits(&[LimitConfig { concurrent: Some(2), ..rule(LimitBy::Model) }]);
        let caller = Caller::anonymous();
        let admit = || limits.admit(ask(&caller, "", "m", 0));
        let (first, _second) = (admit().await.unwrap(), admit().await.unwrap());
        assert_eq!(admit().await.err().unwrap().kind, Kind::Concurrent);
        drop(first);
        assert!(admit().await.is_ok());
    }
}
