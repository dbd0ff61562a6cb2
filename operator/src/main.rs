//! Entry point: arguments → `run` or `crd`.

use std::process::ExitCode;

use clap::Parser;
use modelgate_operator::args::{Args, Command};
use modelgate_operator::{app, args, telemetry};

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Crd => app::print_crds(),
        Command::Run(run) => {
            telemetry::init(&run.log, run.log_format);
            args::Settings::try_from(run).and_then(app::run)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("modelgate-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
