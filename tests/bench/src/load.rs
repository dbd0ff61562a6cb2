//! The load: connections that ask again at once, requests at a fixed rate, and many slow streams. Every body is verified.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::ask::{Check, Kind, Order};
use crate::wire::{Connection, Times};

/// Where to, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    pub at: SocketAddr,
    /// `Authorization`, where it asks for one.
    pub bearer: Option<Rc<str>>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub kind: Kind,
    pub events: u32,
    pub pause_ms: u32,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: u64,
    pub events: u64,
    pub failed: u64,
    pub first_failure: Option<String>,
    /// Microseconds to the whole answer.
    pub whole: Vec<u32>,
    /// Microseconds to the first byte of the body.
    pub first_byte: Vec<u32>,
}

impl Tally {
    fn note(&mut self, result: Result<Times>) {
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        match result {
            Ok(times) => {
                self.answered += 1;
                self.whole.push(micros(times.whole));
                self.first_byte.push(micros(times.first_byte));
            }
            Err(error) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

/// The value below which a share of all lies; 0 of none.
pub fn quantile(values: &[u32], share: f64) -> u32 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

thread_local! {
    static NONCE: Cell<u64> = const { Cell::new(1) };
}

fn nonce() -> u64 {
    NONCE.with(|next| {
        // An odd factor: no two are alike, and neighbours differ in many digits.
        let now = next.get();
        next.set(now + 1);
        now.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

fn encode(target: &Target, ask: Ask, order: Order) -> Vec<u8> {
    let body = ask.kind.body(order);
    let bearer =
        target.bearer.as_ref().map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "POST {} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n{bearer}content-length: {}\r\n\r\n{body}",
        ask.kind.path(),
        body.len()
    )
    .into_bytes()
}

/// One request; a connection that failed is opened anew for the next.
async fn one(
    connection: &mut Option<Connection>,
    target: &Target,
    ask: Ask,
    began: Instant,
    events: &Cell<u64>,
) -> Result<Times> {
    let order = Order { nonce: nonce(), events: ask.events, pause_ms: ask.pause_ms };
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(target.at).await?,
    };
    let mut check = Check::new(order);
    let times = open
        .send(&encode(target, ask, order), began, |piece| {
            events.set(events.get() + u64::from(check.push(piece)?));
            Ok(())
        })
        .await?;
    check.finish()?;
    *connection = Some(open);
    Ok(times)
}

/// Connections that ask again as soon as they are answered, for a time.
pub async fn closed(target: &Target, ask: Ask, connections: usize, length: Duration) -> Result<Tally> {
    let (tally, events) = (Rc::new(RefCell::new(Tally::default())), Rc::new(Cell::new(0)));
    let end = Instant::now() + length;
    let mut all = JoinSet::new();
    for _ in 0..connections {
        let (tally, events, target) = (Rc::clone(&tally), Rc::clone(&events), target.clone());
        all.spawn_local(async move {
            let mut connection = None;
            while Instant::now() < end {
                let result = one(&mut connection, &target, ask, Instant::now(), &events).await;
                tally.borrow_mut().note(result);
            }
        });
    }
    while all.join_next().await.is_some() {}
    finished(tally, &events)
}

/// Requests at a fixed rate, each timed from the moment it was due, over connections that are kept.
pub async fn paced(target: &Target, ask: Ask, per_second: u32, length: Duration) -> Result<Tally> {
    let (tally, events) = (Rc::new(RefCell::new(Tally::default())), Rc::new(Cell::new(0)));
    let idle: Rc<RefCell<Vec<Connection>>> = Rc::default();
    let pause = Duration::from_secs(1) / per_second;
    let began = Instant::now();
    let mut all = JoinSet::new();
    let mut due = began;
    while due < began + length {
        tokio::time::sleep_until(due.into()).await;
        let (tally, events, target, idle) =
            (Rc::clone(&tally), Rc::clone(&events), target.clone(), Rc::clone(&idle));
        // The timer's own lateness is the load's, not the target's.
        let sent = Instant::now();
        all.spawn_local(async move {
            let mut connection = idle.borrow_mut().pop();
            let result = one(&mut connection, &target, ask, sent, &events).await;
            idle.borrow_mut().extend(connection);
            tally.borrow_mut().note(result);
        });
        due += pause;
    }
    while all.join_next().await.is_some() {}
    finished(tally, &events)
}

/// What is measured while all streams are open.
pub struct Window<'a, T> {
    /// How many streams.
    pub streams: u32,
    /// How long the window is.
    pub length: Duration,
    /// Asked at its beginning and its end.
    pub look: &'a dyn Fn() -> Result<T>,
}

/// Many streams at once that go on for longer than the window: what `look` said at both ends, and the events between.
pub async fn streams<T>(target: &Target, ask: Ask, window: &Window<'_, T>) -> Result<(Tally, [T; 2], u64)> {
    let (tally, events) = (Rc::new(RefCell::new(Tally::default())), Rc::new(Cell::new(0)));
    let mut all = JoinSet::new();
    for number in 0..window.streams {
        let (tally, events, target) = (Rc::clone(&tally), Rc::clone(&events), target.clone());
        all.spawn_local(async move {
            let result = one(&mut None, &target, ask, Instant::now(), &events).await;
            tally.borrow_mut().note(result);
        });
        if number % 20 == 19 {
            // A listener's queue is short.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (before, count) = ((window.look)()?, events.get());
    tokio::time::sleep(window.length).await;
    let (after, between) = ((window.look)()?, events.get() - count);
    anyhow::ensure!(tally.borrow().answered == 0, "streams ended before the window did");
    while all.join_next().await.is_some() {}
    Ok((finished(tally, &events)?, [before, after], between))
}

fn finished(tally: Rc<RefCell<Tally>>, events: &Cell<u64>) -> Result<Tally> {
    let tally = Rc::into_inner(tally).context("a request is still under way")?;
    Ok(Tally { events: events.get(), ..tally.into_inner() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let values: Vec<u32> = (1..=100).rev().collect();
        assert_eq!([0.5, 0.9, 0.99, 1.0].map(|share| quantile(&values, share)), [50, 90, 99, 100]);
        assert_eq!((quantile(&[], 0.5), quantile(&[7], 0.01)), (0, 7));
    }

    #[test]
    fn the_load_verifies_what_the_model_server_sends_whole_and_streamed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let serving = tokio::task::spawn_local(crate::upstream::serve(at));
            tokio::time::sleep(Duration::from_millis(50)).await;
            let floor = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let passing = tokio::task::spawn_local(crate::floor::serve(floor, at));
            tokio::time::sleep(Duration::from_millis(50)).await;
            let target = Target { at: floor, bearer: None };
            for (kind, events, pause_ms) in
                [(Kind::Chat, 0, 0), (Kind::Completion, 0, 0), (Kind::Chat, 64, 0), (Kind::Chat, 5, 3)]
            {
                let ask = Ask { kind, events, pause_ms };
                let tally = closed(&target, ask, 4, Duration::from_millis(100)).await.unwrap();
                assert_eq!((tally.failed, &tally.first_failure), (0, &None));
                assert!(tally.answered >= 4 && tally.events == tally.answered * u64::from(events));
            }
            let ask = Ask { kind: Kind::Chat, events: 60, pause_ms: 50 };
            let window = Window { streams: 10, length: Duration::from_millis(300), look: &|| Ok(()) };
            let (tally, _, between) = streams(&target, ask, &window).await.unwrap();
            assert_eq!((tally.failed, tally.answered, tally.events), (0, 10, 600));
            assert!(between > 0);
            serving.abort();
            passing.abort();
        });
    }
}
