//! Commands of `modelgate-gateway` beside serving. Without one it serves, so that a deployment's flags stay what they are.
//! Each command is one file: its arguments as a `clap::Args`, and `run`, which prints its result to standard output and
//! returns the exit code.

mod complete;
mod eval;
mod keys;
mod print_config;
mod probe;
mod token;
mod validate;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::args::Args;
use crate::environment::{Environment, Origin};

/// Exit code of a wrong command line or configuration, as clap's.
pub const MISUSE: u8 = 2;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "modelgate-gateway",
    version,
    about = "Serves code completions from the backends that a configuration names. Runs with or without Kubernetes",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: Args,
}

/// What the program does instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration without serving it; tells every mistake at once
    Validate(validate::Validate),
    /// Measure on infilling problems how good post-processing is, without a model
    Eval(eval::Eval),
    /// Make, list, revoke and rotate API keys
    Keys(keys::Keys),
    /// Make a local issuer of tokens and a token, to try the authenticated path
    Token(token::Token),
    /// Try a completion from a terminal, by the core that serves editors: what the backend is sent, what the model answers, what each step makes of it
    Complete(Box<complete::Complete>),
    /// Show the settings and the configuration that would be in force, and where each value comes from; no secret is shown
    PrintConfig(Box<print_config::PrintConfig>),
    /// Ask a backend's server what it really does; without --free this costs a few tokens
    Probe(Box<probe::Probe>),
}

impl Command {
    /// Runs the command and returns its exit code.
    pub async fn run(self, given: &Given) -> u8 {
        match self {
            Self::Validate(command) => command.run(),
            Self::Eval(command) => command.run(),
            Self::Keys(command) => command.run(),
            Self::Token(command) => command.run().await,
            Self::Complete(command) => command.run(given).await,
            Self::PrintConfig(command) => command.run(given),
            Self::Probe(command) => command.run(given).await,
        }
    }
}

/// What was given, so that a command can tell where a value comes from.
pub struct Given {
    /// Environment and `.env` file.
    pub environment: Environment,
    matches: ArgMatches,
}

impl Given {
    /// Where the value of a flag comes from. `flag` is its long form with its dashes.
    #[must_use]
    pub fn origin(&self, flag: &'static str) -> Origin {
        let id = flag.trim_start_matches('-').replace('-', "_");
        // `try_contains_id` knows whether the command has the flag at all.
        if !matches!(self.matches.try_contains_id(&id), Ok(true)) {
            return Origin::Default;
        }
        let name = variable(&Args::command(), &id);
        match (self.matches.value_source(&id), name) {
            (Some(ValueSource::CommandLine), _) => Origin::Flag(flag),
            (Some(_), Some(name)) => self.environment.origin(&name).unwrap_or(Origin::Default),
            _ => Origin::Default,
        }
    }
}

fn variable(command: &clap::Command, id: &str) -> Option<String> {
    let argument = command.get_arguments().find(|argument| argument.get_id() == id)?;
    argument.get_env().and_then(|name| name.to_str()).map(str::to_owned)
}

impl Cli {
    /// Reads the command line; ends the process with help, version or the mistake, as clap does.
    #[must_use]
    pub fn read(environment: Environment) -> (Self, Given) {
        let command = with_file(Self::command(), &environment);
        let mut matches = command.get_matches();
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let matches = matches.remove_subcommand().map_or(matches, |(_, inner)| inner);
        (cli, Given { environment, matches })
    }
}

/// Gives the values of the `.env` file to the flags whose variables it sets and the process's environment does not.
fn with_file(command: clap::Command, environment: &Environment) -> clap::Command {
    let command = command.mut_args(|argument| {
        let name = argument.get_env().and_then(|name| name.to_str());
        match name.and_then(|name| environment.only_in_file(name)) {
            // clap wants text that lives as long as the process, which the command line does anyway.
            Some(value) => argument.default_value(&*value.to_owned().leak()),
            None => argument,
        }
    });
    command.mut_subcommands(|inner| with_file(inner, environment))
}

/// Prints mistakes, each on a line of its own, and returns [`MISUSE`].
pub(crate) fn misuse(faults: &[String]) -> u8 {
    for fault in faults {
        eprintln!("error: {fault}");
    }
    MISUSE
}
