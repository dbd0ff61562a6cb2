//! A real one-node Kubernetes on this machine, in namespaces of its own.
//!
//! `up` writes configuration and certificates, then starts one process under `unshare` that runs everything
//! else (`init`). Nothing of it can outlive that process except cgroups and files, and those are recorded in
//! the state file before they are made.

pub mod certs;
pub mod components;
pub mod config;
pub mod images;
pub mod init;
pub mod layout;
pub mod monitoring;
pub mod namespace;
pub mod node_agent;
pub mod product;
pub mod remnants;
pub mod start;
pub mod state;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::layout::Layout;
use self::state::{Process, State};
use crate::cache::Cache;
use crate::command::{begin_cleanup, output};
use crate::relay::Forward;
use crate::tools::{HELM, KUBERNETES, Tools};

const KUBECTL_LIMIT: Duration = Duration::from_secs(120);

/// How to start a cluster.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Loopback port of the API server; 0 takes any free one.
    pub api_port: u16,
    /// The cluster ends up a remnant, to be removed by the next start, when the calling process has gone.
    pub owned: bool,
    /// The `testkit` program; found beside the calling one if not given.
    pub testkit: Option<PathBuf>,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    cache: Cache,
    layout: Layout,
    state: State,
    tools: Tools,
}

impl Cluster {
    /// Uses the cluster that runs, or starts one after removing what a killed runner left.
    ///
    /// # Errors
    /// When a step fails; what was started until then is removed again.
    pub fn up(cache: &Cache, options: &Options) -> Result<Self> {
        if let Some(running) = Self::attach(cache)? {
            return Ok(running);
        }
        let _lock = state::lock(cache)?;
        if let Some(state) = State::load(cache)? {
            crate::progress::step("remove what an earlier run left", || remnants::remove(cache, &state))?;
        }
        start::start(cache, options)
    }

    /// The cluster that runs, if one does.
    ///
    /// # Errors
    /// When its record or its tools cannot be read.
    pub fn attach(cache: &Cache) -> Result<Option<Self>> {
        match State::load(cache)? {
            Some(state) if state.is_running() => {
                let layout = Layout::new(cache, &state.id);
                let mut cluster = Self { cache: cache.clone(), layout, state, tools: Tools::locate(cache)? };
                cluster.ensure_relay(None)?;
                Ok(Some(cluster))
            }
            _ => Ok(None),
        }
    }

    /// Removes the cluster that the cache records, running or not. True if there was one.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub fn down_recorded(cache: &Cache) -> Result<bool> {
        begin_cleanup();
        if !cache.cluster().exists() {
            return Ok(false);
        }
        let _lock = state::lock(cache)?;
        match State::load(cache)? {
            Some(state) => remnants::remove(cache, &state).map(|()| true),
            None => Ok(false),
        }
    }

    /// Stops and removes this cluster.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub fn down(self) -> Result<()> {
        begin_cleanup();
        let _lock = state::lock(&self.cache)?;
        remnants::remove(&self.cache, &self.state)
    }

    /// The administrator's client configuration, for programs on the host.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.cache.cluster().join("kubeconfig")
    }

    /// Every write to the API server since the start: one `audit.k8s.io/v1` event of level Metadata a line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.layout.audit_log()
    }

    /// Paths of its files and logs.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its record.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The tools it was built from.
    #[must_use]
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// `https://127.0.0.1:PORT` of the API server.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.state.api_port)
    }

    /// `kubectl` with the administrator's configuration, to be completed by the caller.
    ///
    /// # Errors
    /// When Kubernetes is not built.
    pub fn kubectl_command(&self) -> Result<Command> {
        let mut command = Command::new(self.tools.program(&KUBERNETES, "kubectl")?);
        command.arg("--kubeconfig").arg(self.kubeconfig()).env_remove("KUBECONFIG");
        Ok(command)
    }

    /// Runs `kubectl` and returns what it prints.
    ///
    /// # Errors
    /// When it fails; the message holds what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.kubectl_command()?.args(arguments), None, KUBECTL_LIMIT)
    }

    /// Server-side apply of manifests in YAML, as field manager `testkit`.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let mut command = self.kubectl_command()?;
        command.args(["apply", "--server-side", "--field-manager=testkit", "--filename=-"]);
        output(&mut command, Some(yaml), KUBECTL_LIMIT)
    }

    /// Runs `helm` against this cluster and returns what it prints.
    ///
    /// # Errors
    /// When it fails; the message holds what it said.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let home = self.layout.at("helm");
        let mut command = Command::new(self.tools.program(&HELM, "helm")?);
        command
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"));
        output(&mut command, None, Duration::from_secs(300))
    }

    /// A command that runs inside the cluster's namespaces, as root on the node.
    #[must_use]
    pub fn exec(&self, program: &str) -> Command {
        let init = self.state.init.map_or(0, |init| init.pid);
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={init}")).args(["--pid", "--mount", "--net", "--uts", "--", program]);
        command
    }

    /// Publishes `host:port` of the cluster on a loopback port (0: any free one) for as long as the result
    /// lives. Names are looked up in the cluster: `modelgate.default.svc.cluster.local:5000`.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn forward(&self, target: &str, port: u16) -> Result<Forward> {
        Forward::open(port, &self.layout.relay_socket(), target)
    }

    /// How each component is, as the first process last wrote it.
    ///
    /// # Errors
    /// When it has not written anything yet.
    pub fn components(&self) -> Result<Vec<init::Status>> {
        components_of(&self.layout)
    }

    /// Starts the process that publishes the API server, if it does not run.
    fn ensure_relay(&mut self, testkit: Option<&Path>) -> Result<()> {
        if self.state.relay.is_some_and(Process::is_alive) {
            return Ok(());
        }
        let testkit = testkit_program(testkit)?;
        let mut command = Command::new("setsid");
        command
            .arg(testkit)
            .args(["cluster-forward", "--target", "192.168.77.10:6443"])
            .arg(format!("--port={}", self.state.api_port))
            .arg("--socket")
            .arg(self.layout.relay_socket());
        self.state.relay = Some(start::detach(&mut command, &self.layout.log("api-forward"))?);
        self.state.save(&self.cache)
    }
}

fn components_of(layout: &Layout) -> Result<Vec<init::Status>> {
    let file = layout.status();
    let text = std::fs::read_to_string(&file).with_context(|| format!("no {} yet", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot understand {}", file.display()))
}

/// The `testkit` program: the one given, the calling one, or the one in the folder above a test's.
fn testkit_program(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_path_buf());
    }
    let me = std::env::current_exe().context("cannot find the running program")?;
    let beside = me.ancestors().skip(1).take(2).map(|folder| folder.join("testkit"));
    match beside.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("no testkit program near {}: run `cargo build -p testkit`", me.display()),
    }
}
