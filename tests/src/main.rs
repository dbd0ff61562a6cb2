//! `testkit`: the local cluster and the main job, from a terminal or from `make`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use testkit::cache::Cache;
use testkit::cluster::{Cluster, Options, images, init, node_agent};
use testkit::command::{catch_interrupts, was_interrupted};
use testkit::progress::say;
use testkit::relay::{self, Forward, check_port};
use testkit::tools::Tools;
use testkit::{model, preflight, run as main_job};

/// Local cluster and end-to-end runner of Modelgate.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The main job: resources applied on a local cluster, pods ready, a completion, Prometheus targets up.
    Run(main_job::Options),
    /// Say what the local cluster needs of this machine and what is missing; change nothing.
    Preflight,
    /// The programs that the cluster is made of.
    #[command(subcommand)]
    Tools(ToolsTask),
    /// Fetch the small model into the cache and print its path.
    Model,
    /// Write our images as archives that `docker load` and `ctr images import` take, from built programs.
    Images {
        /// Folder of the programs.
        #[arg(long, default_value = "target/release")]
        binaries: PathBuf,
        /// Folder for the archives.
        #[arg(long)]
        output: PathBuf,
    },
    /// The local cluster by itself.
    #[command(subcommand)]
    Cluster(ClusterTask),
    /// Empty the cache folder: built tools, model, logs. Stops a running cluster first.
    CleanCache,
    #[command(hide = true)]
    ClusterInit { spec: PathBuf },
    #[command(hide = true)]
    ClusterRelay {
        #[arg(long)]
        socket: PathBuf,
    },
    #[command(hide = true)]
    ClusterForward {
        #[arg(long)]
        socket: PathBuf,
        #[arg(long)]
        port: u16,
        #[arg(long)]
        target: String,
    },
    #[command(hide = true)]
    ClusterNodeAgent {
        #[arg(long)]
        kubectl: PathBuf,
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long)]
        gpus: u32,
    },
}

#[derive(Subcommand)]
enum ToolsTask {
    /// Build what is missing and fetch the small model.
    Build {
        /// Keep Go's module and build caches (several GiB) for the next build.
        #[arg(long, env = "MODELGATE_KEEP_BUILD_CACHE", value_parser = clap::builder::BoolishValueParser::new(), default_value = "false", num_args = 0..=1, default_missing_value = "true")]
        keep_build_cache: bool,
    },
    /// Run one of them, such as helm or kubectl, with the arguments that follow.
    Run {
        program: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Subcommand)]
enum ClusterTask {
    /// Start the cluster and leave it running, or say that it runs.
    Up {
        /// Loopback port of the API server; 0 takes any free one.
        #[arg(long, env = "API_PORT", default_value_t = 6443)]
        api_port: u16,
        /// Also install the Prometheus Operator and a Prometheus.
        #[arg(long)]
        monitoring: bool,
    },
    /// Stop the cluster and remove everything it made, also after a kill.
    Down,
    /// Say what runs and how it is.
    Status,
    /// Run a command inside the cluster's namespaces, as root on the node.
    Exec {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if was_interrupted() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::ClusterInit { spec } => return init::run(&spec),
        Task::ClusterRelay { socket } => {
            relay::serve(&socket)?;
            park()
        }
        Task::ClusterForward { socket, port, target } => {
            let _forward = Forward::open(port, &socket, &target)?;
            park()
        }
        Task::ClusterNodeAgent { kubectl, kubeconfig, gpus } => node_agent::run(&kubectl, &kubeconfig, gpus),
        _ => {}
    }
    catch_interrupts()?;
    let cache = Cache::from_environment()?;
    match task {
        Task::Run(options) => main_job::run(&cache, &options),
        Task::Preflight => {
            let report = preflight::inspect(&cache)?;
            report.print(&cache);
            if report.refusals.is_empty() { Ok(()) } else { bail!("something is in the way") }
        }
        Task::Tools(ToolsTask::Build { keep_build_cache }) => build_tools(&cache, keep_build_cache),
        Task::Tools(ToolsTask::Run { program, arguments }) => {
            let program = Tools::locate(&cache)?.find(&program)?;
            // Returns only if it could not be started.
            Err(Command::new(&program).args(arguments).exec())
                .with_context(|| format!("cannot start {}", program.display()))
        }
        Task::Images { binaries, output } => write_images(&binaries, &output),
        Task::Model => {
            let file = model::fetch(&cache)?;
            say(&file.display().to_string());
            Ok(())
        }
        Task::Cluster(task) => cluster(&cache, task),
        Task::CleanCache => {
            Cluster::down_recorded(&cache)?;
            cache.clean()
        }
        _ => Ok(()),
    }
}

