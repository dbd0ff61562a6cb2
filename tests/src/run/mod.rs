//! The main job: from nothing to a completion that a model on a real cluster served, and what a person can do
//! with it until Ctrl-C.

mod on_cluster;
mod product;
mod show;
mod standalone;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::cache::Cache;
use crate::command::was_interrupted;
use crate::preflight;
use crate::progress::say;
use crate::relay::check_port;

pub use product::{BINARIES, build as build_product};

/// How to do the main job.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// End after the completion was shown, instead of staying up until Ctrl-C.
    #[arg(long)]
    pub once: bool,
    /// Model file (GGUF) to serve instead of the small one.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Folder of modelgate-operator, modelgate-gateway and modelgate-engine, instead of building them.
    #[arg(long, value_name = "DIR")]
    pub binaries: Option<PathBuf>,
    /// Where it runs; without this flag on a cluster if the kernel allows one.
    #[arg(long)]
    pub mode: Option<Mode>,
    /// Port of the API server on this machine's loopback; 0 takes any free one.
    #[arg(long, default_value_t = 6443)]
    pub api_port: u16,
    /// Port of the gateway on this machine's loopback; 0 takes any free one.
    #[arg(long, default_value_t = 5000)]
    pub gateway_port: u16,
    /// Port of Prometheus on this machine's loopback; 0 takes any free one.
    #[arg(long, default_value_t = 9090)]
    pub prometheus_port: u16,
}

/// Where the main job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// On a real cluster, everything in pods.
    Cluster,
    /// Engine, gateway and Prometheus as processes, without Kubernetes.
    Standalone,
}

impl Options {
    fn programs(&self, cache: &Cache, wanted: &[&str]) -> Result<PathBuf> {
        match &self.binaries {
            Some(folder) => {
                Ok(folder.canonicalize().with_context(|| format!("--binaries {}", folder.display()))?)
            }
            None => build_product(cache, wanted),
        }
    }
}

/// Does the main job.
///
/// # Errors
/// When a step fails; everything that was started is stopped again.
pub fn run(cache: &Cache, options: &Options) -> Result<()> {
    if let Some(file) = &options.model
        && !file.is_file()
    {
        bail!("--model {}: there is no such file (make: MODEL=FILE.gguf)", file.display());
    }
    check_port(options.gateway_port, "the gateway", "--gateway-port", "GATEWAY_PORT")?;
    check_port(options.prometheus_port, "Prometheus", "--prometheus-port", "PROMETHEUS_PORT")?;
    let refused = preflight::kernel_refusals();
    let mode = options.mode.unwrap_or(if refused.is_empty() { Mode::Cluster } else { Mode::Standalone });
    let done = match mode {
        Mode::Standalone => {
            let why = if refused.is_empty() { "as asked".to_owned() } else { refused.join("; ") };
            say(&format!("Standalone: engine, gateway and Prometheus without Kubernetes ({why})."));
            standalone::run(cache, options)
        }
        Mode::Cluster => on_cluster::run(cache, options),
    };
    // Ctrl-C is how it is meant to end, once it is up.
    match done {
        Err(error) if was_interrupted() => Err(error.context("stopped before it was up")),
        other => other,
    }
}
