//! Removing a cluster, whole or half: processes, mounts, cgroups and folders, by what its record says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::state::{Process, State, stat};
use crate::cache::Cache;
use crate::command::wait_until;

const LIMIT: Duration = Duration::from_secs(30);

/// Removes everything that the record names, then the record.
///
/// # Errors
/// When something stays; the record stays too, so that the next call tries again.
pub fn remove(cache: &Cache, state: &State) -> Result<()> {
    // The first process of a process namespace takes all others with it, and they their mounts and interfaces.
    for process in [state.relay, state.init, state.parent].into_iter().flatten() {
        end(process)?;
    }
    // Its child, if the runner was killed between starting it and recording it.
    for pid in children_in(&state.folders) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    for hierarchy in cgroup_hierarchies() {
        remove_cgroup(&hierarchy.join(&state.cgroup))?;
    }
    for folder in &state.folders {
        unmount_below(folder)?;
        remove_folder(folder)?;
    }
    for mount_point in &state.mount_points {
        // Only if nobody put anything into it meanwhile.
        let _ = std::fs::remove_dir(mount_point);
    }
    State::forget(cache)
}

fn end(process: Process) -> Result<()> {
    if !process.is_alive() {
        return Ok(());
    }
    let pid = Pid::from_raw(i32::try_from(process.pid).context("a process id is a positive number")?);
    match kill(pid, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot end process {pid}")),
    }
    wait_until(LIMIT, &format!("end of process {pid}"), || {
        // Our own child stays a zombie until it is waited for.
        let _ = nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
        if process.is_alive() { bail!("it still runs") } else { Ok(()) }
    })
}

/// Processes that were started with a path inside one of the cluster's folders as an argument, such as the init
/// of a runner that was killed before it could record it. Readers of a log file are not among them: only
/// our own programs are looked at.
fn children_in(folders: &[PathBuf]) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let ours = line.split('\0').any(|word| word == "cluster-init" || word == "cluster-relay");
            ours && folders.iter().any(|folder| line.contains(&*folder.to_string_lossy()))
        })
        .filter(|pid| u32::try_from(*pid).is_ok_and(|pid| stat(pid).is_some()))
        .collect()
}

/// Where the kernel's cgroup hierarchies are mounted: many with version 1, one with version 2.
#[must_use]
pub fn cgroup_hierarchies() -> Vec<PathBuf> {
    mounts().into_iter().filter(|(kind, _)| kind == "cgroup" || kind == "cgroup2").map(|(_, at)| at).collect()
}

/// Every mount of the calling process: file system type and mount point.
#[must_use]
pub fn mounts() -> Vec<(String, PathBuf)> {
    parse_mounts(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse_mounts(text: &str) -> Vec<(String, PathBuf)> {
    text.lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let at = mount.split(' ').nth(4)?.replace("\\040", " ");
            Some((kind.split(' ').next()?.to_owned(), PathBuf::from(at)))
        })
        .collect()
}

fn unmount_below(folder: &Path) -> Result<()> {
    let mut below: Vec<PathBuf> =
        mounts().into_iter().map(|(_, at)| at).filter(|at| at.starts_with(folder)).collect();
    // Innermost first.
    below.sort_by_key(|at| std::cmp::Reverse(at.components().count()));
    for at in below {
        umount2(&at, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {}", at.display()))?;
    }
    Ok(())
}

fn remove_cgroup(root: &Path) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    wait_until(LIMIT, &format!("removal of cgroup {}", root.display()), || {
        for folder in bottom_up(root) {
            for pid in std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
                if let Ok(pid) = pid.parse() {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            match std::fs::remove_dir(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
                }
                _ => {}
            }
        }
        Ok(())
    })
}

fn bottom_up(root: &Path) -> Vec<PathBuf> {
    let below = std::fs::read_dir(root).into_iter().flatten().flatten();
    let folders = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = folders.flat_map(|entry| bottom_up(&entry.path())).collect();
    all.push(root.to_path_buf());
    all
}

fn remove_folder(folder: &Path) -> Result<()> {
    wait_until(LIMIT, &format!("removal of {}", folder.display()), || match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", folder.display()))
        }
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_type_and_a_space_in_their_path() {
        let text = "30 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    31 24 0:28 / /mnt/my\\040disk rw shared:1 - ext4 /dev/vda rw\n";
        let expected = vec![
            ("cgroup".to_owned(), PathBuf::from("/sys/fs/cgroup/cpu")),
            ("ext4".to_owned(), PathBuf::from("/mnt/my disk")),
        ];
        assert_eq!(parse_mounts(text), expected);
    }

    #[test]
    fn folders_are_listed_children_before_parents() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let all = bottom_up(folder.path());
        let expected = ["a/b", "a", ""].map(|name| folder.path().join(name));
        assert_eq!(all, expected.map(|path| path.components().collect::<PathBuf>()));
    }

    #[test]
    fn a_half_made_cluster_is_removed_with_its_folders_and_processes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("deep")).unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let layout = super::super::layout::Layout::new(&cache, "f00");
        let mut state = State::new("f00-never-made", &layout, None, 0);
        state.folders = vec![data.clone()];
        state.parent = Process::of(child.id());
        state.save(&cache).unwrap();
        remove(&cache, &state).unwrap();
        assert!(!data.exists() && State::load(&cache).unwrap().is_none());
        // Already collected by the removal.
        let _ = child.wait();
        assert!(!state.parent.unwrap().is_alive());
    }
}
