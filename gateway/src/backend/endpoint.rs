//! Addresses of one backend and the choice among them: the one that has worked on the same beginning before, if it has not
//! more to do than the others; else the less busy of two drawn at random. Busy is measured in tokens: those of prompts and
//! those that answers may still have.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::Uri;

use super::circuit::{Circuit, Standing};
use crate::dialect::Dialect;
use crate::dialect::openai::Api;
use crate::outbound::Reach;
use crate::outbound::proxy::Proxy;

/// One address.
#[derive(Debug)]
pub struct Endpoint {
    base: String,
    /// Where requests of OpenAI's pass through; those that the server has no path for are absent.
    uris: [Option<Uri>; Api::ALL.len()],
    tokens: AtomicU64,
    /// What its requests told about it.
    pub circuit: Circuit,
}

/// What is asked of an address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load<'a> {
    /// Tokens of the prompt and of the longest answer, as far as they can be told.
    pub tokens: u64,
    /// The prompt's beginning, where it is long enough to be worth going back to.
    pub beginning: Option<&'a [u8]>,
}

/// What came of the choice.
#[derive(Debug)]
pub enum Pick {
    /// Send there; why this one.
    Take(Arc<Endpoint>, &'static str),
    /// Every one is left alone, the first until then; `true`: because it asked for that.
    Wait(Duration, bool),
    /// There is none, or each was tried.
    None,
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
        Ok(Self { base: base.to_owned(), uris, tokens: AtomicU64::new(0), circuit: Circuit::default() })
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

    /// The address of a path beside the version, for what servers have outside OpenAI's API.
    #[must_use]
    pub fn uri_beside(&self, path: &str) -> Option<Uri> {
        format!("{}{path}", self.base.strip_suffix("/v1").unwrap_or(&self.base)).parse().ok()
    }

    /// The address of a path of the dialect's own.
    #[must_use]
    pub fn uri_of(&self, path: &str) -> Option<Uri> {
        format!("{}{path}", self.base).parse().ok()
    }

    pub(super) fn begin(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    pub(super) fn end(&self, tokens: u64) {
        self.tokens.fetch_sub(tokens, Ordering::Relaxed);
    }

    fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Rendezvous: every address has its own order of all beginnings, so one that comes or goes moves only its share.
    fn weight_for(&self, prefix: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (prefix, &self.base).hash(&mut hasher);
        hasher.finish()
    }
}

/// The addresses known now.
#[derive(Debug, Default)]
pub struct Endpoints {
    list: ArcSwap<Vec<Arc<Endpoint>>>,
    dialect: Dialect,
}

impl Endpoints {
    /// None yet, of servers that speak `dialect`.
    #[must_use]
    pub fn of(dialect: &Dialect) -> Self {
        Self { dialect: dialect.clone(), ..Self::default() }
    }

    /// One address that never changes.
    #[must_use]
    pub fn fixed(endpoint: Endpoint) -> Self {
        Self { list: ArcSwap::from_pointee(vec![Arc::new(endpoint)]), dialect: Dialect::default() }
    }

    /// Takes over a new list of addresses; those that stay keep their counts. Tells whether anything changed.
    pub fn set(&self, bases: &[String]) -> bool {
        let old = self.list.load();
        let kept = |base: &str| {
            let base = self.dialect.base(base);
            old.iter().find(|endpoint| endpoint.base == base).cloned()
        };
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

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.list.load_full()
    }

    /// An address that is not among those `tried`.
    #[must_use]
    pub fn pick(&self, load: Load<'_>, tried: &[Arc<Endpoint>]) -> Pick {
        let list = self.list.load();
        // Most backends have one address, most of the time it is well.
        if let ([only], []) = (list.as_slice(), tried)
            && only.circuit.standing(Instant::now()) == Standing::Ready
        {
            return Pick::Take(Arc::clone(only), "only");
        }
        choose(&list, load, tried, Instant::now(), &mut rand::rng())
    }
}

fn choose(
    list: &[Arc<Endpoint>],
    load: Load<'_>,
    tried: &[Arc<Endpoint>],
    now: Instant,
    dice: &mut impl rand::Rng,
) -> Pick {
    let (mut ready, mut avoided, mut wait) = (Vec::new(), Vec::new(), None::<(Duration, bool)>);
    for endpoint in list.iter().filter(|endpoint| !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint))) {
        match endpoint.circuit.standing(now) {
            Standing::Ready => ready.push(endpoint),
            Standing::Avoid => avoided.push(endpoint),
            Standing::Trial if endpoint.circuit.take_trial(now) => {
                return Pick::Take(Arc::clone(endpoint), "trial");
            }
            Standing::Trial => {}
            Standing::Closed(left, asked) => {
                if wait.is_none_or(|(shortest, _)| left < shortest) {
                    wait = Some((left, asked));
                }
            }
        }
    }
    if let Some((endpoint, why)) = of_ready(&ready, load, dice) {
        return Pick::Take(Arc::clone(endpoint), why);
    }
    match (less_busy(&avoided, dice), wait) {
        (Some(endpoint), _) => Pick::Take(Arc::clone(endpoint), "last"),
        (None, Some((left, asked))) => Pick::Wait(left, asked),
        (None, None) => Pick::None,
    }
}

