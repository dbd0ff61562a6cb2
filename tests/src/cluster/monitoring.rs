//! Prometheus Operator and one Prometheus, as pods.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Cluster;
use super::images;
use crate::command::{output, wait_until};
use crate::progress::step;
use crate::tools::PROMETHEUS_OPERATOR;

const LIMIT: Duration = Duration::from_secs(180);

/// The Service of the Prometheus that is installed, by its name in the cluster.
pub const PROMETHEUS_SERVICE: &str = "prometheus.monitoring.svc.cluster.local:9090";

impl Cluster {
    /// Installs the operator's CRDs, the operator and a Prometheus that selects monitors and rules labelled
    /// `prometheus: main`, and waits until it runs. Repeating it changes nothing.
    ///
    /// # Errors
    /// When an image, an object or a pod fails.
    pub fn install_monitoring(&self) -> Result<()> {
        self.begin_monitoring()?;
        self.await_monitoring()
    }

    /// The same without waiting: Prometheus's pod takes a quarter of a minute, whatever the machine.
    ///
    /// # Errors
    /// When an image or an object is refused.
    pub fn begin_monitoring(&self) -> Result<()> {
        step("import Prometheus and its operator", || self.import_all(&images::monitoring(self.tools())?))?;
        step("install the Prometheus Operator", || {
            let crds = self.tools().file(&PROMETHEUS_OPERATOR, "crds")?;
            let mut apply = self.kubectl_command()?;
            apply.args(["apply", "--server-side", "--field-manager=testkit", "--filename"]).arg(crds);
            output(&mut apply, None, LIMIT)?;
            self.kubectl(&[
                "wait",
                "--for=condition=Established",
                "--timeout=60s",
                "crd/prometheuses.monitoring.coreos.com",
                "crd/servicemonitors.monitoring.coreos.com",
                "crd/prometheusrules.monitoring.coreos.com",
            ])?;
            self.apply(&manifests()).map(|_| ())
        })
    }

    /// Waits until Prometheus runs.
    ///
    /// # Errors
    /// When it does not; the message shows its namespace's pods.
    pub fn await_monitoring(&self) -> Result<()> {
        step("start Prometheus", || {
            wait_until(LIMIT, "Prometheus", || {
                let path = r#"jsonpath={.status.conditions[?(@.type=="Available")].status}"#;
                let shown =
                    self.kubectl(&["get", "prometheus", "main", "--namespace=monitoring", "-o", path])?;
                if shown == "True" { Ok(()) } else { bail!("its condition Available is {shown:?}") }
            })
            .with_context(|| format!("pods in namespace monitoring:\n{}", self.pods("monitoring")))
        })
    }

    /// `kubectl get pods` of a namespace, for messages.
    #[must_use]
    pub fn pods(&self, namespace: &str) -> String {
        self.kubectl(&["get", "pods", "--namespace", namespace, "-o", "wide"])
            .unwrap_or_else(|error| format!("{error:#}"))
    }
}

fn manifests() -> String {
    let image = |index: usize| {
        [
            format!("quay.io/prometheus-operator/prometheus-operator:v{}", PROMETHEUS_OPERATOR.version),
            images::reloader_reference(),
            images::prometheus_reference(),
        ]
        .into_iter()
        .nth(index)
        .unwrap_or_default()
    };
    include_str!("../../cluster/manifests/monitoring.yaml")
        .replace("{operator_image}", &image(0))
        .replace("{reloader_image}", &image(1))
        .replace("{prometheus_image}", &image(2))
        .replace("{prometheus_version}", crate::tools::PROMETHEUS.version)
}
