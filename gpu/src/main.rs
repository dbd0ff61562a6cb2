//! `modelgate-gpu`: what this machine's GPUs are, as NVIDIA's management library tells it.
//!
//! `nvml` asks the library, `inventory` is the answer as data, `render` writes it for a person or a program.

mod inventory;
mod nvml;
mod render;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Says which GPUs this machine has.
#[derive(Parser)]
#[command(name = "modelgate-gpu", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// List the GPUs. Without an NVIDIA driver it says so and succeeds.
    List {
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// NVIDIA's management library: a name that the loader looks up, or a path.
        #[arg(long, env = "MODELGATE_NVML_LIBRARY", default_value = nvml::DEFAULT_LIBRARY)]
        nvml_library: OsString,
    },
}

fn main() -> ExitCode {
    let Arguments { command: Task::List { json, nvml_library } } = Arguments::parse();
    let text = match nvml::inventory(&nvml_library) {
        Ok(inventory) if json => render::json(&inventory),
        Ok(inventory) => render::table(&inventory),
        Err(error) => {
            eprintln!("modelgate-gpu: {error}");
            return ExitCode::FAILURE;
        }
    };
    // A closed pipe (`| head`) is the reader's choice and no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
