//! Running other programs: with a time limit, a log file, and an end when the person presses Ctrl-C.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const POLL: Duration = Duration::from_millis(20);
const TAIL_LINES: usize = 15;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static BEFORE_CLEANUP: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT and SIGTERM set a flag that every wait here looks at, instead of ending the process.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn catch_interrupts() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot catch signals")?;
    }
    Ok(())
}

/// Whether the person asked to stop.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::SeqCst))
}

/// Forgets an interrupt, so that the commands of a clean-up run to their end; `was_interrupted` remembers it.
pub fn begin_cleanup() {
    if let Some(flag) = INTERRUPTED.get()
        && flag.swap(false, Ordering::SeqCst)
    {
        BEFORE_CLEANUP.store(true, Ordering::SeqCst);
    }
}

/// Whether the person asked to stop, also before a clean-up began.
#[must_use]
pub fn was_interrupted() -> bool {
    interrupted() || BEFORE_CLEANUP.load(Ordering::SeqCst)
}

/// Sleeps, but not past an interrupt.
///
/// # Errors
/// When interrupted.
pub fn pause(length: Duration) -> Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        check_interrupt()?;
        std::thread::sleep(POLL.min(end.saturating_duration_since(Instant::now())));
    }
    check_interrupt()
}

/// An answer that no waiting will change.
#[derive(Debug)]
pub struct Hopeless(pub String);

impl std::fmt::Display for Hopeless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Hopeless {}

/// Repeats a question until it is answered with yes, `limit` passes, or an interrupt.
///
/// # Errors
/// The question's last answer, when the limit passed; a [`Hopeless`] one at once.
pub fn wait_until(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        match ask() {
            Ok(()) => return Ok(()),
            Err(error) if error.is::<Hopeless>() => return Err(error.context(what.to_owned())),
            Err(error) if Instant::now() >= end => {
                return Err(error).with_context(|| format!("{what}: not within {} s", limit.as_secs()));
            }
            Err(_) => pause(Duration::from_millis(200))?,
        }
    }
}

fn check_interrupt() -> Result<()> {
    if interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

/// Runs a command to its end with its output in a log file.
///
/// # Errors
/// When it cannot start, fails, or outlives the limit; the message names the log and shows its end.
pub fn run_logged(command: &mut Command, log: &Path, limit: Duration) -> Result<()> {
    let shown = show(command);
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let child = spawn(command)?;
    match finish(child, limit) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(anyhow::anyhow!("`{shown}` ended with {status}").context(read_this(log))),
        Err(error) => Err(error.context(format!("`{shown}`")).context(read_this(log))),
    }
}

/// Runs a command and returns what it printed.
///
/// # Errors
/// When it cannot start, fails (the message holds its error output), or outlives the limit.
pub fn output(command: &mut Command, input: Option<&str>, limit: Duration) -> Result<String> {
    let shown = show(command);
    let feed = tempfile::tempfile().context("cannot create a temporary file")?;
    let out = tempfile::tempfile().context("cannot create a temporary file")?;
    let err = tempfile::tempfile().context("cannot create a temporary file")?;
    if let Some(text) = input {
        use std::os::unix::fs::FileExt;
        feed.write_all_at(text.as_bytes(), 0).context("cannot write a command's input")?;
    }
    command.stdin(feed).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let status = finish(spawn(command)?, limit).with_context(|| format!("`{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}: {}", whole(&err)?.trim());
    }
    whole(&out)
}

fn whole(file: &File) -> Result<String> {
    use std::io::Seek;
    let mut file = file.try_clone()?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn spawn(command: &mut Command) -> Result<Child> {
    let shown = show(command);
    // A group of its own: Ctrl-C reaches only us, and we end the whole group.
    command.process_group(0).spawn().with_context(|| format!("cannot start `{shown}`"))
}

fn finish(mut child: Child, limit: Duration) -> Result<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a command")? {
            return Ok(status);
        }
        let late = Instant::now() >= end;
        if late || interrupted() {
            end_group(&mut child);
            if late {
                bail!("not done within {} s", limit.as_secs());
            }
            bail!("interrupted");
        }
        std::thread::sleep(POLL);
    }
}

fn end_group(child: &mut Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let _ = killpg(group, Signal::SIGTERM);
    for _ in 0..100 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(POLL);
    }
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    let line = std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ");
    if line.chars().count() > 160 { line.chars().take(157).chain("...".chars()).collect() } else { line }
}

/// "Read this log", with its last lines.
#[must_use]
pub fn read_this(log: &Path) -> String {
    let lines = tail(log, TAIL_LINES);
    format!("read {}; it ends with:\n{}", log.display(), lines.join("\n"))
}

/// The last lines of a text file, each indented; of a large file only the end is read.
#[must_use]
pub fn tail(file: &Path, count: usize) -> Vec<String> {
    use std::os::unix::fs::FileExt;
    const WINDOW: u64 = 16 * 1024;
    let mut bytes = Vec::new();
    if let Ok(handle) = File::open(file) {
        let length = handle.metadata().map_or(0, |meta| meta.len());
        bytes = vec![0; usize::try_from(length.min(WINDOW)).unwrap_or_default()];
        let read = handle.read_at(&mut bytes, length.saturating_sub(WINDOW)).unwrap_or(0);
        bytes.truncate(read);
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// Finds a program on `PATH` or in the system's sbin folders, which a user's `PATH` often lacks.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_names_its_log_and_shows_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("logs/build.log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo the reason >&2; exit 3"]);
        let error = run_logged(&mut command, &log, Duration::from_secs(20)).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(&log.display().to_string()), "{text}");
        assert!(text.contains("the reason") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_command_past_its_limit_is_ended_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        let error = output(&mut command, None, Duration::from_millis(300)).unwrap_err();
        assert!(format!("{error:#}").contains("not done within"), "{error:#}");
    }

    #[test]
    fn waiting_ends_at_once_when_it_is_hopeless_and_with_the_last_answer_when_it_is_late() {
        let hour = Duration::from_secs(3600);
        let error = wait_until(hour, "node ready", || Err(Hopeless("it ended".into()).into())).unwrap_err();
        assert_eq!(format!("{error:#}"), "node ready: it ended");
        let error = wait_until(Duration::ZERO, "node ready", || bail!("not yet")).unwrap_err();
        assert_eq!(format!("{error:#}"), "node ready: not within 0 s: not yet");
    }

    #[test]
    fn input_reaches_the_command_and_output_comes_back() {
        let text = output(&mut Command::new("cat"), Some("kind: Pod\n"), Duration::from_secs(20)).unwrap();
        assert_eq!(text, "kind: Pod\n");
    }

    #[test]
    fn the_tail_of_a_long_file_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let text: String = (0..9000).map(|line| format!("line {line}\n")).collect();
        std::fs::write(&file, text).unwrap();
        assert_eq!(tail(&file, 2), ["    line 8998", "    line 8999"]);
        assert!(tail(&folder.path().join("absent"), 2).is_empty());
    }
}
