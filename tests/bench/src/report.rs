//! What a run found: the table of docs/performance.md and docs/results/bench.json, with the targets and whether they
//! are met.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use testkit::command::output;
use testkit::progress::say;

use crate::engine::EngineTime;
use crate::load::quantile;
use crate::plan::{Phase, Sample, Samples};
use crate::subject::Cores;

/// The gateway's name among the subjects.
pub const OURS: &str = "Modelgate";
/// The model server itself, without anything before it.
pub const DIRECT: &str = "direct";
const FLOOR: &str = "floor";
const RESULT: &str = "docs/results/bench.json";
const PAGE: &str = "docs/performance.md";
/// The table stands between these lines of the page.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";
/// Code that the result speaks of.
const COVERS: [&str; 3] = ["gateway/src", "tests/bench/src", "Cargo.lock"];

/// A run.
pub struct Report {
    pub began: Instant,
    pub cores: Cores,
    pub versions: Vec<(&'static str, String)>,
    /// MB after the start.
    pub idle: BTreeMap<&'static str, f64>,
    pub samples: Samples,
    pub engine: EngineTime,
}

/// One target.
struct Target {
    what: &'static str,
    unit: &'static str,
    limit: f64,
    measured: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(value), 1) => *value,
        (Some(value), _) => (value + values.get(middle.wrapping_sub(1)).unwrap_or(value)) / 2.0,
        (None, _) => f64::NAN,
    }
}

impl Report {
    fn of(&self, phase: Phase, name: &'static str) -> &[Sample] {
        self.samples.get(&(phase, name)).map(Vec::as_slice).unwrap_or_default()
    }

    fn cpu(&self, phase: Phase, name: &'static str) -> f64 {
        median(self.of(phase, name).iter().map(|sample| sample.cpu).collect())
    }

    /// To the floor of the same round.
    fn ratios(&self, phase: Phase, name: &'static str) -> Vec<f64> {
        let pairs = self.of(phase, name).iter().zip(self.of(phase, FLOOR));
        pairs.map(|(sample, floor)| sample.cpu / floor.cpu).collect()
    }

    fn ratio(&self, phase: Phase, name: &'static str) -> f64 {
        median(self.ratios(phase, name))
    }

    /// Of all rounds together, in microseconds.
    fn latency(&self, phase: Phase, name: &'static str, share: f64, first_byte: bool) -> f64 {
        let of = |sample: &Sample| {
            if first_byte { sample.tally.first_byte.clone() } else { sample.tally.whole.clone() }
        };
        let all: Vec<u32> = self.of(phase, name).iter().flat_map(of).collect();
        f64::from(quantile(&all, share))
    }

    fn loaded(&self, name: &'static str) -> f64 {
        self.of(Phase::Streams, name).iter().map(|sample| sample.memory).fold(0.0, f64::max)
    }

    fn targets(&self) -> Vec<Target> {
        let added = |share| {
            let of = |name| self.latency(Phase::ChatPaced, name, share, false);
            (of(OURS) - of(FLOOR)) / 1e3
        };
        let ratio = |what, phase, limit| Target {
            what,
            unit: "× the floor",
            limit,
            measured: self.ratio(phase, OURS),
        };
        vec![
            ratio("CPU of a chat request", Phase::Chat, 1.25),
            ratio("CPU of a completion with a prompt of 20 KB", Phase::Completion, 1.3),
            ratio("CPU of a stream of 64 events", Phase::Stream, 1.1),
            ratio("CPU of an event, 1,000 streams at once", Phase::Streams, 1.1),
            Target {
                what: "time added to a request at the median, over the floor's",
                unit: "ms",
                limit: 0.15,
                measured: added(0.5),
            },
            Target {
                what: "memory when idle",
                unit: "MB",
                limit: 10.0,
                measured: self.idle.get(OURS).copied().unwrap_or(f64::NAN),
            },
            Target {
                what: "memory with 1,000 slow streams",
                unit: "MB",
                limit: 40.0,
                measured: self.loaded(OURS),
            },
            Target {
                what: "engine's time for a completion from a file of 100 KB, p99",
                unit: "ms",
                limit: 10.0,
                measured: f64::from(self.engine.p99) / 1e3,
            },
        ]
    }

    /// Wrong answers of the gateway and the floor; what peers do wrong is told and fails nothing.
    pub fn failures(&self) -> u64 {
        let own = self.samples.iter().filter(|((_, name), _)| [OURS, FLOOR].contains(name));
        own.flat_map(|(_, samples)| samples).map(|sample| sample.tally.failed).sum()
    }

    /// Says which answers were wrong.
    pub fn complain(&self) {
        for ((phase, name), samples) in &self.samples {
            let failed: u64 = samples.iter().map(|sample| sample.tally.failed).sum();
            if let Some(first) = samples.iter().find_map(|sample| sample.tally.first_failure.as_ref()) {
                say(&format!("  {name}, {}: {failed} wrong answers; the first: {first}", phase.name()));
            }
        }
    }

