//! `validate`: what the gateway would say to a configuration at start, without starting.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::misuse;
use crate::args::{Args, Settings};
use crate::config;

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct Validate {
    /// Configuration to check: a file or a folder, as `--config` takes it
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    file: Vec<PathBuf>,
    /// Check for an address that others can reach, as in a container
    #[arg(long)]
    exposed: bool,
}

impl Validate {
    /// 0 when every configuration is valid, 2 with every mistake otherwise.
    pub(super) fn run(self) -> u8 {
        let mut faults = BTreeSet::new();
        for file in &self.file {
            match check(file.clone(), self.exposed) {
                Ok(summary) => println!("{}: {summary}", file.display()),
                Err(found) => {
                    faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", file.display())));
                }
            }
        }
        if faults.is_empty() { 0 } else { misuse(&faults.into_iter().collect::<Vec<_>>()) }
    }
}

fn check(file: PathBuf, exposed: bool) -> Result<String, Vec<String>> {
    let listen = if exposed { "0.0.0.0:5000" } else { "127.0.0.1:5000" };
    let settings = settings(file, listen)?;
    let loaded = config::load_without_models(&settings)?;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    Ok(format!(
        "valid: {}, {}, configHash {}",
        count(loaded.config.routes.len(), "route"),
        count(loaded.config.backends.len(), "backend"),
        loaded.hash
    ))
}

fn settings(file: PathBuf, listen: &str) -> Result<Settings, Vec<String>> {
    use clap::Parser;
    // Only the file counts: what this machine's environment says is about another gateway.
    let args = Args::try_parse_from(["modelgate-gateway", "--listen", listen]);
    let mut args = args.map_err(|error| vec![error.to_string()])?;
    args.config = Some(file);
    args.into_settings(&|_| None)
}
