//! Starting a cluster: files, the namespaces' first process, and waiting until a pod could run.

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::layout::{DNS_SERVICE, FAKE_GPUS, Layout, NODE, NODE_ADDRESS};
use super::remnants::cgroup_hierarchies;
use super::state::{Process, State, stat};
use super::testkit_program;
use super::{Cluster, Options, certs, components, components_of, config, images, init, namespace, remnants};
use crate::cache::Cache;
use crate::command::{Hopeless, begin_cleanup, read_this, wait_until, was_interrupted};
use crate::progress::step;
use crate::tools::Tools;

const API_LIMIT: Duration = Duration::from_secs(120);
const NODE_LIMIT: Duration = Duration::from_secs(120);

/// Starts a cluster where none is recorded.
pub(super) fn start(cache: &Cache, options: &Options) -> Result<Cluster> {
    let tools = Tools::locate(cache)?;
    let id = random_id()?;
    let layout = Layout::new(cache, &id);
    let owner = if options.owned { Process::current() } else { None };
    let api_port = if options.api_port == 0 { free_port()? } else { options.api_port };
    let state = State::new(&id, &layout, owner, api_port);
    let mut cluster = Cluster { cache: cache.clone(), layout, state, tools };
    match bring_up(&mut cluster, options) {
        Ok(()) => Ok(cluster),
        Err(error) => {
            let error = with_failed_component(&cluster.layout, error);
            begin_cleanup();
            if !was_interrupted() {
                // The logs that the message names are worth more than a clean folder.
                cluster.keep_logs();
            }
            match remnants::remove(cache, &cluster.state) {
                Ok(()) => Err(error),
                Err(more) => Err(error.context(format!("and cleaning up failed: {more:#}"))),
            }
        }
    }
}

fn bring_up(cluster: &mut Cluster, options: &Options) -> Result<()> {
    let testkit = testkit_program(options.testkit.as_deref())?;
    step("write certificates and configuration", || write_files(cluster, &testkit))?;
    step("start the control plane", || {
        start_init(cluster, &testkit)?;
        cluster.ensure_relay(Some(&testkit))?;
        let kubeconfig = certs::admin_kubeconfig(&cluster.layout, cluster.state.api_port)?;
        certs::secret_file(&cluster.kubeconfig(), &kubeconfig)?;
        wait_until(API_LIMIT, "API server ready", || {
            check_components(&cluster.layout)?;
            cluster.kubectl(&["get", "--raw", "/readyz", "--request-timeout=5s"]).map(|_| ())
        })
    })?;
    step("start the node", || {
        wait_until(NODE_LIMIT, "base objects", || cluster.apply(&base_objects()).map(|_| ()))?;
        let pause = images::pause(&cluster.layout.at("images"))?;
        wait_until(NODE_LIMIT, "container store", || cluster.import(&pause))?;
        wait_until(NODE_LIMIT, "node ready", || {
            check_components(&cluster.layout)?;
            node_ready(cluster)
        })
    })?;
    cluster.state.complete = true;
    cluster.state.save(&cluster.cache)
}

fn write_files(cluster: &mut Cluster, testkit: &Path) -> Result<()> {
    let (layout, state) = (&cluster.layout, &mut cluster.state);
    for (over, _) in namespace::PRIVATE_FOLDERS {
        let over = Path::new(over);
        if !over.exists() {
            state.mount_points.push(over.to_path_buf());
        }
    }
    state.save(&cluster.cache)?;
    for folder in [layout.root(), &layout.at("logs"), layout.sockets()] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    for mount_point in &state.mount_points {
        std::fs::create_dir_all(mount_point)
            .with_context(|| format!("cannot create {}", mount_point.display()))?;
    }
    make_cgroups(&state.cgroup)?;
    certs::write(layout)?;
    config::write(layout, &state.cgroup, snapshotter(layout.root()))?;
    let spec = init::Spec {
        namespace: namespace::Spec::new(layout),
        components: components::all(layout, &cluster.tools, testkit)?,
        logs: layout.at("logs"),
        status: layout.status(),
    };
    std::fs::write(layout.init_spec(), serde_json::to_string_pretty(&spec)?)
        .context("cannot write the first process's instructions")
}

/// Containers' folders are stacked where the kernel can stack them on this disk, else copied.
fn snapshotter(root: &Path) -> &'static str {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = known.lines().any(|line| line.ends_with("\toverlay"));
    // An overlay cannot be the upper folder of another one, as in a container.
    let stacked = nix::sys::statfs::statfs(root)
        .is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC);
    if known && !stacked { "overlayfs" } else { "native" }
}

