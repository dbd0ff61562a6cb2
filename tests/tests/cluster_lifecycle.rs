//! A cluster that was killed in any way leaves nothing on the machine once `up` or `down` has run again.
//!
//! Needs root. It has a cache folder of its own, so a cluster that a person runs stays untouched; only the built
//! tools are shared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::cache::Cache;
use testkit::cluster::layout::PAUSE_IMAGE;
use testkit::cluster::remnants::{cgroup_hierarchies, mounts};
use testkit::cluster::state::{State, stat};
use testkit::cluster::{Cluster, Options};
use testkit::command::wait_until;

const TESTKIT: &str = env!("CARGO_BIN_EXE_testkit");
const LIMIT: Duration = Duration::from_secs(180);

/// What a cluster could leave behind, as a person would list it.
#[derive(Debug)]
struct Machine {
    namespaces: BTreeSet<PathBuf>,
    mounts: BTreeSet<PathBuf>,
    interfaces: BTreeSet<PathBuf>,
    cgroups: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    processes: BTreeSet<String>,
}

impl Machine {
    fn look(cache: &Cache) -> Self {
        let marks = [cache.root().display().to_string(), "/tmp/mg-".to_owned(), "containerd-shim".to_owned()];
        let running = processes(cache);
        let lines = running.iter().map(|process| command_line(process));
        let processes = lines.filter(|line| marks.iter().any(|mark| line.contains(mark))).collect();
        let kept = ["lock", "last-failure"];
        let own =
            names(&cache.cluster()).into_iter().filter(|at| !kept.iter().any(|name| at.ends_with(name)));
        let shared = ["/run", "/var/log", "/var/lib/cni", "/etc/cni", "/opt"];
        let sockets = names(Path::new("/tmp")).into_iter().filter(|at| at.to_string_lossy().contains("/mg-"));
        Self {
            namespaces: namespaces(&running),
            mounts: mounts().into_iter().map(|(_, at)| at).collect(),
            interfaces: names(Path::new("/sys/class/net")).into_iter().collect(),
            cgroups: cgroup_hierarchies()
                .iter()
                .flat_map(|root| names(root))
                .filter(|folder| folder.to_string_lossy().contains("modelgate"))
                .collect(),
            folders: own.chain(sockets).chain(shared.iter().flat_map(|at| names(Path::new(at)))).collect(),
            processes,
        }
    }
}

impl Machine {
    /// What is here and was not there before; what others removed meanwhile is not ours to judge.
    fn since(&self, before: &Self) -> Vec<String> {
        let paths = [
            (&self.namespaces, &before.namespaces),
            (&self.mounts, &before.mounts),
            (&self.interfaces, &before.interfaces),
            (&self.cgroups, &before.cgroups),
            (&self.folders, &before.folders),
        ];
        let new =
            paths.iter().flat_map(|(now, then)| now.difference(then)).map(|path| path.display().to_string());
        new.chain(self.processes.difference(&before.processes).cloned()).collect()
    }
}

fn assert_nothing_new(before: &Machine, cache: &Cache, when: &str) {
    assert_eq!(Machine::look(cache).since(before), Vec::<String>::new(), "{when}");
}

