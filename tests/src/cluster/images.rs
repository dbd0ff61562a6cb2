//! The images of the local cluster, made from programs and imported into its container store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Cluster;
use super::layout::PAUSE_IMAGE;
use crate::cache::repository;
use crate::command::run_logged;
use crate::image::Image;
use crate::tools::{PROMETHEUS, PROMETHEUS_OPERATOR, Tools};

const LIMIT: Duration = Duration::from_secs(180);

/// Registry and organisation of our own images.
pub const OURS: &str = "ghcr.io/modelgate";

/// The reference of one of our images, `operator`, `gateway` or `engine`, in this checkout's version.
#[must_use]
pub fn reference(part: &str) -> String {
    format!("{OURS}/{part}:{}", env!("CARGO_PKG_VERSION"))
}

/// Our images from built binaries in a target folder.
#[must_use]
pub fn product(binaries: &Path) -> Vec<Image> {
    ["operator", "gateway", "engine"]
        .map(|part| Image::of_program(&reference(part), &binaries.join(format!("modelgate-{part}"))))
        .into()
}

/// The images of Prometheus and its operator, under the references that their projects use.
///
/// # Errors
/// When a tool is not built.
pub fn monitoring(tools: &Tools) -> Result<Vec<Image>> {
    let operator =
        format!("quay.io/prometheus-operator/prometheus-operator:v{}", PROMETHEUS_OPERATOR.version);
    let image = |reference: &str, tool, program: &str| -> Result<Image> {
        let path = tools.program(tool, program)?;
        Ok(Image::of_program_at(reference, &path, &format!("/bin/{program}")))
    };
    Ok(vec![
        image(&operator, &PROMETHEUS_OPERATOR, "prometheus-operator")?,
        image(&reloader_reference(), &PROMETHEUS_OPERATOR, "prometheus-config-reloader")?,
        image(&prometheus_reference(), &PROMETHEUS, "prometheus")?,
    ])
}

/// The config reloader's reference, which the Prometheus Operator is told.
#[must_use]
pub fn reloader_reference() -> String {
    format!("quay.io/prometheus-operator/prometheus-config-reloader:v{}", PROMETHEUS_OPERATOR.version)
}

/// The reference of the Prometheus image.
#[must_use]
pub fn prometheus_reference() -> String {
    format!("quay.io/prometheus/prometheus:v{}", PROMETHEUS.version)
}

/// The image that holds a pod's namespaces: a static program that waits.
///
/// # Errors
/// When the C compiler fails.
pub fn pause(folder: &Path) -> Result<Image> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let program = folder.join("pause");
    let source = repository().join("tests/cluster/pause/pause.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-static", "-o"]).arg(&program).arg(source);
    run_logged(&mut compiler, &folder.join("pause.log"), LIMIT)?;
    Ok(Image::of_program_at(PAUSE_IMAGE, &program, "/pause"))
}

impl Cluster {
    /// Makes an image and imports it under its reference; an older one of that reference is replaced.
    ///
    /// # Errors
    /// When a program is missing or containerd refuses the archive.
    pub fn import(&self, image: &Image) -> Result<()> {
        let name: String =
            image.reference.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let archive: PathBuf = self.layout.at(&format!("images/{name}.tar"));
        image.write(&archive).with_context(|| format!("image {}", image.reference))?;
        let mut ctr = self.exec("ctr");
        ctr.args(["--namespace", "k8s.io", "images", "import"]).arg(&archive);
        run_logged(&mut ctr, &self.layout.log(&format!("import-{name}")), LIMIT)?;
        std::fs::remove_file(&archive).with_context(|| format!("cannot delete {}", archive.display()))
    }

    /// Imports several images at the same time.
    ///
    /// # Errors
    /// The first failure.
    pub fn import_all(&self, images: &[Image]) -> Result<()> {
        std::thread::scope(|scope| {
            let imports: Vec<_> = images.iter().map(|image| scope.spawn(|| self.import(image))).collect();
            imports.into_iter().try_for_each(|import| {
                import.join().unwrap_or_else(|_| Err(anyhow::anyhow!("an import ended early")))
            })
        })
    }
}
