//! What is measured: the bare pass-through, HAProxy, our gateway with everything on, and sglang-router, each a process on
//! the gateways' core in front of the same model server.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::cache::Cache;
use testkit::command::wait_until;

use crate::gauge::spawn_on;
use crate::load::Target;
use crate::peers;

/// Cores of the machine that are used.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// What is measured.
    pub gateway: usize,
    /// Load and model server.
    pub load: usize,
}

/// A process that ends with its handle.
pub struct Process(Child);

impl Process {
    fn start(command: &Command, core: usize, cores: Cores) -> Result<Self> {
        // Ends with this process, even if that is killed, and keeps its id.
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        tied.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        tied.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(spawn_on(core, cores.load, &mut tied)?))
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone when it crashed, which the run has told.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// One of those that are measured.
pub struct Subject {
    pub name: &'static str,
    pub version: String,
    pub target: Target,
    pub process: Process,
    /// What else it needs to run.
    _beside: Option<Process>,
}

/// A loopback address that was free a moment ago.
pub fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The model server.
pub fn upstream(cores: Cores) -> Result<(Process, SocketAddr)> {
    let at = free()?;
    let process = Process::start(
        Command::new(std::env::current_exe()?).arg("upstream").arg(at.to_string()),
        cores.load,
        cores,
    )?;
    listens(at)?;
    Ok((process, at))
}

/// All of them, the floor first.
pub fn all(cache: &Cache, folder: &Path, to: SocketAddr, cores: Cores) -> Result<Vec<Subject>> {
    Ok(vec![
        floor(to, cores)?,
        haproxy(cache, folder, to, cores)?,
        ours(folder, to, cores)?,
        sglang_router(cache, to, cores)?,
    ])
}

fn floor(to: SocketAddr, cores: Cores) -> Result<Subject> {
    let at = free()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("floor").arg(at.to_string()).arg(to.to_string());
    let process = Process::start(&command, cores.gateway, cores)?;
    subject("floor", "hyper 1".into(), at, None, process, None)
}

fn haproxy(cache: &Cache, folder: &Path, to: SocketAddr, cores: Cores) -> Result<Subject> {
    let (peer, at) = (peers::haproxy(cache)?, free()?);
    let config = folder.join("haproxy.cfg");
    std::fs::write(
        &config,
        format!(
            "global\n  nbthread 1\n  maxconn 8192\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\nfrontend f\n  bind {at}\n  default_backend b\nbackend b\n  server s {to}\n"
        ),
    )?;
    let mut command = Command::new(&peer.program);
    command.arg("-db").arg("-f").arg(&config);
    if let Some(libraries) = &peer.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let process = Process::start(&command, cores.gateway, cores)?;
    subject("HAProxy", peer.version, at, None, process, None)
}

fn sglang_router(cache: &Cache, to: SocketAddr, cores: Cores) -> Result<Subject> {
    let (peer, at) = (peers::sglang_router(cache)?, free()?);
    let mut command = Command::new(&peer.program);
    command.args([
        "-m",
        "sglang_router.launch_router",
        "--host",
        "127.0.0.1",
        "--policy",
        "round_robin",
        "--log-level",
        "warn",
    ]);
    command.args(["--port", &at.port().to_string(), "--prometheus-port", &free()?.port().to_string()]);
    command.args(["--worker-urls", &format!("http://{to}")]);
    let process = Process::start(&command, cores.gateway, cores)?;
    subject("sglang-router", peer.version, at, None, process, None)
}

/// The gateway: tokens of an issuer checked, two limits counted, metrics, access log and usage records on.
fn ours(folder: &Path, to: SocketAddr, cores: Cores) -> Result<Subject> {
    let program = program()?;
    let (issuer, at) = (free()?, free()?);
    let keys = folder.join("issuer");
    let token = |more: &[&str]| {
        let mut command = Command::new(&program);
        command
            .arg("token")
            .arg("--issuer-dir")
            .arg(&keys)
            .arg("--issuer-listen")
            .arg(issuer.to_string())
            .args(more);
        command
    };
    let serving = Process::start(&token(&["--serve"]), cores.load, cores)?;
    listens(issuer)?;
    let bearer = testkit::command::output(&mut token(&[]), None, Duration::from_secs(20))?;
    let bearer = bearer.lines().next().context("no token was printed")?.trim().to_owned();
    let config = folder.join("gateway.yaml");
    std::fs::write(&config, manifest(to, issuer))?;
    let mut command = Command::new(&program);
    command.arg("--config").arg(&config).arg("--listen").arg(at.to_string());
    for listener in ["--metrics-listen", "--control-listen", "--debug-listen"] {
        command.args([listener, &free()?.to_string()]);
    }
    command.arg("--usage-log").arg(folder.join("usage.jsonl"));
    let process = Process::start(&command, cores.gateway, cores)?;
    let version =
        testkit::command::output(Command::new(&program).arg("--version"), None, Duration::from_secs(20))?;
    let version = version.split_whitespace().last().unwrap_or_default().to_owned();
    subject("Modelgate", version, at, Some(bearer), process, Some(serving))
}

fn manifest(to: SocketAddr, issuer: SocketAddr) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1
kind: ModelBackend
metadata: {{name: mock}}
spec:
  model: {{name: {model}, contextLength: 8192, fim: {{family: StarCoder2}}}}
  external: {{protocol: OpenAI, url: \"http://{to}/v1\"}}
---
apiVersion: modelgate.dev/v1alpha1
kind: ModelGateway
metadata: {{name: bench}}
spec:
  auth: {{oidc: [{{issuer: \"http://{issuer}\", audiences: [gitlab-code-suggestions]}}]}}
  limits:
  - {{name: requests, by: Subject, requestsPerMinute: 1000000, concurrent: 4000}}
  - {{name: tokens, by: Subject, tokensPerMinute: 1000000000}}
  routes:
  - name: all
    backends: [{{name: mock}}]
",
        model = crate::ask::MODEL
    )
}

fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("modelgate-gateway");
    if !program.is_file() {
        bail!("{} is not built: cargo build --release -p modelgate-gateway", program.display());
    }
    Ok(program)
}

fn subject(
    name: &'static str,
    version: String,
    at: SocketAddr,
    bearer: Option<String>,
    process: Process,
    beside: Option<Process>,
) -> Result<Subject> {
    listens(at).with_context(|| format!("{name} does not start"))?;
    let target = Target { at, bearer: bearer.map(Rc::from) };
    Ok(Subject { name, version, target, process, _beside: beside })
}

fn listens(at: SocketAddr) -> Result<()> {
    wait_until(Duration::from_secs(60), &format!("a listener on {at}"), || {
        std::net::TcpStream::connect(at).map(|_| ()).context("not yet")
    })
}
