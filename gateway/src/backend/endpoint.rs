//! Addresses of one backend and the choice among them: least requests under way, ties at random, refused ones last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::Uri;

use crate::dialect::Dialect;
use crate::dialect::openai::Api;
use crate::outbound::Reach;
use crate::outbound::proxy::Proxy;

/// How long an address that refused a connection is passed over.
const EJECTION: Duration = Duration::from_secs(5);

/// One address.
#[derive(Debug)]
pub struct Endpoint {
    base: String,
    /// Where requests of OpenAI's pass through; those that the server has no path for are absent.
    uris: [Option<Uri>; Api::ALL.len()],
    in_flight: AtomicU64,
    /// Milliseconds after `born` until which the address is passed over.
    ejected_until: AtomicU64,
    born: Instant,
}

impl Endpoint {
    /// Where it is, as the configuration or a name's addresses say.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The address under `base`, which ends with the version where the server has one (`https://host/v1`), of a server that
    /// speaks `dialect`.
    ///
    /// # Errors
    /// When `base` is not an address.
    pub fn new(base: &str, dialect: &Dialect) -> Result<Self, http::uri::InvalidUri> {
        let base = dialect.base(base);
        base.parse::<Uri>()?;
        let uris = Api::ALL.map(|api| format!("{base}{}", dialect.openai_path(api)?).parse().ok());
        Ok(Self {
            base: base.to_owned(),
            uris,
            in_flight: AtomicU64::new(0),
            ejected_until: AtomicU64::new(0),
            born: Instant::now(),
        })
    }

    /// The address where a request of OpenAI's passes through; `None` when the server has none.
    #[must_use]
    pub fn uri(&self, api: Api) -> Option<Uri> {
        self.uris.get(api as usize).cloned().flatten()
    }

    /// The proxy that leads there, and whether the connection is to be secure.
    #[must_use]
    pub fn proxy(&self, reach: &Reach) -> Option<(bool, Proxy)> {
        let uri: Uri = self.base.parse().ok()?;
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some((secure, reach.proxy(secure, uri.host()?, port)?.clone()))
    }

    /// The address of a path of the dialect's own.
    #[must_use]
    pub fn uri_of(&self, path: &str) -> Option<Uri> {
        format!("{}{path}", self.base).parse().ok()
    }

    /// Passes the address over for a while: it refused a connection.
    pub fn eject(&self) {
        let until = self.born.elapsed() + EJECTION;
        self.ejected_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_ejected(&self) -> bool {
        self.born.elapsed().as_millis() < u128::from(self.ejected_until.load(Ordering::Relaxed))
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The addresses known now.
#[derive(Debug, Default)]
pub struct Endpoints {
    list: ArcSwap<Vec<Arc<Endpoint>>>,
    dialect: Dialect,
}

impl Endpoints {
    /// One address that never changes.
    #[must_use]
    pub fn fixed(endpoint: Endpoint) -> Self {
        Self { list: ArcSwap::from_pointee(vec![Arc::new(endpoint)]), dialect: Dialect::default() }
    }

    /// Takes over a new list of addresses; those that stay keep their counts. Tells whether anything changed.
    pub fn set(&self, bases: &[String]) -> bool {
        let old = self.list.load();
        let kept = |base: &String| old.iter().find(|endpoint| endpoint.base == *base).cloned();
        let new: Vec<_> = bases
            .iter()
            .filter_map(|base| kept(base).or_else(|| Endpoint::new(base, &self.dialect).ok().map(Arc::new)))
            .collect();
        let changed =
            new.len() != old.len() || new.iter().any(|new| !old.iter().any(|old| Arc::ptr_eq(old, new)));
        if changed {
            self.list.store(Arc::new(new));
        }
        changed
    }

    /// How many addresses are known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.load().len()
    }

    /// The address with the fewest requests under way, `except` and refused ones only where there is no other.
    #[must_use]
    pub fn pick(&self, except: Option<&Arc<Endpoint>>) -> Option<Arc<Endpoint>> {
        let list = self.list.load();
        let start = if list.len() > 1 { rand::random_range(0..list.len()) } else { 0 };
        let rotated = list.iter().cycle().skip(start).take(list.len());
        rotated
            .min_by_key(|endpoint| {
                let avoided = except.is_some_and(|except| Arc::ptr_eq(except, endpoint));
                (avoided, endpoint.is_ejected(), endpoint.in_flight.load(Ordering::Relaxed))
            })
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(bases: &[&str]) -> Endpoints {
        let endpoints = Endpoints::default();
        endpoints.set(&bases.iter().map(|base| (*base).to_owned()).collect::<Vec<_>>());
        endpoints
    }

    #[test]
    fn the_least_busy_address_is_taken_and_a_refused_one_last() {
        let endpoints = endpoints(&["http://a/v1", "http://b/v1"]);
        let first = endpoints.pick(None).unwrap();
        first.begin();
        let second = endpoints.pick(None).unwrap();
        assert_ne!(first.base, second.base);
        second.eject();
        assert_eq!(endpoints.pick(None).unwrap().base, first.base);
        assert_eq!(endpoints.pick(Some(&first)).unwrap().base, second.base);
    }

    #[test]
    fn an_address_that_stays_keeps_its_counts() {
        let endpoints = endpoints(&["http://a/v1"]);
        endpoints.pick(None).unwrap().begin();
        assert!(endpoints.set(&["http://a/v1".into(), "http://b/v1".into()]));
        assert!(!endpoints.set(&["http://a/v1".into(), "http://b/v1".into()]));
        assert_eq!(endpoints.pick(None).unwrap().base, "http://b/v1");
    }

    #[test]
    fn paths_are_appended_to_the_base() {
        let endpoint = Endpoint::new("https://api.example.com/openai/v1", &Dialect::OpenAi).unwrap();
        assert_eq!(
            endpoint.uri(Api::Chat).unwrap().to_string(),
            "https://api.example.com/openai/v1/chat/completions"
        );
    }
}
