//! The `modelgate-engine` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use modelgate_engine::{
    app,
    args::{Cli, Command},
};

fn main() -> ExitCode {
    let Command::Serve(args) = Cli::parse().command;
    match app::serve(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("modelgate-engine: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
