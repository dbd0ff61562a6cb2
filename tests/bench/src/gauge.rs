//! What a process tree uses, from `/proc`, and which core a process runs on.

use std::process::{Child, Command};

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Clock ticks of a second in `/proc`; Linux shows 100 on every architecture.
const TICKS: f64 = 100.0;

/// Cores that this process may use.
pub fn cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("cores are not told")?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

/// Puts this thread on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on core {core}"))
}

/// Lets this process and those that it starts open as many connections as they may.
pub fn allow_connections() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("the number of open files is not told")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("the number of open files cannot be raised")
}

/// Starts a command on a core: a child inherits its parent's.
pub fn spawn_on(core: usize, back_to: usize, command: &mut Command) -> Result<Child> {
    pin(core)?;
    let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()));
    pin(back_to)?;
    child
}

/// A process and all that it started.
fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parents: Vec<(u32, u32)> =
        ids.into_iter().filter_map(|id| Some((id, fields(id)?.get(1)?.parse().ok()?))).collect();
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        all.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        at += 1;
    }
    all
}

/// The fields of `/proc/ID/stat` that follow the name, which may hold anything: the first is the state.
fn fields(id: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let rest = text.get(text.rfind(')')? + 2..)?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// CPU time of a process tree so far, user and system, in seconds.
pub fn cpu(root: u32) -> Result<f64> {
    let mut ticks = 0.0;
    for id in tree(root) {
        let Some(fields) = fields(id) else { continue };
        // utime and stime, fields 14 and 15 of the file.
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        ticks += number(11) + number(12);
    }
    if fields(root).is_none() {
        bail!("process {root} has ended");
    }
    Ok(ticks / TICKS)
}

/// Resident memory of a process tree in MB.
pub fn memory(root: u32) -> f64 {
    let resident = |id: u32| {
        let text = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse::<f64>().ok()
    };
    tree(root).into_iter().filter_map(resident).sum::<f64>() / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let me = std::process::id();
        let before = cpu(me).unwrap();
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 300 {
            std::hint::spin_loop();
        }
        // Other tests share the machine; ten ticks are a third of what was asked for.
        assert!(cpu(me).unwrap() > before);
        assert!(memory(me) > 1.0);
        assert!(cpu(u32::MAX).is_err());
    }
}