fn of_ready<'a>(
    ready: &[&'a Arc<Endpoint>],
    load: Load<'_>,
    dice: &mut impl rand::Rng,
) -> Option<(&'a Arc<Endpoint>, &'static str)> {
    if let (Some(beginning), true) = (load.beginning, ready.len() > 1) {
        let prefix = hash_of(beginning);
        let known = ready.iter().max_by_key(|endpoint| endpoint.weight_for(prefix))?;
        let total: u64 = ready.iter().map(|endpoint| endpoint.tokens()).sum();
        // At most 1.25 times the mean: 4 × own × n ≤ 5 × total.
        let count = u64::try_from(ready.len()).unwrap_or(u64::MAX);
        if known.tokens().saturating_mul(4).saturating_mul(count) <= total.saturating_mul(5) {
            return Some((known, "prefix"));
        }
    }
    let why = if ready.len() > 1 { "less_busy" } else { "only" };
    less_busy(ready, dice).map(|endpoint| (endpoint, why))
}

fn hash_of(beginning: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(beginning);
    hasher.finish()
}

/// The less busy of two drawn at random; of equals the first drawn, which is random too.
fn less_busy<'a>(list: &[&'a Arc<Endpoint>], dice: &mut impl rand::Rng) -> Option<&'a Arc<Endpoint>> {
    let count = list.len();
    if count < 2 {
        return list.first().copied();
    }
    let first = dice.random_range(0..count);
    let second = (first + dice.random_range(1..count)) % count;
    let (first, second) = (list.get(first)?, list.get(second)?);
    Some(if second.tokens() < first.tokens() { second } else { first })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::backend::circuit::Fault;

    fn endpoints(count: usize) -> Vec<Arc<Endpoint>> {
        (0..count)
            .map(|index| Arc::new(Endpoint::new(&format!("http://e{index}/v1"), &Dialect::OpenAi).unwrap()))
            .collect()
    }

    fn taken(
        list: &[Arc<Endpoint>],
        load: Load<'_>,
        tried: &[Arc<Endpoint>],
        seed: u64,
    ) -> (String, &'static str) {
        match choose(list, load, tried, Instant::now(), &mut StdRng::seed_from_u64(seed)) {
            Pick::Take(endpoint, why) => (endpoint.base.clone(), why),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_two_the_one_with_fewer_tokens_is_taken_whatever_its_count_of_requests() {
        let list = endpoints(2);
        list[0].begin(5_000);
        for _ in 0..10 {
            list[1].begin(100);
        }
        for seed in 0..50 {
            assert_eq!(taken(&list, Load::default(), &[], seed).0, "http://e1/v1");
        }
    }

    #[test]
    fn equals_share_the_requests() {
        let list = endpoints(3);
        let mut counts = [0; 3];
        for seed in 0..600 {
            let (base, _) = taken(&list, Load::default(), &[], seed);
            counts[list.iter().position(|endpoint| endpoint.base == base).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (120..280).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_same_beginning_goes_to_the_same_address_until_that_has_too_much_to_do() {
        let list = endpoints(4);
        let load = Load { tokens: 100, beginning: Some(b"seven") };
        let (home, why) = taken(&list, load, &[], 1);
        assert_eq!(why, "prefix");
        assert!((0..50).all(|seed| taken(&list, load, &[], seed).0 == home));
        for endpoint in &list {
            endpoint.begin(1_000);
        }
        let at_home = list.iter().find(|endpoint| endpoint.base == home).unwrap();
        at_home.begin(250);
        assert_eq!(taken(&list, load, &[], 1), (home.clone(), "prefix"), "1,250 of a mean of 1,062");
        at_home.begin(500);
        assert_eq!(taken(&list, load, &[], 1).1, "less_busy", "1,750 of a mean of 1,187");
    }

    #[test]
    fn a_hot_beginning_spreads_within_the_bound() {
        let list = endpoints(4);
        let mut dice = StdRng::seed_from_u64(3);
        for _ in 0..1_000 {
            let load = Load { tokens: 10, beginning: Some(b"one") };
            let Pick::Take(endpoint, _) = choose(&list, load, &[], Instant::now(), &mut dice) else {
                panic!()
            };
            endpoint.begin(10);
        }
        let most = list.iter().map(|endpoint| endpoint.tokens()).max().unwrap();
        assert!(most <= 10_000 / 4 * 5 / 4 + 10, "{most} of a mean of 2,500");
    }

    #[test]
    fn tried_refused_and_open_addresses_are_passed_over() {
        let list = endpoints(3);
        let now = Instant::now();
        list[0].circuit.failed(Fault::Unreachable, now);
        for _ in 0..5 {
            list[1].circuit.failed(Fault::Own, now);
        }
        assert_eq!(taken(&list, Load::default(), &[], 1), ("http://e2/v1".into(), "only"));
        let tried = [Arc::clone(&list[2])];
        assert_eq!(taken(&list, Load::default(), &tried, 1), ("http://e0/v1".into(), "last"));
        let tried = [Arc::clone(&list[2]), Arc::clone(&list[0])];
        let mut dice = StdRng::seed_from_u64(1);
        let pick = choose(&list, Load::default(), &tried, now, &mut dice);
        assert!(matches!(pick, Pick::Wait(_, false)), "{pick:?}");
        assert!(matches!(choose(&list, Load::default(), &list, now, &mut dice), Pick::None));
    }

    #[test]
    fn an_address_that_stays_keeps_its_counts() {
        for (dialect, base) in
            [(Dialect::OpenAi, "http://b/v1"), (Dialect::Triton(Default::default()), "http://b")]
        {
            let endpoints = Endpoints::of(&dialect);
            endpoints.set(&["http://a/v1".into()]);
            endpoints.all()[0].begin(10);
            assert!(endpoints.set(&["http://a/v1".into(), "http://b/v1".into()]));
            assert!(!endpoints.set(&["http://a/v1".into(), "http://b/v1".into()]));
            let Pick::Take(endpoint, _) = endpoints.pick(Load::default(), &[]) else { panic!() };
            assert_eq!(endpoint.base, base);
        }
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
