//! What a cluster needs of this machine, said before anything is built or started.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::{find_program, run_logged};
use crate::model;
use crate::progress::{say, step};
use crate::tools::Tools;

const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Go's module and build caches at their largest, while the tools are built.
const BUILD_GIB: u64 = 9;
/// Tools, model, release build of this checkout, and a running cluster.
const STAY_GIB: u64 = 8;

/// A program that must be there, and the Debian package that holds it.
const PROGRAMS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("conntrack", "conntrack"),
    ("openssl", "openssl"),
    ("redis-server", "redis-server"),
    ("cmake", "cmake"),
    ("cc", "gcc"),
    ("c++", "g++"),
    ("pkg-config", "pkg-config"),
];

/// Files of packages without a program of their own.
const FILES: &[(&str, &str)] = &[
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("/usr/include/clang-c/Index.h", "libclang-dev"),
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
];

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// Debian packages to install.
    pub packages: Vec<&'static str>,
    /// What stands in the way and cannot be installed, each with its remedy.
    pub refusals: Vec<String>,
    /// What will be built or fetched, with its cold time.
    pub work: Vec<String>,
    free_gib: u64,
    need_gib: u64,
}

/// Looks at the machine; changes nothing.
///
/// # Errors
/// When the tools' folders in this checkout cannot be read.
pub fn inspect(cache: &Cache) -> Result<Report> {
    let mut report = Report {
        packages: packages(),
        refusals: kernel_refusals(),
        work: Vec::new(),
        free_gib: 0,
        need_gib: STAY_GIB,
    };
    for (program, remedy) in [
        ("go", "install Go 1.26 or newer from https://go.dev/dl"),
        ("cargo", "install Rust from https://rustup.rs"),
        ("python3", "apt-get install python3 python3-pip"),
    ] {
        if find_program(program).is_none() {
            report.refusals.push(format!("{program} is missing: {remedy}"));
        }
    }
    if find_program("go").is_some() {
        let missing = Tools::locate(cache)?.missing()?;
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
            report.work.push(format!("build {} with Go: about 15 minutes on 2 cores", names.join(", ")));
            report.need_gib += BUILD_GIB;
        }
    }
    if !model::is_present(cache) {
        report.work.push("download a small language model with pip: 98 MB".to_owned());
        let has_pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
        if !has_pip.is_ok_and(|done| done.status.success()) {
            report.refusals.push("pip is missing: apt-get install python3-pip".to_owned());
        }
    }
    report
        .work
        .push("build this checkout with cargo: about 10 minutes on 2 cores if it is not built".to_owned());
    report.free_gib = free_gib(cache.root());
    if report.free_gib < report.need_gib {
        report.refusals.push(format!(
            "{} has {} GiB free, {} are needed: set MODELGATE_CACHE to a folder on a larger disk",
            cache.root().display(),
            report.free_gib,
            report.need_gib
        ));
    }
    Ok(report)
}

impl Report {
    /// Prints it.
    pub fn print(&self, cache: &Cache) {
        say("Needs: Linux with root, namespaces, veth, nftables and cgroups; no container engine.");
        let list = |all: &[&str]| if all.is_empty() { "nothing".to_owned() } else { all.join(" ") };
        say(&format!("  to install (apt):  {}", list(&self.packages)));
        for line in &self.work {
            say(&format!("  to do:             {line}"));
        }
        say(&format!(
            "  cache folder:      {} (needs {} GiB, {} free; `make clean-cache` empties it)",
            cache.root().display(),
            self.need_gib,
            self.free_gib
        ));
        for refusal in &self.refusals {
            say(&format!("  IN THE WAY:        {refusal}"));
        }
    }

    /// Installs the missing packages.
    ///
    /// # Errors
    /// When something cannot be installed, or stands in the way.
    pub fn satisfy(&self, cache: &Cache) -> Result<()> {
        if !self.refusals.is_empty() {
            bail!("this machine cannot run the local cluster yet: {}", self.refusals.join("; "));
        }
        if self.packages.is_empty() {
            return Ok(());
        }
        step(&format!("install {}", self.packages.join(" ")), || {
            let log = cache.logs().join("apt.log");
            let apt = |arguments: &[&str]| {
                let mut apt = Command::new("apt-get");
                apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
                run_logged(&mut apt, &log, INSTALL_LIMIT)
            };
            apt(&["update"]).context("the local cluster needs Debian packages")?;
            let mut install = vec!["install", "--yes", "--no-install-recommends"];
            install.extend(&self.packages);
            apt(&install)
        })
    }
}

fn packages() -> Vec<&'static str> {
    let programs = PROGRAMS.iter().filter(|(program, _)| find_program(program).is_none());
    let files = FILES.iter().filter(|(file, _)| !present(file));
    let mut packages: Vec<&str> = programs.chain(files).map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn present(file: &str) -> bool {
    // The header lies below a folder named by LLVM's version.
    let clang = || {
        let roots = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        roots.into_iter().any(|entry| {
            entry.file_name().to_string_lossy().starts_with("llvm-")
                && entry.path().join("include/clang-c/Index.h").exists()
        })
    };
    Path::new(file).exists() || (file.contains("clang-c") && clang())
}

/// What the kernel or the user's rights refuse.
#[must_use]
pub fn kernel_refusals() -> Vec<String> {
    let mut refusals = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        refusals.push("not root: namespaces, mounts and cgroups need it (sudo make run)".to_owned());
        return refusals;
    }
    let probe = "ip link add mg0 type veth peer name mg1 && nft list ruleset >/dev/null";
    let arguments =
        ["--pid", "--mount", "--net", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-c"];
    let have = ["unshare", "ip", "nft"].iter().all(|program| find_program(program).is_some());
    if have {
        match Command::new("unshare").args(arguments).arg(probe).output() {
            Ok(done) if done.status.success() => {}
            Ok(done) => refusals.push(format!(
                "the kernel refuses namespaces, veth or nftables: {}",
                String::from_utf8_lossy(&done.stderr).trim()
            )),
            Err(error) => refusals.push(format!("unshare does not run: {error}")),
        }
    }
    for hierarchy in crate::cluster::remnants::cgroup_hierarchies() {
        let folder = hierarchy.join(format!("modelgate-probe-{}", std::process::id()));
        match std::fs::create_dir(&folder) {
            Ok(()) => drop(std::fs::remove_dir(&folder)),
            Err(error) => refusals.push(format!("no cgroup can be made in {}: {error}", hierarchy.display())),
        }
    }
    refusals
}

fn free_gib(folder: &Path) -> u64 {
    let existing = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    nix::sys::statvfs::statvfs(existing)
        .map_or(0, |stat| stat.blocks_available() * stat.fragment_size() / (1 << 30))
}
