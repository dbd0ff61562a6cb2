//! Command line and environment → [`Settings`], all checked before anything is started.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use clap::{Args as ClapArgs, Parser, Subcommand};
use modelgate_api::names::DEFAULT_CLUSTER_DOMAIN;

use crate::telemetry::LogFormat;

/// Reconciles ModelBackend and ModelGateway.
#[derive(Debug, Parser)]
#[command(name = "modelgate-operator", version, about)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
}

/// Flags of `run`; each has an environment variable of the same name with the prefix MODELGATE_.
#[derive(Clone, Debug, ClapArgs)]
pub struct RunArgs {
    /// Address of /metrics.
    #[arg(long, env = "MODELGATE_METRICS_LISTEN", default_value = "0.0.0.0:8080")]
    pub metrics_listen: SocketAddr,
    /// Address of /livez and /readyz.
    #[arg(long, env = "MODELGATE_HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    pub health_listen: SocketAddr,
    /// Take the Lease before reconciling; with false several operators would write at once.
    #[arg(long, env = "MODELGATE_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Namespace of the Lease; absent means the operator's own.
    #[arg(long, env = "MODELGATE_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name of the Lease.
    #[arg(long, env = "MODELGATE_LEASE_NAME", default_value = "modelgate-operator")]
    pub lease_name: String,
    /// Name under which this process holds the Lease; absent means the host name and the process id.
    #[arg(long, env = "MODELGATE_IDENTITY")]
    pub identity: Option<String>,
    /// Namespaces to watch, separated by commas; absent means all.
    #[arg(long, env = "MODELGATE_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Image of gateway pods.
    #[arg(long, env = "MODELGATE_GATEWAY_IMAGE", default_value = concat!("ghcr.io/modelgate/gateway:", env!("CARGO_PKG_VERSION")))]
    pub gateway_image: String,
    /// Image of Embedded engine pods.
    #[arg(long, env = "MODELGATE_ENGINE_IMAGE", default_value = concat!("ghcr.io/modelgate/engine:", env!("CARGO_PKG_VERSION")))]
    pub engine_image: String,
    /// Image of VLLM pods.
    #[arg(long, env = "MODELGATE_VLLM_IMAGE", default_value = "vllm/vllm-openai:v0.11.0")]
    pub vllm_image: String,
    /// Image of SGLang pods.
    #[arg(long, env = "MODELGATE_SGLANG_IMAGE", default_value = "lmsysorg/sglang:v0.5.5")]
    pub sglang_image: String,
    /// Image of TGI pods.
    #[arg(
        long,
        env = "MODELGATE_TGI_IMAGE",
        default_value = "ghcr.io/huggingface/text-generation-inference:3.3.6"
    )]
    pub tgi_image: String,
    /// Image of LlamaCpp pods without GPUs.
    #[arg(long, env = "MODELGATE_LLAMA_CPP_IMAGE", default_value = "ghcr.io/ggml-org/llama.cpp:server")]
    pub llama_cpp_image: String,
    /// Image of LlamaCpp pods with GPUs.
    #[arg(
        long,
        env = "MODELGATE_LLAMA_CPP_CUDA_IMAGE",
        default_value = "ghcr.io/ggml-org/llama.cpp:server-cuda"
    )]
    pub llama_cpp_cuda_image: String,
    /// Image of Triton pods.
    #[arg(
        long,
        env = "MODELGATE_TRITON_IMAGE",
        default_value = "nvcr.io/nvidia/tritonserver:25.10-trtllm-python-py3"
    )]
    pub triton_image: String,
    /// imagePullPolicy of all pods: Always, IfNotPresent or Never.
    #[arg(long, env = "MODELGATE_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub image_pull_policy: String,
    /// DNS domain of the cluster.
    #[arg(long, env = "MODELGATE_CLUSTER_DOMAIN", default_value = DEFAULT_CLUSTER_DOMAIN)]
    pub cluster_domain: String,
    /// Labels put on ServiceMonitors in mode Auto, such as those that the cluster's Prometheus selects by: k=v,k=v.
    #[arg(long, env = "MODELGATE_MONITOR_LABELS", value_delimiter = ',')]
    pub monitor_labels: Vec<String>,
    /// Namespaces of the Prometheus pods that NetworkPolicies admit, separated by commas; absent means any.
    #[arg(long, env = "MODELGATE_PROMETHEUS_NAMESPACES", value_delimiter = ',')]
    pub prometheus_namespaces: Vec<String>,
    /// Labels of the Prometheus pods that NetworkPolicies admit: k=v,k=v.
    #[arg(
        long,
        env = "MODELGATE_PROMETHEUS_LABELS",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/name=prometheus"
    )]
    pub prometheus_labels: Vec<String>,
    /// Environment of every gateway pod, such as HTTPS_PROXY and NO_PROXY: NAME=VALUE, again for more, a line each in the variable.
    #[arg(long, env = "MODELGATE_GATEWAY_ENV", value_delimiter = '\n')]
    pub gateway_env: Vec<String>,
    /// Page size of lists.
    #[arg(long, env = "MODELGATE_LIST_PAGE_SIZE", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub list_page_size: u32,
    /// Start watches by a streamed list (WatchList) instead of pages.
    #[arg(long, env = "MODELGATE_STREAMING_LISTS", default_value_t = false, action = clap::ArgAction::Set)]
    pub streaming_lists: bool,
    /// Log filter, such as info or modelgate_operator=debug.
    #[arg(long, env = "MODELGATE_LOG", default_value = "info")]
    pub log: String,
    /// How log lines look.
    #[arg(long, env = "MODELGATE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// What the operator runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of /metrics.
    pub metrics_listen: SocketAddr,
    /// Address of /livez and /readyz.
    pub health_listen: SocketAddr,
    /// Whether to take the Lease first.
    pub leader_elect: bool,
    /// Namespace of the Lease; absent means the client's own.
    pub lease_namespace: Option<String>,
    /// Name of the Lease.
    pub lease_name: String,
    /// Holder's name in the Lease.
    pub identity: String,
    /// Namespaces to watch; empty means all.
    pub watch_namespaces: Vec<String>,
    /// How watches list.
    pub lists: Lists,
    /// What the builders of children need.
    pub render: Render,
}

