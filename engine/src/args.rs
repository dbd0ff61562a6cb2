//! Command line and environment: each flag has the environment name `MODELGATE_ENGINE_<FLAG>`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Serve one GGUF model with the OpenAI API.
#[derive(Debug, Parser)]
#[command(name = "modelgate-engine", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `modelgate-engine`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load a model and answer requests until SIGTERM or SIGINT.
    Serve(ServeArgs),
    /// Fetch a model file over HTTP(S) and keep it only if its SHA-256 is the expected one.
    Fetch(FetchArgs),
}

/// Settings of `modelgate-engine fetch`.
#[derive(Debug, Clone, Args)]
pub struct FetchArgs {
    /// `http://` or `https://` address of the file.
    #[arg(long, value_name = "URL", env = "MODELGATE_ENGINE_URL", hide_env_values = true)]
    pub url: reqwest::Url,

    /// SHA-256 of the file, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX", env = "MODELGATE_ENGINE_SHA256", value_parser = sha256)]
    pub sha256: String,

    /// Where the file is put; its folder is made. Nothing is done if the expected file is there already.
    #[arg(long, value_name = "FILE", env = "MODELGATE_ENGINE_OUTPUT")]
    pub output: PathBuf,

    /// Tell how far it is to whoever asks here: bytes, total and bytes a second as JSON.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MODELGATE_ENGINE_PROGRESS_LISTEN")]
    pub progress_listen: Option<std::net::SocketAddr>,
}

/// Settings of `modelgate-engine serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The GGUF file to load.
    #[arg(long, value_name = "FILE.gguf", env = "MODELGATE_ENGINE_MODEL")]
    pub model: PathBuf,

    /// The name that requests use; the file's name without `.gguf` if not given.
    #[arg(long, value_name = "NAME", env = "MODELGATE_ENGINE_MODEL_NAME")]
    pub model_name: Option<String>,

    /// Another name that requests may use; may be repeated (in the environment: separated by commas).
    #[arg(long = "alias", value_name = "NAME", env = "MODELGATE_ENGINE_ALIAS", value_delimiter = ',')]
    pub aliases: Vec<String>,

    /// Tokens of prompt and answer together, for each request; the model's own length, 4096 at most, if not given.
    #[arg(long, value_name = "TOKENS", env = "MODELGATE_ENGINE_CONTEXT_LENGTH",
          value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub context_length: Option<u32>,

    /// Address and port to listen on.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "MODELGATE_ENGINE_LISTEN",
        default_value = "127.0.0.1:8000"
    )]
    pub listen: SocketAddr,

    /// Listen on this Unix socket instead of an address.
    #[arg(long, value_name = "PATH", env = "MODELGATE_ENGINE_UNIX_SOCKET", conflicts_with = "listen")]
    pub unix_socket: Option<PathBuf>,

    /// Threads that compute; half of the processors this process may use if not given.
    #[arg(long, value_name = "N", env = "MODELGATE_ENGINE_THREADS",
          value_parser = clap::value_parser!(u16).range(1..=512))]
    pub threads: Option<u16>,

    /// Requests that are computed at the same time; each has the whole context length.
    #[arg(long, value_name = "N", env = "MODELGATE_ENGINE_PARALLEL", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parallel: u16,

    /// Requests that may wait beside the running ones; the next one gets 429.
    #[arg(long, value_name = "N", env = "MODELGATE_ENGINE_QUEUE", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(0..=4096))]
    pub queue: u16,

    /// Time that running requests get to finish after SIGTERM, such as `30s` or `2m`.
    #[arg(long, value_name = "DURATION", env = "MODELGATE_ENGINE_DRAIN_TIMEOUT", default_value = "30s",
          value_parser = duration)]
    pub drain_timeout: Duration,

    /// How log lines look.
    #[arg(long, value_name = "FORMAT", env = "MODELGATE_ENGINE_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl ServeArgs {
    /// The name under which the model is served.
    #[must_use]
    pub fn served_name(&self) -> String {
        match &self.model_name {
            Some(name) => name.clone(),
            None => {
                self.model.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into())
            }
        }
    }
}

/// Shapes of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a SHA-256 has 64 hexadecimal digits".into())
    }
}

/// A whole number with `ms`, `s`, `m` or `h`, as Kubernetes writes durations; seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let wrong = || format!("{text:?} is no duration; write a whole number and ms, s, m or h, such as 30s");
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    let milliseconds = match text.strip_prefix(digits) {
        Some("ms") => 1,
        Some("" | "s") => 1000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(u64::from(number) * milliseconds))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::{Cli, Command, duration};

    #[test]
    fn durations_are_written_as_in_kubernetes() {
        for (text, seconds) in
            [("30s", 30.0), ("2m", 120.0), ("500ms", 0.5), ("1h", 3600.0), ("7", 7.0), ("0s", 0.0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "s", "-1s", "1.5s", "1d", "1 s"] {
            assert!(duration(text).unwrap_err().contains("such as 30s"), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent_and_every_flag_has_its_environment_name() {
        Cli::command().debug_assert();
        let command = Cli::command();
        let flags = command.get_subcommands().flat_map(clap::Command::get_arguments);
        for arg in flags.filter(|arg| arg.get_id() != "help") {
            let flag = arg.get_long().unwrap().to_uppercase().replace('-', "_");
            let env = arg.get_env().unwrap_or_else(|| panic!("--{flag} has no environment name"));
            assert_eq!(env.to_str().unwrap(), format!("MODELGATE_ENGINE_{flag}"));
        }
    }

    #[test]
    fn the_model_is_named_after_its_file_unless_a_name_is_given() {
        let name = |line: &[&str]| match Cli::parse_from(line).command {
            Command::Serve(args) => args.served_name(),
            Command::Fetch(_) => panic!("not a serve"),
        };
        assert_eq!(name(&["e", "serve", "--model", "/m/Smol.Q4_1.gguf"]), "Smol.Q4_1");
        assert_eq!(name(&["e", "serve", "--model", "/m/a.gguf", "--model-name", "smol"]), "smol");
    }
}
