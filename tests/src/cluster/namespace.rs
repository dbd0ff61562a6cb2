//! Mounts and network of the cluster's namespaces, prepared from the inside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, NODE, NODE_ADDRESS};
use crate::command::output;

/// Kernel settings that kubelet would otherwise write for the whole machine: it finds them as it wants them.
const KERNEL_SETTINGS: &[(&str, &str)] = &[
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Folders of the host that get a private one laid over, and the name of that under the cluster's root.
pub const PRIVATE_FOLDERS: &[(&str, &str)] =
    &[("/run", "run"), ("/var/log", "var-log"), ("/var/lib/cni", "var-lib-cni")];

/// What to mount and where.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    root: PathBuf,
    /// `/etc/resolv.conf`, or what it links to.
    resolver: PathBuf,
}

impl Spec {
    /// For the cluster with these paths.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        let resolver = Path::new("/etc/resolv.conf");
        Self {
            root: layout.root().to_path_buf(),
            resolver: resolver.canonicalize().unwrap_or_else(|_| resolver.to_path_buf()),
        }
    }
}

/// Makes the calling process's fresh namespaces fit for a node.
///
/// # Errors
/// When the kernel refuses a mount or an interface.
pub fn prepare(spec: &Spec) -> Result<()> {
    nix::unistd::sethostname(NODE).context("cannot set the host name")?;
    // Shared among the cluster's own containers, private towards the host: `unshare` cut that link.
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).context("cannot share mounts")?;
    kernel_settings(&spec.root)?;
    for (over, private) in PRIVATE_FOLDERS {
        let folder = spec.root.join(private);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        bind(&folder, Path::new(over))?;
    }
    resolver(spec)?;
    network()
}

fn resolver(spec: &Spec) -> Result<()> {
    let ours = spec.root.join("etc/resolv.conf");
    if spec.resolver.exists() {
        return bind(&ours, &spec.resolver);
    }
    // The link led into the host's /run, which is hidden now.
    if let Some(folder) = spec.resolver.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::copy(&ours, &spec.resolver).context("cannot write the resolver's configuration")?;
    Ok(())
}

fn kernel_settings(root: &Path) -> Result<()> {
    let folder = root.join("kernel-settings");
    std::fs::create_dir_all(&folder)?;
    for (name, value) in KERNEL_SETTINGS {
        let file = folder.join(name.replace('/', "."));
        std::fs::write(&file, format!("{value}\n"))?;
        let setting = Path::new("/proc/sys").join(name);
        if setting.exists() {
            bind(&file, &setting)?;
        }
    }
    Ok(())
}

fn bind(from: &Path, over: &Path) -> Result<()> {
    let none: Option<&str> = None;
    mount(Some(from), over, none, MsFlags::MS_BIND, none)
        .with_context(|| format!("cannot mount {} over {}", from.display(), over.display()))
}

/// One interface with a real address. It is an end of a pair whose other end nobody uses, because not every
/// kernel has the `dummy` device.
fn network() -> Result<()> {
    let address = format!("{NODE_ADDRESS}/24");
    let steps: &[&[&str]] = &[
        &["link", "set", "lo", "up"],
        &["link", "add", "eth0", "type", "veth", "peer", "name", "eth0-peer"],
        &["link", "set", "eth0-peer", "up"],
        &["link", "set", "eth0", "up"],
        &["address", "add", &address, "dev", "eth0"],
        &["route", "add", "default", "dev", "eth0"],
    ];
    for step in steps {
        output(Command::new("ip").args(*step), None, Duration::from_secs(20))?;
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1\n").context("cannot switch forwarding on")
}
