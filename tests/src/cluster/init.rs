//! The first process of the cluster's namespaces: prepares mounts and network, then keeps the components
//! running and reaps what they leave.
//!
//! Everything lives in the process, mount, network and host-name namespaces that `unshare` made for it, so when
//! this process ends, for whatever reason, the kernel ends every other one and takes mounts and interfaces.

use std::fs::{File, OpenOptions};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::components::{After, Component};
use super::namespace;
use crate::command::output;

const POLL: Duration = Duration::from_millis(50);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LAST_BACKOFF: Duration = Duration::from_secs(20);

/// What the first process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Mounts and network.
    pub namespace: namespace::Spec,
    /// The programs to run.
    pub components: Vec<Component>,
    /// Folder of their logs.
    pub logs: PathBuf,
    /// Where to write how they are.
    pub status: PathBuf,
}

/// How a component is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// The component's name.
    pub name: String,
    /// Its process id inside the namespaces; none before it started and while it waits to be started again.
    pub pid: Option<i32>,
    /// How often it ended.
    pub ends: u32,
    /// How it ended last.
    pub last_end: String,
}

/// Runs until SIGTERM. Called with process id 1 of a namespace.
///
/// # Errors
/// When the namespaces cannot be prepared.
pub fn run(spec: &Path) -> Result<()> {
    let text = std::fs::read_to_string(spec).with_context(|| format!("cannot read {}", spec.display()))?;
    let spec: Spec = serde_json::from_str(&text).context("the init's instructions")?;
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))?;
    namespace::prepare(&spec.namespace)?;
    let mut supervisor = Supervisor::new(spec);
    supervisor.write_status()?;
    while !stop.load(Ordering::SeqCst) {
        let changed = supervisor.reap() | supervisor.start_due();
        if changed {
            supervisor.write_status()?;
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

struct Running {
    component: Component,
    status: Status,
    due: Instant,
    backoff: Duration,
}

struct Supervisor {
    running: Vec<Running>,
    logs: PathBuf,
    status: PathBuf,
}

impl Supervisor {
    fn new(spec: Spec) -> Self {
        let running = spec
            .components
            .into_iter()
            .map(|component| Running {
                status: Status { name: component.name.clone(), ..Status::default() },
                component,
                due: Instant::now(),
                backoff: FIRST_BACKOFF,
            })
            .collect();
        Self { running, logs: spec.logs, status: spec.status }
    }

    fn start_due(&mut self) -> bool {
        let mut changed = false;
        // Most wait for the same thing: it is asked for once a round.
        let mut asked: Option<(After, bool)> = None;
        for part in &mut self.running {
            if part.status.pid.is_some() || Instant::now() < part.due {
                continue;
            }
            if let Some(after) = &part.component.after {
                let known = asked.as_ref().filter(|(what, _)| what == after).map(|(_, answer)| *answer);
                let answer = known.unwrap_or_else(|| is_so(after));
                asked = Some((after.clone(), answer));
                if !answer {
                    continue;
                }
            }
            changed = true;
            match start(&part.component, &self.logs) {
                Ok(pid) => part.status.pid = Some(pid),
                Err(error) => part.ended(format!("{error:#}")),
            }
        }
        changed
    }

    /// Collects every child that ended, also orphans that came to us as the namespace's first process.
    fn reap(&mut self) -> bool {
        let mut changed = false;
        loop {
            let (pid, how) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exit status {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("{signal}")),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return changed,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => {
                    eprintln!("init: cannot wait: {error}");
                    return changed;
                }
            };
            if let Some(part) = self.running.iter_mut().find(|part| part.status.pid == Some(pid.as_raw())) {
                eprintln!("init: {} ended: {how}", part.status.name);
                part.ended(how);
                changed = true;
            }
        }
    }

    fn write_status(&self) -> Result<()> {
        let all: Vec<&Status> = self.running.iter().map(|part| &part.status).collect();
        let staged = self.status.with_extension("new");
        std::fs::write(&staged, serde_json::to_string(&all)?).context("cannot write the status")?;
        std::fs::rename(&staged, &self.status).context("cannot write the status")
    }
}

impl Running {
    fn ended(&mut self, how: String) {
        self.status.pid = None;
        self.status.ends += 1;
        self.status.last_end = how;
        self.due = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
    }
}

fn start(component: &Component, logs: &Path) -> Result<i32> {
    let (program, arguments) = component.command.split_first().context("a component has a program")?;
    let log = logs.join(format!("{}.log", component.name));
    let file: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    // Reaped with everything else by `reap`; the handle has nothing more to say.
    i32::try_from(child.id()).context("a process id is a positive number")
}

fn is_so(after: &After) -> bool {
    match after {
        After::Accepts(address) => accepts(address),
        After::Succeeds(command) => command.split_first().is_some_and(|(program, arguments)| {
            output(Command::new(program).args(arguments), None, Duration::from_secs(5)).is_ok()
        }),
    }
}

fn accepts(address: &str) -> bool {
    address
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next())
        .is_some_and(|address| TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Running {
        let component = Component { name: "etcd".into(), command: vec![], after: None };
        Running { status: Status::default(), component, due: Instant::now(), backoff: FIRST_BACKOFF }
    }

    #[test]
    fn a_component_that_keeps_ending_is_started_again_ever_later_up_to_a_limit() {
        let mut part = part();
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(part.backoff);
            part.ended("exit status 1".into());
        }
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(part.backoff, LAST_BACKOFF);
        assert_eq!((part.status.ends, part.status.last_end.as_str()), (10, "exit status 1"));
    }
}
