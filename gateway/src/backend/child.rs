//! The engine as a child process on a Unix socket, for a gateway without Kubernetes: started, watched, restarted with
//! growing pauses, and never left behind.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use modelgate_api::contract::ChildModel;
use tokio::process::Command;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A child that ran this long was not failing to start.
const STEADY: Duration = Duration::from_secs(60);
/// Name of the engine's program.
const PROGRAM: &str = "modelgate-engine";

/// How to run an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Name of the backend, for logs.
    pub backend: String,
    /// The program.
    pub program: PathBuf,
    /// The model's file where it is known; else it is fetched.
    pub file: Option<PathBuf>,
    /// Where the model comes from.
    pub model: ChildModel,
    /// Folder for fetched models.
    pub cache: PathBuf,
    /// Name under which the engine serves the model.
    pub model_name: String,
    /// Tokens of prompt and answer together.
    pub context_length: Option<u32>,
    /// Arguments added by the user.
    pub args: Vec<String>,
    /// Socket that the engine listens on.
    pub socket: PathBuf,
}

impl Child {
    /// Runs the engine again and again. The future's end, or its being dropped, kills the process.
    pub async fn supervise(self, say: impl Fn(String)) {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let why = self.run(&say).await;
            if started.elapsed() >= STEADY {
                pause = FIRST_PAUSE;
            }
            tracing::warn!(backend = %self.backend, reason = %why, pause_s = pause.as_secs(), "the engine ended; it is started again");
            say(why);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn run(&self, say: &impl Fn(String)) -> String {
        let file = match self.fetch(say).await {
            Ok(file) => file,
            Err(why) => return why,
        };
        // A socket that a killed engine left behind would keep the new one from listening.
        if let Err(error) = std::fs::remove_file(&self.socket)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return format!("{}: {error}", self.socket.display());
        }
        let mut command = self.command();
        command.arg("serve").arg("--model").arg(&file).arg("--unix-socket").arg(&self.socket);
        command.args(["--model-name", &self.model_name]);
        if let Some(length) = self.context_length {
            command.args(["--context-length", &length.to_string()]);
        }
        command.args(&self.args);
        say("the engine loads its model".into());
        self.finish(command).await
    }

    /// The model's file, fetched if it is not there yet.
    async fn fetch(&self, say: &impl Fn(String)) -> Result<PathBuf, String> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let ChildModel::Http { url, sha256 } = &self.model else {
            return Err("no model file is known".into());
        };
        let file = self.cache.join(format!("{sha256}.gguf"));
        if file.is_file() {
            return Ok(file);
        }
        std::fs::create_dir_all(&self.cache).map_err(|error| format!("{}: {error}", self.cache.display()))?;
        say(format!("the model is fetched from {url}"));
        let mut command = self.command();
        command.arg("fetch").args(["--url", url, "--sha256", sha256]).arg("--output").arg(&file);
        let why = self.finish(command).await;
        if file.is_file() { Ok(file) } else { Err(format!("the model could not be fetched: {why}")) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        die_with_parent(&mut command);
        command
    }

    async fn finish(&self, mut command: Command) -> String {
        match command.spawn() {
            Err(error) => {
                format!("{} cannot be started: {error}; give it by --engine-bin PATH", self.program.display())
            }
            Ok(mut child) => match child.wait().await {
                Ok(status) => format!("{} ended with {status}", self.program.display()),
                Err(error) => format!("{} is lost: {error}", self.program.display()),
            },
        }
    }
}

/// Where the engine's program is: as given, else beside this program, else as PATH finds it.
#[must_use]
pub fn find_program(given: Option<&Path>) -> PathBuf {
    if let Some(given) = given {
        return given.to_owned();
    }
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// Folder for fetched models: `--models DIR`, else the user's cache.
#[must_use]
pub fn cache_dir(models: Option<&Path>) -> PathBuf {
    if let Some(models) = models {
        return models.to_owned();
    }
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    home.unwrap_or_else(std::env::temp_dir).join("modelgate").join("models")
}

/// Lets the kernel end the child when the gateway is killed without a chance to do it itself.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}
