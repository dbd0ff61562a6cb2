//! The instruments that run beside a test as processes of their own, inside the cluster's namespaces.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use testkit::instruments::fault_proxy::{Fault, Plan};
use testkit::instruments::{echo, fault_proxy};

#[derive(Parser)]
#[command(about = "Instruments of the test suites")]
enum Instrument {
    /// An OpenAI-compatible upstream that answers with the nonce it finds.
    Echo {
        /// Address to listen on.
        #[arg(long)]
        listen: SocketAddr,
        /// Bearer token that requests must carry.
        #[arg(long)]
        token: Option<String>,
        /// Milliseconds before each piece of an answer.
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
    },
    /// A proxy that injects faults between a client and an API server behind `kubectl proxy`.
    FaultProxy {
        /// Address to listen on.
        #[arg(long)]
        listen: SocketAddr,
        /// Address of `kubectl proxy`.
        #[arg(long)]
        upstream: SocketAddr,
        /// The faults, as a JSON list.
        #[arg(long)]
        plan: String,
    },
}

fn main() -> Result<()> {
    let bind = |address| TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    match Instrument::parse() {
        Instrument::Echo { listen, token, delay_ms } => {
            echo::serve(&bind(listen)?, &echo::Options { token, delay: Duration::from_millis(delay_ms) })
        }
        Instrument::FaultProxy { listen, upstream, plan } => {
            let faults: Vec<Fault> = serde_json::from_str(&plan).context("--plan is not a list of faults")?;
            fault_proxy::serve(&bind(listen)?, upstream, &Plan::new(faults))
        }
    }
}
