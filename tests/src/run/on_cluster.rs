//! The main job on the local cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{BINARIES, Options, show};
use crate::cache::{Cache, repository};
use crate::cluster::{Cluster, monitoring};
use crate::command::{interrupted, pause, wait_until, was_interrupted};
use crate::model;
use crate::preflight;
use crate::progress::{say, step};
use crate::relay::{Forward, check_port};
use crate::tools::Tools;

const READY_LIMIT: Duration = Duration::from_secs(240);

/// Does it, and removes the cluster at the end if it started it.
pub fn run(cache: &Cache, options: &Options) -> Result<()> {
    let running = Cluster::attach(cache)?;
    if running.is_none() {
        check_port(options.api_port, "the API server", "--api-port", "API_PORT")?;
    }
    let report = preflight::inspect(cache)?;
    report.print(cache);
    report.satisfy(cache)?;
    Tools::locate(cache)?.build(keep_build_cache())?;
    let small = model::fetch(cache)?;
    let file = options.model.clone().unwrap_or(small);
    let binaries = options.programs(cache, BINARIES)?;

    let ours = running.is_none();
    if !ours {
        say("A cluster runs already: it is used, and stays up at the end.");
    }
    let cluster = Cluster::up(
        cache,
        &crate::cluster::Options { api_port: options.api_port, owned: true, testkit: None },
    )?;
    let result = demonstrate(&cluster, options, &binaries, &file);
    if ours {
        if result.is_err() && !was_interrupted() {
            cluster.keep_logs();
        }
        step("remove the cluster", || cluster.down())?;
    }
    result
}

