//! The main job without Kubernetes: an engine, a gateway and a Prometheus as plain processes.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Options, show};
use crate::cache::{Cache, repository};
use crate::command::{Hopeless, interrupted, pause, read_this, wait_until};
use crate::instruments::http::{Connection, Request};
use crate::model;
use crate::progress::{say, step};
use crate::tools::{PROMETHEUS, Tools};

const START_LIMIT: Duration = Duration::from_secs(180);

/// Does it, and ends every process at the end.
pub fn run(cache: &Cache, options: &Options) -> Result<()> {
    let tools = Tools::locate(cache)?;
    tools.build_one(&PROMETHEUS)?;
    let file = match &options.model {
        Some(file) => file.clone(),
        None => model::fetch(cache)?,
    };
    let binaries = options.programs(cache, &["modelgate-gateway", "modelgate-engine"])?;
    let data = tempfile::Builder::new().prefix("modelgate-standalone-").tempdir()?;
    let mut processes = Processes { running: Vec::new(), logs: cache.logs() };

    let (engine, metrics) = (free_address()?, free_address()?);
    let gateway = fixed_or_free(options.gateway_port)?;
    let prometheus = fixed_or_free(options.prometheus_port)?;
    step("start the engine", || start_engine(&mut processes, &binaries, &file, engine))?;
    step("start the gateway", || start_gateway(&mut processes, &binaries, engine, gateway, metrics))?;
    step("start Prometheus", || {
        let program = tools.program(&PROMETHEUS, "prometheus")?;
        start_prometheus(
            &mut processes,
            &program,
            data.path(),
            prometheus,
            &[("gateway", metrics), ("engine", engine)],
        )
    })?;
    show::completion(gateway, options.model.is_none())?;
    show::targets(prometheus, &["gateway", "engine"])?;
    let url = format!("http://{gateway}");
    say(&format!("\n  gateway      {url}\n  Prometheus   http://{prometheus}\n\n  {}\n", show::curl(&url)));
    if options.once {
        return Ok(());
    }
    say("It stays up until Ctrl-C.");
    while !interrupted() {
        processes.check()?;
        let _ = pause(Duration::from_secs(1));
    }
    Ok(())
}

/// The processes of this run; ended when dropped.
struct Processes {
    running: Vec<(String, Child)>,
    logs: PathBuf,
}

impl Processes {
    fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = self.log(name);
        std::fs::create_dir_all(&self.logs)?;
        let file: File = OpenOptions::new().create(true).write(true).truncate(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start the {name}"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("standalone-{name}.log"))
    }

    /// Says which process has ended, if one has.
    fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                let log = self.logs.join(format!("standalone-{name}.log"));
                return Err(Hopeless(format!("the {name} ended with {status}; {}", read_this(&log))).into());
            }
        }
        Ok(())
    }

    fn await_answer(&mut self, name: &str, address: SocketAddr, path: &str) -> Result<()> {
        let log = self.log(name);
        wait_until(START_LIMIT, &format!("the {name} answers"), || {
            self.check()?;
            let answer = Connection::to(address, Duration::from_secs(5)).send(&Request::get(path))?;
            if answer.status == 200 { Ok(()) } else { bail!("{path} answered {}", answer.status) }
        })
        .with_context(|| read_this(&log))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        use nix::sys::signal::{Signal, kill};
        use nix::unistd::Pid;
        for (_, child) in &self.running {
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)), Signal::SIGTERM);
        }
        for (_, child) in &mut self.running {
            for _ in 0..250 {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start_engine(all: &mut Processes, binaries: &Path, file: &Path, listen: SocketAddr) -> Result<()> {
    let mut command = Command::new(binaries.join("modelgate-engine"));
    command
        .args(["serve", "--model"])
        .arg(file)
        .arg(format!("--model-name={BACKEND}"))
        .arg(format!("--listen={listen}"));
    all.start("engine", &mut command)?;
    all.await_answer("engine", listen, "/health")
}

fn start_gateway(
    all: &mut Processes,
    binaries: &Path,
    engine: SocketAddr,
    listen: SocketAddr,
    metrics: SocketAddr,
) -> Result<()> {
    let control = free_address()?;
    let mut command = Command::new(binaries.join("modelgate-gateway"));
    command
        .arg("--config")
        .arg(repository().join("examples/standalone.yaml"))
        .arg(format!("--listen={listen}"))
        .arg(format!("--metrics-listen={metrics}"))
        .arg(format!("--control-listen={control}"))
        .arg(format!("--debug-listen={}", free_address()?))
        // Nobody else uses it, so it need not wait for a load balancer to notice its end.
        .arg("--drain-grace=0s")
        .arg(format!("--endpoint={BACKEND}=http://{engine}/v1"));
    all.start("gateway", &mut command)?;
    all.await_answer("gateway", control, "/readyz")
}

/// Name of the backend of `examples/standalone.yaml`, and of its model.
const BACKEND: &str = "local-model";

fn start_prometheus(
    all: &mut Processes,
    program: &Path,
    data: &Path,
    listen: SocketAddr,
    targets: &[(&str, SocketAddr)],
) -> Result<()> {
    let config = data.join("prometheus.yaml");
    let jobs: String = targets
        .iter()
        .map(|(job, address)| {
            format!("- {{job_name: {job}, static_configs: [{{targets: ['{address}']}}]}}\n")
        })
        .collect();
    std::fs::write(&config, format!("global: {{scrape_interval: 2s}}\nscrape_configs:\n{jobs}"))?;
    let mut command = Command::new(program);
    command
        .current_dir(data)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.join("data").display()))
        .arg(format!("--web.listen-address={listen}"));
    all.start("prometheus", &mut command)?;
    all.await_answer("prometheus", listen, "/-/ready")
}

fn free_address() -> Result<SocketAddr> {
    fixed_or_free(0)
}

fn fixed_or_free(port: u16) -> Result<SocketAddr> {
    if port != 0 {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    listener.local_addr().context("no free port on loopback")
}
