//! `probe`: what a backend's server really does, asked now and printed.

use std::time::Duration;

use modelgate_api::v1alpha1::Measured;

use super::{Given, misuse};
use crate::args::Args;
use crate::backend::measure::{Depth, measure};
use crate::config;
use crate::config::snapshot::{Snapshot, Workshop};

/// Longest wait for a first token, an engine's start or a name's lookup.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);
/// The server cannot be asked, or refuses a completion.
const FAILED: u8 = 1;

/// Arguments of `probe`: those of serving, and which backend.
#[derive(Debug, clap::Args)]
pub struct Probe {
    /// Name of the ModelBackend
    backend: String,
    /// Ask only what costs nothing: no completion
    #[arg(long)]
    free: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serve: Args,
}

impl Probe {
    /// 0 when the server answers, 1 when it does not, 2 for a wrong command line or configuration.
    pub(super) async fn run(self, given: &Given) -> u8 {
        let environment = &given.environment;
        let settings = match self.serve.into_settings(&|name| environment.get(name)) {
            Ok(settings) => settings,
            Err(faults) => return misuse(&faults),
        };
        let loaded = match config::load(&settings) {
            Ok(loaded) => loaded,
            Err(faults) => return misuse(&faults),
        };
        if !loaded.config.backends.contains_key(&self.backend) {
            let known = loaded.config.backends.keys().cloned().collect::<Vec<_>>().join(", ");
            return misuse(&[format!("no route uses a ModelBackend \"{}\" (used: {known})", self.backend)]);
        }
        let snapshot =
            Workshop::alone(settings).and_then(|workshop| Snapshot::build(loaded, &workshop, None));
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(faults) => return misuse(&faults),
        };
        let Some(backend) = snapshot.backends.get(&self.backend) else { return FAILED };
        let until = tokio::time::Instant::now() + PATIENCE;
        while !backend.is_healthy() && backend.is_starting() && tokio::time::Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        if let Some(why) = backend.missing_credential() {
            return misuse(&[why]);
        }
        let report = measure(backend, if self.free { Depth::Free } else { Depth::Full }).await.report;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        } else {
            println!("{} speaks {}", self.backend, report.protocol);
            for finding in &report.findings {
                println!("  {:<14} {:<10} {}", finding.name, finding.result.as_str(), finding.detail);
            }
        }
        let failed = |name: &str| {
            report.findings.iter().any(|found| found.name == name && found.result != Measured::Supported)
        };
        if failed("completion") || (self.free && failed("reachable")) { FAILED } else { 0 }
    }
}
