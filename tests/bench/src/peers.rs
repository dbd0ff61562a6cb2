//! The peers: HAProxy from Debian's package and sglang-router from PyPI, each fetched once into the cache folder, by
//! version, and run from there. Nothing is installed and nothing needs root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::cache::Cache;
use testkit::command::{output, run_logged};
use testkit::progress::step;

const SGLANG_ROUTER: &str = "0.3.2";
/// HAProxy and those of its libraries that a small system lacks.
const PACKAGES: [&str; 4] = ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"];
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// A program of another project.
pub struct Peer {
    pub program: PathBuf,
    /// Where its libraries are, where they are its own.
    pub libraries: Option<PathBuf>,
    pub version: String,
}

/// HAProxy as Debian packages it, in the version that its package lists name now.
pub fn haproxy(cache: &Cache) -> Result<Peer> {
    let short = Duration::from_secs(60);
    let policy = output(Command::new("apt-cache").args(["policy", "haproxy"]), None, short)?;
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    let version = version
        .filter(|version| *version != "(none)")
        .context("apt knows no haproxy: run `apt-get update`")?;
    let home = cache.tools().join("haproxy").join(version);
    if !home.is_dir() {
        step(&format!("fetch HAProxy {version}"), || {
            in_place(&home, |folder| {
                let mut download = Command::new("apt-get");
                download.arg("download").args(PACKAGES).current_dir(folder);
                run_logged(&mut download, &cache.logs().join("haproxy.log"), LIMIT)?;
                for entry in std::fs::read_dir(folder)?
                    .flatten()
                    .filter(|entry| entry.path().extension().is_some_and(|end| end == "deb"))
                {
                    output(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(folder), None, LIMIT)?;
                    std::fs::remove_file(entry.path())?;
                }
                Ok(())
            })
        })?;
    }
    let libraries = std::fs::read_dir(home.join("usr/lib"))?.flatten().map(|entry| entry.path());
    let libraries =
        libraries.filter(|path| path.is_dir()).find(|path| path.to_string_lossy().contains("-linux-"));
    Ok(Peer { program: home.join("usr/sbin/haproxy"), libraries, version: version.to_owned() })
}

/// sglang-router in a virtual environment of its own; its program is the environment's Python.
pub fn sglang_router(cache: &Cache) -> Result<Peer> {
    let home = cache.tools().join("sglang-router").join(SGLANG_ROUTER);
    if !home.is_dir() {
        step(&format!("fetch sglang-router {SGLANG_ROUTER}"), || {
            let log = cache.logs().join("sglang-router.log");
            // A virtual environment knows its own path, so it is made where it stays.
            let made = run_logged(Command::new("python3").args(["-m", "venv"]).arg(&home), &log, LIMIT)
                .and_then(|()| {
                    let mut install = Command::new(home.join("bin/pip"));
                    install.args(["install", "--quiet", "--disable-pip-version-check"]);
                    run_logged(install.arg(format!("sglang-router=={SGLANG_ROUTER}")), &log, LIMIT)
                });
            if made.is_err() {
                // Half an environment must not be taken for a whole one.
                let _absent = std::fs::remove_dir_all(&home);
            }
            made
        })?;
    }
    Ok(Peer { program: home.join("bin/python"), libraries: None, version: SGLANG_ROUTER.into() })
}

/// Makes a folder whole or not at all.
fn in_place(home: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = home.parent().context("a folder within the cache")?;
    std::fs::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    fill(staging.path())?;
    std::fs::rename(staging.keep(), home).with_context(|| format!("cannot write {}", home.display()))
}
