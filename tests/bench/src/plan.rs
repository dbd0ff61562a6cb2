//! The run: every measurement is taken of all subjects in turn, forwards and backwards (A B C D, D C B A …), so that what
//! the machine does meanwhile meets all of them alike. Ratios are those of one round, seconds apart; of rounds the median
//! counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use testkit::cache::Cache;
use testkit::command::was_interrupted;
use testkit::progress::{say, step};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use crate::ask::Kind;
use crate::engine;
use crate::gauge;
use crate::load::{self, Ask, Tally, Target, Window};
use crate::report::{self, Report};
use crate::subject::{self, Cores, Subject};

/// Streams at once, and the pause between two events of each.
const STREAMS: u32 = 1000;
const PAUSE_MS: u32 = 50;

/// What is measured in turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// 32 connections, 2 KB, an answer of 576 bytes.
    Chat,
    /// 8 connections, 20 KB.
    Completion,
    /// 16 connections, 64 events as fast as they come.
    Stream,
    /// 200 requests a second.
    ChatPaced,
    /// 20 streams a second of 64 events.
    StreamPaced,
    /// 1,000 streams of 20 events a second each.
    Streams,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Chat, Self::Completion, Self::Stream, Self::ChatPaced, Self::StreamPaced, Self::Streams];

    /// Its name in the result.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion20KB",
            Self::Stream => "stream64",
            Self::ChatPaced => "chat200PerSecond",
            Self::StreamPaced => "stream20PerSecond",
            Self::Streams => "streams1000",
        }
    }

    /// Rounds of a whole run; together they take five minutes.
    fn rounds(self) -> u32 {
        match self {
            Self::Chat | Self::Stream => 5,
            Self::Completion | Self::ChatPaced | Self::StreamPaced => 4,
            Self::Streams => 3,
        }
    }

    fn ask(self) -> Ask {
        match self {
            Self::Chat | Self::ChatPaced => Ask { kind: Kind::Chat, events: 0, pause_ms: 0 },
            Self::Completion => Ask { kind: Kind::Completion, events: 0, pause_ms: 0 },
            Self::Stream | Self::StreamPaced => Ask { kind: Kind::Chat, events: 64, pause_ms: 0 },
            Self::Streams => Ask { kind: Kind::Chat, events: 150, pause_ms: PAUSE_MS },
        }
    }
}

/// One measurement of one subject.
#[derive(Debug, Default)]
pub struct Sample {
    /// CPU time in microseconds, for each request or, of [`Phase::Streams`], each event.
    pub cpu: f64,
    /// Requests a second.
    pub rate: f64,
    /// Memory of the process in MB at the end.
    pub memory: f64,
    pub tally: Tally,
}