fn make_cgroups(name: &str) -> Result<()> {
    for hierarchy in cgroup_hierarchies() {
        let control = hierarchy.join("cgroup.subtree_control");
        if control.exists() && hierarchy.join("cgroup.controllers").exists() {
            // Version 2: children get only what their parent hands on. A hybrid tree has nothing to hand on.
            let available = std::fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
            for controller in available.split_whitespace() {
                let _ = std::fs::write(&control, format!("+{controller}"));
            }
        }
        let folder = hierarchy.join(name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make cgroup {}: the kernel must allow it", folder.display()))?;
    }
    Ok(())
}

fn start_init(cluster: &mut Cluster, testkit: &Path) -> Result<()> {
    let mut command = Command::new("setsid");
    command
        .args(["unshare", "--pid", "--mount", "--net", "--uts", "--fork", "--kill-child", "--mount-proc"])
        .arg("--")
        .arg(testkit)
        .arg("cluster-init")
        .arg(cluster.layout.init_spec());
    let log = cluster.layout.log("init");
    let parent = detach(&mut command, &log)?;
    cluster.state.parent = Some(parent);
    cluster.state.save(&cluster.cache)?;
    wait_until(Duration::from_secs(30), "namespaces", || {
        if !parent.is_alive() {
            bail!("the kernel or the first process refused; {}", read_this(&log));
        }
        if !cluster.layout.status().exists() {
            bail!("the first process is still preparing; {}", read_this(&log));
        }
        cluster.state.init = child_of(parent);
        cluster.state.init.map(|_| ()).context("the first process has gone")
    })
    .with_context(|| read_this(&log))?;
    cluster.state.save(&cluster.cache)
}

fn child_of(parent: Process) -> Option<Process> {
    let entries = std::fs::read_dir("/proc").ok()?;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent.pid))
        .and_then(Process::of)
}

/// Starts a process that outlives this one, its output in a log.
pub(super) fn detach(command: &mut Command, log: &Path) -> Result<Process> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    // `setsid` as a group's first process would fork and be another process than the one recorded.
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    Process::of(child.id()).ok_or_else(|| anyhow!("it ended at once; {}", read_this(log)))
}

/// A component that keeps ending will not come up by waiting.
fn check_components(layout: &Layout) -> Result<()> {
    for part in components_of(layout).unwrap_or_default() {
        if part.ends > 4 {
            let told = format!("{} ended {} times, last with {}", part.name, part.ends, part.last_end);
            return Err(Hopeless(told).into());
        }
    }
    Ok(())
}

fn with_failed_component(layout: &Layout, error: anyhow::Error) -> anyhow::Error {
    let parts = components_of(layout).unwrap_or_default();
    match parts.iter().filter(|part| part.ends > 0).max_by_key(|part| part.ends) {
        Some(part) => {
            let log = kept_logs(layout).join(format!("{}.log", part.name));
            let shown = read_this(&layout.log(&part.name))
                .replace(&layout.log(&part.name).to_string_lossy().into_owned(), &log.to_string_lossy());
            error.context(format!("{} ended ({}); {shown}", part.name, part.last_end))
        }
        None => error,
    }
}

fn kept_logs(layout: &Layout) -> PathBuf {
    layout.root().with_file_name("last-failure")
}

impl Cluster {
    /// Keeps the logs of components and pods in the cache when the cluster is removed after a failure.
    pub fn keep_logs(&self) {
        let kept = kept_logs(&self.layout);
        let _ = std::fs::remove_dir_all(&kept);
        if std::fs::rename(self.layout.at("logs"), &kept).is_ok() {
            // Not there yet if the first process did not come so far.
            let _ = std::fs::rename(self.layout.at("var-log/pods"), kept.join("pods"));
            crate::progress::say(&format!("  logs of components and pods: {}", kept.display()));
        }
    }
}

/// The name server's Service, and public read access to the issuer of service account tokens, as OIDC has it.
fn base_objects() -> String {
    include_str!("../../cluster/manifests/base.yaml")
        .replace("{dns_service}", DNS_SERVICE)
        .replace("{node_address}", NODE_ADDRESS)
        .replace("{node}", NODE)
}

fn node_ready(cluster: &Cluster) -> Result<()> {
    let path =
        r#"jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.allocatable.nvidia\.com/gpu}"#;
    let shown = cluster.kubectl(&["get", "node", NODE, "-o", path])?;
    if shown == format!("True {FAKE_GPUS}") {
        Ok(())
    } else {
        bail!("the node's Ready and GPUs are {shown:?}")
    }
}

fn random_id() -> Result<String> {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random numbers")?;
    Ok(random.chars().filter(char::is_ascii_hexdigit).take(6).collect())
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?;
    Ok(listener.local_addr()?.port())
}
