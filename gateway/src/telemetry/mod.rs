//! What the process tells of itself: the log, text for people or one JSON object a line, on standard error or in a file.
//! Whatever is logged goes through one [`sink`], so a log that nobody reads holds up no request.

mod access;
pub mod content;
pub mod sink;
pub mod time;

use std::io::{IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::{LogFormat, Settings};
use crate::series::Handler;
use crate::server::summary::Summary;
use access::Access;
use sink::{Destination, LOG, Sink};

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Starts logging.
///
/// # Errors
/// When the level is none or the file cannot be opened, naming the flag or variable.
pub fn init(settings: &Settings) -> Result<(), String> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .map_err(|error| format!("--log-level {}: {error}", settings.log_level))?;
    let destination = settings.log_file.clone().map_or(Destination::Stderr, Destination::File);
    let log = Sink::open(&destination).map_err(|error| match &settings.log_file {
        Some(path) => format!("--log-file {}: {error}", path.display()),
        None => format!("the log cannot be started: {error}"),
    })?;
    let ansi = settings.log_file.is_none() && std::io::stderr().is_terminal();
    if LOG.set(log).is_err() || FORMAT.set(settings.log_format).is_err() {
        return Err("logging was started before".into());
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines).with_ansi(ansi);
    let result = match settings.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    result.map_err(|error| error.to_string())?;
    if settings.log_content {
        content::turn_on();
        let place =
            settings.log_file.as_ref().map_or("standard error".into(), |path| path.display().to_string());
        tracing::warn!(%place, "PROMPTS AND ANSWERS ARE LOGGED: users' source code is written there, because --log-content steps (or LOG_LEVEL=debug with LOG_TO_FILE) asks for it");
    }
    Ok(())
}

/// Writes a request that has ended to the access log, if its level is logged.
pub(crate) fn access(summary: &Arc<Summary>) {
    let Some((log, format)) = LOG.get().zip(FORMAT.get()) else { return };
    let probe = matches!(summary.handler, Handler::Healthz | Handler::Ready | Handler::LlamaHealth);
    let level = if probe { Level::DEBUG } else { Level::INFO };
    let wanted = if probe {
        tracing::enabled!(target: "access", Level::DEBUG)
    } else {
        tracing::enabled!(target: "access", Level::INFO)
    };
    if wanted {
        log.send(Access { summary: Arc::clone(summary), format: *format, level });
    }
}

/// Lines that the log had no room for since this was last asked.
pub(crate) fn take_dropped() -> u64 {
    LOG.get().map_or(0, Sink::take_dropped)
}

/// Waits, for a limited time, until the log is written.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush();
    }
}

/// Hands `tracing`'s events to the log, one line each.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Some(log) = LOG.get() {
            log.send(line.to_vec());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
