//! Sends requests for as long as a test changes things, and counts those that fail. A request *fails* if it gets a
//! connection error, a cut or wrong body, or a status outside the route's contract.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::http::{Answer, Connection, Request};

/// Most failures that are kept word by word.
const KEPT: usize = 20;

/// Makes the request that carries a nonce.
pub type MakeRequest = Box<dyn Fn(&str) -> Request + Send + Sync>;
/// Says what is wrong with the answer to the request that carried a nonce.
pub type CheckAnswer = Box<dyn Fn(&Answer, &str) -> Result<()> + Send + Sync>;

/// What to send, and what a good answer is.
pub struct Plan {
    /// Where to.
    pub address: SocketAddr,
    /// Connections at the same time, each kept open while the server allows it.
    pub connections: usize,
    /// Pause of each connection between two requests.
    pub pause: Duration,
    /// The request for a nonce.
    pub request: MakeRequest,
    /// What is wrong with an answer to the request with that nonce.
    pub check: CheckAnswer,
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    sent: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// Traffic under way.
pub struct Driver {
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of the requests.
#[derive(Debug, Clone)]
pub struct Report {
    /// Requests sent.
    pub sent: u64,
    /// Those that failed.
    pub failed: u64,
    /// The first failures, with the time since the start.
    pub failures: Vec<String>,
}

impl Driver {
    /// Starts the traffic.
    #[must_use]
    pub fn start(plan: Plan) -> Self {
        let plan = Arc::new(plan);
        let tally = Arc::new(Tally::default());
        let started = Instant::now();
        let threads = (0..plan.connections)
            .map(|index| {
                let (plan, tally) = (Arc::clone(&plan), Arc::clone(&tally));
                std::thread::spawn(move || drive(&plan, &tally, index, started))
            })
            .collect();
        Self { tally, threads }
    }

    /// Requests answered until now.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.tally.sent.load(Ordering::Relaxed)
    }

    /// Ends the traffic after the requests under way.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.halt();
        let failures = self.tally.failures.lock().map(|kept| kept.clone()).unwrap_or_default();
        Report { sent: self.sent(), failed: self.tally.failed.load(Ordering::Relaxed), failures }
    }

    fn halt(&mut self) {
        self.tally.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.tally.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.halt();
    }
}

fn drive(plan: &Plan, tally: &Tally, index: usize, started: Instant) {
    let mut connection = Connection::to(plan.address, Duration::from_secs(30));
    let mut count = 0_u64;
    while !tally.stop.load(Ordering::Relaxed) {
        let nonce = format!("nonce-{index:02x}{count:08x}");
        let result =
            connection.send(&(plan.request)(&nonce)).and_then(|answer| (plan.check)(&answer, &nonce));
        tally.sent.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = result {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut kept) = tally.failures.lock()
                && kept.len() < KEPT
            {
                kept.push(format!("{:.1}s {nonce}: {error:#}", started.elapsed().as_secs_f64()));
            }
        }
        count += 1;
        std::thread::sleep(plan.pause);
    }
}