fn keep_build_cache() -> bool {
    std::env::var("MODELGATE_KEEP_BUILD_CACHE")
        .is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

fn demonstrate(cluster: &Cluster, options: &Options, binaries: &Path, file: &Path) -> Result<()> {
    cluster.begin_monitoring()?;
    cluster.install_product(binaries)?;
    let example = Example::read(cluster, &repository().join("examples/quickstart.yaml"))?;
    step("apply examples/quickstart.yaml", || {
        cluster.provide_model(&example, file)?;
        cluster.kubectl(&["apply", "--namespace", &example.namespace, "-f", &example.file.to_string_lossy()])
    })?;
    step("wait for ModelBackend and ModelGateway to be Ready", || cluster.wait_ready(&example))?;
    say(&format!("\n$ kubectl get modelbackends,modelgateways,pods --namespace {}", example.namespace));
    let shown =
        cluster.kubectl(&["get", "modelbackends,modelgateways,pods", "--namespace", &example.namespace])?;
    say(&shown);

    let service = format!("{}-gateway.{}.svc.cluster.local:5000", example.gateway, example.namespace);
    let gateway = cluster.forward(&service, options.gateway_port)?;
    let prometheus = cluster.forward(monitoring::PROMETHEUS_SERVICE, options.prometheus_port)?;
    show::completion(gateway.address(), options.model.is_none())?;
    cluster.await_monitoring()?;
    show::targets(prometheus.address(), &[&example.gateway, &example.backend])?;
    announce(cluster, &gateway, &prometheus);
    if options.once {
        return Ok(());
    }
    say("It stays up until Ctrl-C.");
    while !interrupted() {
        let _ = pause(Duration::from_secs(3600));
    }
    Ok(())
}

fn announce(cluster: &Cluster, gateway: &Forward, prometheus: &Forward) {
    say(&format!(
        "
  gateway      {}
  Prometheus   {}
  API server   {}

  export KUBECONFIG={}
  {}
",
        gateway.url(),
        prometheus.url(),
        cluster.api_url(),
        cluster.kubeconfig().display(),
        show::curl(&gateway.url()),
    ));
}

/// The manifests of the quickstart, as far as the cluster has to prepare for them.
#[derive(Debug)]
pub struct Example {
    /// The manifests.
    pub file: PathBuf,
    /// Where they are applied.
    pub namespace: String,
    /// Name of the ModelBackend.
    pub backend: String,
    /// Name of the ModelGateway.
    pub gateway: String,
    /// Path of the model file in the claim.
    pub path: String,
}

impl Example {
    /// Reads manifests with one ModelBackend, whose model lies in a claim, and one ModelGateway.
    ///
    /// # Errors
    /// When the file is not of that kind, or the resource definitions are not installed.
    pub fn read(cluster: &Cluster, file: &Path) -> Result<Self> {
        let shown = file.to_string_lossy();
        let text = cluster.kubectl(&["create", "--dry-run=client", "--output=json", "-f", &shown])?;
        // One JSON document per object, one after the other.
        let objects: Vec<Value> = serde_json::Deserializer::from_str(&text)
            .into_iter::<Value>()
            .collect::<Result<_, _>>()
            .context("kubectl did not print JSON")?;
        let objects: Vec<&Value> = objects
            .iter()
            .flat_map(|object| {
                object["items"].as_array().map_or_else(|| vec![object], |all| all.iter().collect())
            })
            .collect();
        let one = |kind: &str| {
            let found = objects.iter().find(|object| object["kind"] == kind);
            found.copied().with_context(|| format!("{shown} holds no {kind}"))
        };
        let text = |object: &Value, path: &str| {
            let found = object.pointer(path).and_then(Value::as_str);
            found.map(str::to_owned).with_context(|| format!("{shown}: nothing at {path}"))
        };
        let (backend, gateway) = (one("ModelBackend")?, one("ModelGateway")?);
        Ok(Self {
            file: file.to_path_buf(),
            namespace: text(backend, "/metadata/namespace").unwrap_or_else(|_| "default".to_owned()),
            backend: text(backend, "/metadata/name")?,
            gateway: text(gateway, "/metadata/name")?,
            path: text(backend, "/spec/model/source/pvc/path")?,
        })
    }
}

impl Cluster {
    /// Publishes the model file under the name that the example asks its claim for.
    ///
    /// # Errors
    /// When the file cannot be placed or the claim is refused.
    pub fn provide_model(&self, example: &Example, file: &Path) -> Result<()> {
        let folder = self.layout().at("models");
        let place = folder.join(example.path.trim_start_matches('/'));
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // A link costs nothing, but works only within one file system.
        if !place.exists() && std::fs::hard_link(file, &place).is_err() {
            std::fs::copy(file, &place).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        self.publish_models(&example.namespace, &folder)
    }

    /// Waits until both resources of the example are Ready.
    ///
    /// # Errors
    /// What their status says, when they are not in time or cannot be.
    pub fn wait_ready(&self, example: &Example) -> Result<()> {
        let names =
            [format!("modelbackend/{}", example.backend), format!("modelgateway/{}", example.gateway)];
        wait_until(READY_LIMIT, "Ready", || {
            for name in &names {
                let text =
                    self.kubectl(&["get", name, "--namespace", &example.namespace, "--output=json"])?;
                is_ready(&serde_json::from_str(&text)?).with_context(|| name.clone())?;
            }
            Ok(())
        })
        .with_context(|| format!("pods:\n{}", self.pods(&example.namespace)))
    }
}

fn is_ready(object: &Value) -> Result<()> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let current = object.pointer("/status/observedGeneration") == object.pointer("/metadata/generation");
    match ready {
        Some(condition) if current && condition["status"] == "True" => Ok(()),
        Some(condition) => bail!(
            "Ready is {} because of {}: {}",
            condition["status"].as_str().unwrap_or("?"),
            condition["reason"].as_str().unwrap_or("?"),
            condition["message"].as_str().unwrap_or_default(),
        ),
        None => bail!("it has no Ready condition yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_of_the_current_generation_counts() {
        let object = |generation: u32, status: &str| {
            serde_json::json!({"metadata": {"generation": 2}, "status": {"observedGeneration": generation,
                "conditions": [{"type": "Ready", "status": status, "reason": "ModelMissing", "message": "no file"}]}})
        };
        assert!(is_ready(&object(2, "True")).is_ok());
        assert!(is_ready(&object(1, "True")).is_err());
        let error = is_ready(&object(2, "False")).unwrap_err().to_string();
        assert!(error.contains("ModelMissing") && error.contains("no file"), "{error}");
        assert!(is_ready(&serde_json::json!({})).is_err());
    }
}