/// How watches list.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    /// Objects in a page.
    pub page_size: u32,
    /// Streamed lists instead of pages.
    pub streaming: bool,
}

/// The part of the settings that children depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Render {
    /// Image of gateway pods.
    pub gateway_image: String,
    /// Image of Embedded engine pods.
    pub engine_image: String,
    /// Image of VLLM pods.
    pub vllm_image: String,
    /// Image of SGLang pods.
    pub sglang_image: String,
    /// Image of TGI pods.
    pub tgi_image: String,
    /// Image of LlamaCpp pods without GPUs.
    pub llama_cpp_image: String,
    /// Image of LlamaCpp pods with GPUs.
    pub llama_cpp_cuda_image: String,
    /// Image of Triton pods.
    pub triton_image: String,
    /// imagePullPolicy of all pods.
    pub image_pull_policy: String,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Labels of ServiceMonitors in mode Auto.
    pub monitor_labels: BTreeMap<String, String>,
    /// Environment of gateway pods.
    pub gateway_env: BTreeMap<String, String>,
    /// Whom NetworkPolicies admit.
    pub admitted: Admitted,
}

/// Pods that NetworkPolicies admit beside gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// The operator's namespace; absent (it runs outside the cluster) means any.
    pub operator_namespace: Option<String>,
    /// Namespaces of Prometheus pods; empty means any.
    pub prometheus_namespaces: Vec<String>,
    /// Labels of Prometheus pods.
    pub prometheus_labels: BTreeMap<String, String>,
}

impl TryFrom<Box<RunArgs>> for Settings {
    type Error = anyhow::Error;

