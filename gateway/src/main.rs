//! `modelgate-gateway`: parses, starts, waits for a signal.

use std::process::ExitCode;

use clap::Parser;
use modelgate_gateway::app::App;
use modelgate_gateway::args::{Args, Settings};
use modelgate_gateway::telemetry;
use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a wrong configuration, as clap's of a wrong flag.
const MISUSE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults {
                eprintln!("error: {fault}");
            }
            ExitCode::from(MISUSE)
        }
    }
}

async fn run() -> Result<(), Vec<String>> {
    let env = |name: &str| std::env::var(name).ok();
    let settings: Settings = Args::parse().into_settings(&env)?;
    telemetry::init(&settings).map_err(|fault| vec![fault])?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let listen = |kind| signal(kind).map_err(|error| vec![format!("signals cannot be received: {error}")]);
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let app = App::start(settings).await?;
    app.run(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await;
    Ok(())
}