/// Samples by phase and subject, in the order of the rounds.
pub type Samples = BTreeMap<(Phase, &'static str), Vec<Sample>>;

/// Measures, and writes the result unless it is only to be seen that everything works.
pub fn run(runtime: &Runtime, local: &LocalSet, smoke: bool) -> Result<()> {
    let began = Instant::now();
    let cores = gauge::cores()?;
    let [gateway, load, ..] = cores[..] else {
        bail!("two cores are needed, one for what is measured and one for the load")
    };
    let cores = Cores { gateway, load };
    gauge::pin(load)?;
    gauge::allow_connections()?;
    let cache = Cache::from_environment()?;
    let folder = tempfile::tempdir()?;
    let (_upstream, to) = subject::upstream(cores)?;
    let subjects = step("start the floor, HAProxy, the gateway and sglang-router", || {
        subject::all(&cache, folder.path(), to, cores)
    })?;
    for subject in &subjects {
        ready(runtime, local, subject)?;
    }
    // What is not needed any more after the start is given back.
    std::thread::sleep(Duration::from_secs(2));
    let idle = subjects.iter().map(|subject| (subject.name, gauge::memory(subject.process.id()))).collect();
    let direct = Target { at: to, bearer: None };
    let mut samples = Samples::new();
    for phase in Phase::ALL {
        let rounds = if smoke { 1 } else { phase.rounds() };
        step(&format!("measure {} of {} in {rounds} rounds", phase.name(), subjects.len()), || {
            for round in 0..rounds {
                turn(
                    &subjects,
                    &direct,
                    phase,
                    round,
                    smoke,
                    &mut |measure| local.block_on(runtime, measure),
                    &mut samples,
                )?;
            }
            Ok(())
        })?;
    }
    let ours = subjects.iter().find(|subject| subject.name == report::OURS);
    let engine = step("measure completions from files of 100 KB", || match ours {
        Some(ours) => local.block_on(runtime, engine::measure(&ours.target, if smoke { 20 } else { 300 })),
        None => bail!("the gateway is not among the subjects"),
    })?;
    let versions = subjects.iter().map(|subject| (subject.name, subject.version.clone())).collect();
    let report = Report { began, cores, versions, idle, samples, engine };
    say(&report.table());
    report.complain();
    if !smoke {
        report.write()?;
    }
    let wrong = report.failures();
    ensure!(wrong == 0, "{wrong} answers of the gateway or the floor were wrong");
    Ok(())
}

/// Waits until a subject answers rightly.
fn ready(runtime: &Runtime, local: &LocalSet, subject: &Subject) -> Result<()> {
    testkit::command::wait_until(Duration::from_secs(60), &format!("{} answers", subject.name), || {
        let once = load::closed(&subject.target, Phase::Chat.ask(), 1, Duration::from_millis(1));
        let tally = local.block_on(runtime, once)?;
        ensure!(tally.failed == 0, "{}", tally.first_failure.unwrap_or_default());
        Ok(())
    })
}

type Measured<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Sample>> + 'a>>;

/// One round: all of them, in one order or the other.
fn turn(
    subjects: &[Subject],
    direct: &Target,
    phase: Phase,
    round: u32,
    smoke: bool,
    block_on: &mut dyn FnMut(Measured<'_>) -> Result<Sample>,
    samples: &mut Samples,
) -> Result<()> {
    let mut order: Vec<(&'static str, &Target, Option<u32>)> =
        subjects.iter().map(|subject| (subject.name, &subject.target, Some(subject.process.id()))).collect();
    if matches!(phase, Phase::ChatPaced | Phase::StreamPaced) {
        order.push((report::DIRECT, direct, None));
    }
    if round % 2 == 1 {
        order.reverse();
    }
    for (name, target, process) in order {
        if was_interrupted() {
            bail!("interrupted");
        }
        let sample = block_on(Box::pin(measure(phase, target, process, smoke)))?;
        samples.entry((phase, name)).or_default().push(sample);
    }
    Ok(())
}

async fn measure(phase: Phase, target: &Target, process: Option<u32>, smoke: bool) -> Result<Sample> {
    let length = Duration::from_millis(if smoke { 400 } else { 2000 });
    let ask = phase.ask();
    let look = || process.map_or(Ok(0.0), gauge::cpu);
    if phase == Phase::Streams {
        return streams(ask, target, process, smoke).await;
    }
    // Connections and caches of both sides are warm.
    load::closed(target, ask, 4, length / 10).await?;
    let (before, began) = (look()?, Instant::now());
    let tally = match phase {
        Phase::ChatPaced => load::paced(target, ask, 200, length).await?,
        Phase::StreamPaced => load::paced(target, ask, 20, length).await?,
        Phase::Completion => load::closed(target, ask, 8, length).await?,
        Phase::Stream => load::closed(target, ask, 16, length).await?,
        Phase::Chat | Phase::Streams => load::closed(target, ask, 32, length).await?,
    };
    let (cpu, took) = (look()? - before, began.elapsed().as_secs_f64());
    #[allow(clippy::cast_precision_loss)] // no run has 2^53 requests
    let requests = tally.answered as f64;
    let memory = process.map_or(0.0, gauge::memory);
    Ok(Sample { cpu: cpu * 1e6 / requests.max(1.0), rate: requests / took, memory, tally })
}

async fn streams(ask: Ask, target: &Target, process: Option<u32>, smoke: bool) -> Result<Sample> {
    let window = Window {
        streams: if smoke { STREAMS / 10 } else { STREAMS },
        length: Duration::from_secs(3),
        look: &|| Ok((process.map_or(Ok(0.0), gauge::cpu)?, process.map_or(0.0, gauge::memory))),
    };
    let (tally, [(before, _), (after, memory)], events) = load::streams(target, ask, &window).await?;
    #[allow(clippy::cast_precision_loss)]
    let events = events as f64;
    let rate = events / window.length.as_secs_f64();
    Ok(Sample { cpu: (after - before) * 1e6 / events.max(1.0), rate, memory, tally })
}