    /// The table, and what is missed.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| | chat, CPU | completion of 20 KB, CPU | stream of 64 events, CPU | event at 1,000 streams, CPU | chat p50 / p90 / p99 | first byte of a stream p90 | idle | 1,000 streams |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        let names = self.versions.iter().map(|(name, _)| *name).chain([DIRECT]);
        for name in names {
            let cpu = |phase| {
                let micros = self.cpu(phase, name);
                if micros.is_nan() {
                    "–".into()
                } else {
                    format!("{micros:.1} µs, **{:.2}**", self.ratio(phase, name))
                }
            };
            let late = |share| self.latency(Phase::ChatPaced, name, share, false);
            let memory = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.1} MB"));
            let version = self.versions.iter().find(|(of, _)| *of == name).map_or("", |(_, version)| version);
            let row = [
                format!("{name} {version}").trim().to_owned(),
                cpu(Phase::Chat),
                cpu(Phase::Completion),
                cpu(Phase::Stream),
                cpu(Phase::Streams),
                format!("{:.0} / {:.0} / {:.0} µs", late(0.5), late(0.9), late(0.99)),
                format!("{:.0} µs", self.latency(Phase::StreamPaced, name, 0.9, true)),
                memory(self.idle.get(name).copied()),
                memory(self.idle.get(name).map(|_| self.loaded(name))),
            ];
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text.push_str("\n| Target | at most | measured | |\n|---|--:|--:|---|\n");
        for target in self.targets() {
            let met = if target.measured <= target.limit { "met" } else { "**missed**" };
            let Target { what, unit, limit, measured } = target;
            text.push_str(&format!("| {what} | {limit} {unit} | {measured:.2} | {met} |\n"));
        }
        text
    }

    /// Writes the result and the page's table.
    pub fn write(&self) -> Result<()> {
        let commit = git(&["rev-parse", "HEAD"])?;
        let changed = git(&["status", "--porcelain", "--untracked-files=no"])?.lines().count();
        let missed =
            self.targets().iter().any(|target| target.measured > target.limit || target.measured.is_nan());
        let mut covers = Map::new();
        for path in COVERS {
            covers.insert(path.into(), git(&["rev-parse", &format!("HEAD:{path}")])?.into());
        }
        let date = output(Command::new("date").args(["-u", "+%FT%TZ"]), None, Duration::from_secs(10))?;
        let document = json!({
            "suite": "bench",
            "command": "make bench",
            "date": date.trim(),
            "commit": commit,
            "changedFiles": changed,
            "result": if self.failures() > 0 { "failed" } else if missed { "passed, with targets missed" } else { "passed" },
            "seconds": self.began.elapsed().as_secs(),
            "machine": machine(self.cores),
            "versions": self.versions.iter().map(|(name, version)| (*name, version.as_str())).collect::<BTreeMap<_, _>>(),
            "targets": self.targets().iter().map(|target| json!({"what": target.what, "unit": target.unit, "limit": target.limit, "measured": rounded(target.measured), "met": target.measured <= target.limit})).collect::<Vec<_>>(),
            "idleMegabytes": self.idle.iter().map(|(name, value)| (*name, rounded(*value))).collect::<BTreeMap<_, _>>(),
            "engineMicros": {"p50": self.engine.p50, "p99": self.engine.p99},
            "measurements": self.samples.keys().map(|(phase, name)| self.measurement(*phase, name)).collect::<Vec<_>>(),
            "covers": covers,
        });
        std::fs::write(RESULT, serde_json::to_string_pretty(&document)? + "\n")
            .with_context(|| format!("cannot write {RESULT}"))?;
        let page = std::fs::read_to_string(PAGE).with_context(|| format!("cannot read {PAGE}"))?;
        let heading = format!(
            "Measured {} at commit {}, {}.\n\n",
            date.trim(),
            commit.get(..12).unwrap_or(&commit),
            machine_line(self.cores)
        );
        std::fs::write(PAGE, with_table(&page, &(heading + &self.table()))?)?;
        say(&format!("Written: {RESULT} and the table of {PAGE}."));
        Ok(())
    }

    fn measurement(&self, phase: Phase, name: &'static str) -> Value {
        let samples = self.of(phase, name);
        let list =
            |of: fn(&Sample) -> f64| samples.iter().map(|sample| rounded(of(sample))).collect::<Vec<_>>();
        let micros = |share, first| rounded(self.latency(phase, name, share, first));
        json!({
            "phase": phase.name(),
            "subject": name,
            "cpuMicros": list(|sample| sample.cpu),
            "ratiosToFloor": self.ratios(phase, name).into_iter().map(rounded).collect::<Vec<_>>(),
            "perSecond": list(|sample| sample.rate),
            "megabytes": list(|sample| sample.memory),
            "answered": samples.iter().map(|sample| sample.tally.answered).sum::<u64>(),
            "events": samples.iter().map(|sample| sample.tally.events).sum::<u64>(),
            "wrong": samples.iter().map(|sample| sample.tally.failed).sum::<u64>(),
            "latencyMicros": {"p50": micros(0.5, false), "p90": micros(0.9, false), "p99": micros(0.99, false)},
            "firstByteMicros": {"p50": micros(0.5, true), "p90": micros(0.9, true), "p99": micros(0.99, true)},
        })
    }
}

fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

fn git(arguments: &[&str]) -> Result<String> {
    Ok(output(Command::new("git").args(arguments), None, Duration::from_secs(30))?.trim_end().to_owned())
}

/// Name of the processor.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("an unnamed processor", |(_, name)| name).to_owned()
}

fn machine(cores: Cores) -> Value {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let all = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    json!({"processor": processor(), "kernel": kernel.trim(), "coresSeen": all, "gatewayCore": cores.gateway, "loadCore": cores.load})
}

fn machine_line(cores: Cores) -> String {
    format!(
        "{}, gateways on core {}, load and model server on core {}",
        processor(),
        cores.gateway,
        cores.load
    )
}

/// The page with another table.
fn with_table(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{PAGE} has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{PAGE} has no line {END}"))?;
    ensure!(!table.contains(END), "the table ends itself");
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_rounds_the_median_counts() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn only_the_table_of_the_page_changes() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(with_table(&page, "new\n").unwrap(), format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert!(with_table("a", "new").is_err());
    }
}
