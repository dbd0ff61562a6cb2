//! `loadbench`: what the gateway costs, beside a bare pass-through and its peers. `run` measures; the other commands are
//! the programs that it starts for that, each on a core of its own.
//!
//! A package of its own because it alone of the suites needs an async HTTP stack, which everybody who runs `make run`
//! would have to build with `testkit`.

mod ask;
mod engine;
mod floor;
mod gauge;
mod load;
mod peers;
mod plan;
mod report;
mod subject;
mod upstream;
mod wire;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use testkit::command::{catch_interrupts, was_interrupted};

/// Measures the gateway beside a bare pass-through, HAProxy and sglang-router.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Clone, Copy, Subcommand)]
enum Task {
    /// Measure, and write docs/results/bench.json and the table of docs/performance.md
    Run {
        /// Only see that everything works: short, with few streams, and nothing is written
        #[arg(long)]
        smoke: bool,
    },
    #[command(hide = true)]
    Upstream { listen: SocketAddr },
    #[command(hide = true)]
    Floor { listen: SocketAddr, to: SocketAddr },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if was_interrupted() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

fn run(task: Task) -> Result<()> {
    // One thread: each of these programs has one core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let local = tokio::task::LocalSet::new();
    match task {
        Task::Run { smoke } => {
            catch_interrupts()?;
            plan::run(&runtime, &local, smoke)
        }
        Task::Upstream { listen } => local.block_on(&runtime, upstream::serve(listen)),
        Task::Floor { listen, to } => local.block_on(&runtime, floor::serve(listen, to)),
    }
}