fn names(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn namespaces(processes: &[PathBuf]) -> BTreeSet<PathBuf> {
    let kinds = ["net", "pid", "uts"];
    processes
        .iter()
        .flat_map(|process| kinds.map(|kind| std::fs::read_link(process.join("ns").join(kind))))
        .flatten()
        .collect()
}

fn command_line(process: &Path) -> String {
    let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Every process but those of another cluster on the same machine, which comes and goes as it likes.
fn processes(cache: &Cache) -> Vec<PathBuf> {
    let own = cache.root().display().to_string();
    let of_another = |pid: u32| {
        let parents = std::iter::successors(Some(pid), |pid| stat(*pid).map(|stat| stat.parent));
        parents.take_while(|pid| *pid > 1).any(|pid| {
            let line = command_line(Path::new(&format!("/proc/{pid}")));
            line.contains("cluster-init") && !line.contains(&own)
        })
    };
    let pid = |at: &PathBuf| at.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    names(Path::new("/proc")).into_iter().filter(|at| pid(at).is_some_and(|pid| !of_another(pid))).collect()
}

fn own_cache() -> (tempfile::TempDir, Cache) {
    let shared = Cache::from_environment().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(shared.tools(), folder.path().join("tools")).unwrap();
    let cache = Cache::at(folder.path()).unwrap();
    (folder, cache)
}

fn testkit(cache: &Cache, arguments: &[&str]) -> Command {
    let mut command = Command::new(TESTKIT);
    command.args(arguments).env("MODELGATE_CACHE", cache.root()).stdout(Stdio::null());
    command
}

fn kill_hard(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}

fn down(cache: &Cache) {
    assert!(testkit(cache, &["cluster", "down"]).status().unwrap().success(), "down must succeed");
}

fn up(cache: &Cache) -> Cluster {
    let options = Options { testkit: Some(TESTKIT.into()), ..Options::default() };
    Cluster::up(cache, &options).expect("the cluster starts")
}

fn run_a_pod(cluster: &Cluster) {
    wait_until(LIMIT, "a pod is accepted", || {
        cluster
            .apply(&format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: still, namespace: default}}, spec: {{containers: \
                 [{{name: pause, image: '{PAUSE_IMAGE}', imagePullPolicy: Never, resources: {{limits: {{nvidia.com/gpu: 1}}}}}}]}}}}"
            ))
            .map(|_| ())
    })
    .unwrap();
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", "pod/still"]).expect("the pod runs");
}

#[test]
fn a_cluster_with_a_running_pod_leaves_nothing_however_it_ends() {
    let (_folder, cache) = own_cache();
    let before = Machine::look(&cache);

    let cluster = up(&cache);
    run_a_pod(&cluster);
    assert!(
        !Machine::look(&cache).since(&before).is_empty(),
        "a running cluster must be visible, or this test sees nothing"
    );
    cluster.down().unwrap();
    assert_nothing_new(&before, &cache, "after an orderly end");

    let cluster = up(&cache);
    run_a_pod(&cluster);
    let state = cluster.state().clone();
    drop(cluster);
    kill_hard(state.init.unwrap().pid);
    kill_hard(state.relay.unwrap().pid);
    down(&cache);
    assert_nothing_new(&before, &cache, "after a kill of the cluster's first process");
}

#[test]
fn a_runner_killed_while_it_starts_a_cluster_is_cleaned_up_by_the_next_start() {
    let (_folder, cache) = own_cache();
    let before = Machine::look(&cache);
    let mut runner: Child = testkit(&cache, &["cluster", "up", "--api-port", "0"]).spawn().unwrap();
    wait_until(LIMIT, "the first process runs", || {
        let state = State::load(&cache)?.ok_or_else(|| anyhow::anyhow!("no record yet"))?;
        anyhow::ensure!(state.init.is_some() && !state.complete, "not started yet");
        Ok(())
    })
    .unwrap();
    runner.kill().unwrap();
    runner.wait().unwrap();
    let left = State::load(&cache).unwrap().unwrap();
    assert!(
        left.init.unwrap().is_alive(),
        "the cluster outlives its runner, which is what is to be cleaned up"
    );

    let next = up(&cache);
    assert_ne!(next.state().id, left.id, "a half-started cluster is not taken over");
    assert!(!left.init.unwrap().is_alive());
    next.down().unwrap();
    assert_nothing_new(&before, &cache, "after a killed start");
}

#[test]
fn down_without_a_cluster_says_so_and_a_running_one_is_reused() {
    let (_folder, cache) = own_cache();
    down(&cache);
    let first = up(&cache);
    let second = up(&cache);
    assert_eq!(first.state().id, second.state().id);
    second.down().unwrap();
}
