//! The `modelgate-engine` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use modelgate_engine::{
    app,
    args::{Cli, Command},
    fetch,
};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => app::serve(&args).map_err(|error| (error.to_string(), error.exit_code())),
        Command::Fetch(args) => fetch::fetch(&args).map_err(|error| (error.to_string(), error.exit_code())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((error, code)) => {
            eprintln!("modelgate-engine: {error}");
            ExitCode::from(code)
        }
    }
}
