//! `modelgate-gateway`: parses, starts, waits for a signal.

use std::process::ExitCode;

use modelgate_gateway::app::App;
use modelgate_gateway::args::{Args, Settings};
use modelgate_gateway::command::{Cli, MISUSE};
use modelgate_gateway::environment::Environment;
use modelgate_gateway::{legacy, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let environment = match Environment::load() {
        Ok(environment) => environment,
        Err(fault) => {
            eprintln!("error: {fault}");
            return ExitCode::from(MISUSE);
        }
    };
    let (cli, given) = Cli::read(environment);
    if let Some(command) = cli.command {
        return ExitCode::from(command.run(&given).await);
    }
    match serve(cli.serve, &given.environment).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults {
                eprintln!("error: {fault}");
            }
            ExitCode::from(MISUSE)
        }
    }
}

async fn serve(args: Args, environment: &Environment) -> Result<(), Vec<String>> {
    let mut settings: Settings = args.into_settings(&|name| environment.get(name))?;
    settings.warnings.extend(legacy::unknown(environment.names()));
    telemetry::init(&settings).map_err(|fault| vec![fault])?;
    if let Some(file) = environment.file() {
        tracing::info!(file = %file.display(), "settings are also read from this file; the environment wins over it");
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let listen = |kind| signal(kind).map_err(|error| vec![format!("signals cannot be received: {error}")]);
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let hangup = listen(SignalKind::hangup())?;
    let app = App::start(settings).await?;
    app.run(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = reopen_on_hangup(hangup) => {}
        }
    })
    .await;
    telemetry::flush();
    Ok(())
}

/// Log rotation's signal: files of logs are opened anew. Never ends.
async fn reopen_on_hangup(mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        telemetry::sink::reopen();
    }
    std::future::pending::<()>().await;
}