    fn try_from(args: Box<RunArgs>) -> anyhow::Result<Self> {
        // Destructured whole, so a flag that nobody uses is a warning.
        let RunArgs {
            metrics_listen,
            health_listen,
            leader_elect,
            lease_namespace,
            lease_name,
            identity,
            watch_namespaces,
            gateway_image,
            engine_image,
            vllm_image,
            sglang_image,
            tgi_image,
            llama_cpp_image,
            llama_cpp_cuda_image,
            triton_image,
            image_pull_policy,
            cluster_domain,
            monitor_labels,
            prometheus_namespaces,
            prometheus_labels,
            gateway_env,
            list_page_size,
            streaming_lists,
            log: _,
            log_format: _,
        } = *args;
        let identity = identity.filter(|name| !name.is_empty()).map_or_else(default_identity, Ok)?;
        let lease_namespace = lease_namespace.filter(|name| !name.is_empty());
        let admitted = Admitted {
            operator_namespace: lease_namespace.clone(),
            prometheus_namespaces: named(prometheus_namespaces),
            prometheus_labels: parse_labels("--prometheus-labels", &prometheus_labels)?,
        };
        Ok(Self {
            metrics_listen,
            health_listen,
            leader_elect,
            lease_namespace,
            lease_name,
            identity,
            watch_namespaces: named(watch_namespaces),
            lists: Lists { page_size: list_page_size, streaming: streaming_lists },
            render: Render {
                gateway_image,
                engine_image,
                vllm_image,
                sglang_image,
                tgi_image,
                llama_cpp_image,
                llama_cpp_cuda_image,
                triton_image,
                image_pull_policy,
                cluster_domain: cluster_domain.trim_matches('.').to_owned(),
                monitor_labels: parse_labels("--monitor-labels", &monitor_labels)?,
                admitted,
                gateway_env: parse_env(&gateway_env)?,
            },
        })
    }
}

/// Names of a list that an empty variable may have left one empty name in.
fn named(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

fn parse_env(lines: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let lines = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    let pair = |line: &str| match line.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        // The rest may hold a proxy's password.
        _ => bail!("--gateway-env: write NAME=VALUE"),
    };
    lines.map(pair).collect()
}

/// The pod's name (its host name) with the process id, so a restarted container is a new holder.
fn default_identity() -> anyhow::Result<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("read the host name; give --identity")?;
    Ok(format!("{}-{}", host.trim(), std::process::id()))
}

fn parse_labels(flag: &str, pairs: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for pair in pairs.iter().filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => labels.insert(key.to_owned(), value.to_owned()),
            _ => bail!("{flag}: \"{pair}\" is not key=value"),
        };
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[&str]) -> anyhow::Result<Settings> {
        let parsed = Args::try_parse_from(["modelgate-operator", "run"].iter().chain(flags))?;
        match parsed.command {
            Command::Run(run) => Settings::try_from(run),
            Command::Crd => bail!("not run"),
        }
    }

    #[test]
    fn defaults_watch_everything_under_the_lease() {
        let settings = settings(&[]).unwrap();
        assert!(settings.leader_elect);
        assert!(settings.watch_namespaces.is_empty());
        assert!(!settings.lists.streaming);
        assert_eq!(settings.render.cluster_domain, "cluster.local");
        assert!(settings.render.gateway_image.starts_with("ghcr.io/modelgate/gateway:"));
        assert!(!settings.identity.is_empty());
    }

    #[test]
    fn gateways_get_the_environment_that_lines_name() {
        let given =
            settings(&["--gateway-env", "NO_PROXY=.svc,10.0.0.0/8\nHTTPS_PROXY=http://u:p=x@proxy:3128\n"]);
        let given = given.unwrap().render.gateway_env;
        assert_eq!(given["NO_PROXY"], ".svc,10.0.0.0/8");
        assert_eq!(given["HTTPS_PROXY"], "http://u:p=x@proxy:3128");
        let refused = settings(&["--gateway-env", "http://u:secret@proxy"]).unwrap_err().to_string();
        assert!(refused.contains("NAME=VALUE") && !refused.contains("secret"), "{refused}");
    }

    #[test]
    fn lists_are_split_at_commas_and_labels_at_the_equals_sign() {
        let settings =
            settings(&["--watch-namespaces=a,b", "--monitor-labels=prometheus=main,team=ml"]).unwrap();
        assert_eq!(settings.watch_namespaces, ["a", "b"]);
        assert_eq!(settings.render.monitor_labels["team"], "ml");
    }

    #[test]
    fn a_wrong_flag_is_refused_by_name() {
        let error = settings(&["--monitor-labels=oops"]).unwrap_err().to_string();
        assert!(error.contains("--monitor-labels"), "{error}");
        let error = settings(&["--image-pull-policy=Sometimes"]).unwrap_err().to_string();
        assert!(error.contains("--image-pull-policy"), "{error}");
    }
}