/// One archive for each image, named after it.
fn write_images(binaries: &Path, output: &Path) -> Result<()> {
    for image in images::product(binaries) {
        let name = image.reference.rsplit('/').next().unwrap_or_default().replace(':', "-");
        let archive = output.join(format!("{name}.tar"));
        image.write(&archive).with_context(|| format!("image {}", image.reference))?;
        say(&format!("{}  {}", archive.display(), image.reference));
    }
    Ok(())
}

fn build_tools(cache: &Cache, keep: bool) -> Result<()> {
    let report = preflight::inspect(cache)?;
    report.print(cache);
    report.satisfy(cache)?;
    Tools::locate(cache)?.build(keep)?;
    model::fetch(cache).map(|_| ())
}

fn cluster(cache: &Cache, task: ClusterTask) -> Result<()> {
    match task {
        ClusterTask::Up { api_port, monitoring } => up(cache, api_port, monitoring),
        ClusterTask::Down => {
            let there = Cluster::down_recorded(cache)?;
            say(if there { "The cluster is removed." } else { "There was no cluster." });
            Ok(())
        }
        ClusterTask::Status => status(cache),
        ClusterTask::Exec { command } => {
            let cluster = attached(cache)?;
            let (program, arguments) = command.split_first().context("a command is needed")?;
            // Returns only if the command could not be started.
            Err(cluster.exec(program).args(arguments).exec())
                .with_context(|| format!("cannot start {program}"))
        }
    }
}

fn up(cache: &Cache, api_port: u16, monitoring: bool) -> Result<()> {
    if let Some(running) = Cluster::attach(cache)? {
        say(&format!("A cluster runs already ({}).", running.state().id));
    } else {
        check_port(api_port, "the API server", "--api-port", "API_PORT")?;
        let report = preflight::inspect(cache)?;
        report.print(cache);
        report.satisfy(cache)?;
        Tools::locate(cache)?.build(true)?;
    }
    let cluster = Cluster::up(cache, &Options { api_port, ..Options::default() })?;
    if monitoring {
        cluster.install_monitoring()?;
    }
    say(&format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
    Ok(())
}

fn attached(cache: &Cache) -> Result<Cluster> {
    Cluster::attach(cache)?.context("no cluster runs: start one with `make cluster-up`")
}

fn status(cache: &Cache) -> Result<()> {
    let cluster = attached(cache)?;
    say(&format!("cluster {} at {}", cluster.state().id, cluster.api_url()));
    say(&format!("logs in {}", cluster.layout().at("logs").display()));
    for part in cluster.components()? {
        let how = match (part.pid, part.ends) {
            (Some(pid), 0) => format!("runs, process {pid}"),
            (Some(pid), ends) => format!("runs, process {pid}; ended {ends} times, last: {}", part.last_end),
            (None, ends) => format!("does not run; ended {ends} times, last: {}", part.last_end),
        };
        say(&format!("  {:<24} {how}", part.name));
    }
    say(&cluster.kubectl(&["get", "nodes,pods", "--all-namespaces"])?);
    Ok(())
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}
