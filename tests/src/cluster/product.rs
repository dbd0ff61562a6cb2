//! The product on the cluster: our images, the chart, and model files as a volume that a ModelBackend can name.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Cluster, images};
use crate::cache::repository;
use crate::progress::step;

/// Name of the Helm release.
pub const RELEASE: &str = "modelgate";
/// Namespace of the operator.
pub const NAMESPACE: &str = "modelgate-system";
/// The PersistentVolumeClaim that holds model files, as `examples/quickstart.yaml` names it.
pub const CLAIM: &str = "models";
/// Longest wait for the operator's pods.
const LIMIT: Duration = Duration::from_secs(180);

impl Cluster {
    /// Imports our images from built programs and installs the chart, with monitors labelled as the cluster's Prometheus
    /// selects them. Repeating it upgrades the release.
    ///
    /// # Errors
    /// When a program is not built, or the chart does not become ready.
    pub fn install_product(&self, binaries: &Path) -> Result<()> {
        step("import the images of operator, gateway and engine", || {
            self.import_all(&images::product(binaries))
        })?;
        step("helm install modelgate charts/modelgate", || {
            let chart = repository().join("charts/modelgate");
            let limit = format!("{}s", LIMIT.as_secs());
            self.helm(&[
                "upgrade",
                "--install",
                RELEASE,
                &chart.display().to_string(),
                "--namespace",
                NAMESPACE,
                "--create-namespace",
                // Definitions that were applied by hand before.
                "--take-ownership",
                "--set=monitoring.labels.prometheus=main",
                "--wait",
                "--timeout",
                &limit,
            ])
            .with_context(|| format!("pods in namespace {NAMESPACE}:\n{}", self.pods(NAMESPACE)))
            .map(|_| ())
        })
    }

    /// Publishes a folder of model files to pods of a namespace, as claim [`CLAIM`].
    ///
    /// # Errors
    /// When the API server refuses the volume.
    pub fn publish_models(&self, namespace: &str, folder: &Path) -> Result<()> {
        let folder = folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?;
        let manifest = include_str!("../../cluster/manifests/models.yaml")
            .replace("{namespace}", namespace)
            .replace("{claim}", CLAIM)
            .replace("{folder}", &folder.display().to_string());
        self.apply(&manifest).map(|_| ())
    }
}
