//! Kubernetes, etcd, DNS, Prometheus and Helm, each built once from its pinned Go module.
//!
//! A tool is a folder under `tests/cluster/tools` with a `go.mod` and `go.sum`. Its build is kept under a hash
//! of those files, its flags and the compiler's version, so a changed pin is a new folder and an old one
//! stays valid for an older checkout.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::cache::{Cache, repository};
use crate::command::{output, run_logged};
use crate::progress::step;

const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);

/// One Go module to build.
#[derive(Debug)]
pub struct Tool {
    /// Its folder under `tests/cluster/tools`.
    pub name: &'static str,
    /// The released version, for people and for image references.
    pub version: &'static str,
    /// File name of each program and the package it is built from.
    programs: &'static [(&'static str, &'static str)],
    tags: &'static str,
    /// Go variables set while linking, `{version}` standing for the version.
    variables: &'static [&'static str],
}

/// Every tool, in the order in which they are built.
pub const TOOLS: &[Tool] = &[KUBERNETES, ETCD, COREDNS, PROMETHEUS_OPERATOR, PROMETHEUS, HELM];

/// API server, controller manager, scheduler, kubelet, kube-proxy and kubectl in one program.
pub const KUBERNETES: Tool = Tool {
    name: "kubernetes",
    version: "1.36.3",
    programs: &[("kube", ".")],
    tags: "",
    variables: &[
        "k8s.io/component-base/version.gitVersion=v{version}",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=36",
        "k8s.io/client-go/pkg/version.gitVersion=v{version}",
    ],
};

/// The API server's store.
pub const ETCD: Tool =
    Tool { name: "etcd", version: "3.7.3", programs: &[("etcd", ".")], tags: "", variables: &[] };

/// The cluster's name server.
pub const COREDNS: Tool =
    Tool { name: "coredns", version: "1.15.0", programs: &[("coredns", ".")], tags: "", variables: &[] };

/// Prometheus Operator and the config reloader it puts beside Prometheus.
pub const PROMETHEUS_OPERATOR: Tool = Tool {
    name: "prometheus-operator",
    version: "0.85.0",
    programs: &[
        ("prometheus-operator", "github.com/prometheus-operator/prometheus-operator/cmd/operator"),
        (
            "prometheus-config-reloader",
            "github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader",
        ),
    ],
    tags: "",
    variables: &["github.com/prometheus/common/version.Version={version}"],
};

/// Prometheus without the clouds' discovery SDKs and without its web interface's files.
pub const PROMETHEUS: Tool = Tool {
    name: "prometheus",
    version: "3.13.0",
    programs: &[
        ("prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),
        ("promtool", "github.com/prometheus/prometheus/cmd/promtool"),
    ],
    tags: "remove_all_sd,enable_kubernetes_sd,enable_dns_sd",
    variables: &["github.com/prometheus/common/version.Version={version}"],
};

/// Helm.
pub const HELM: Tool = Tool {
    name: "helm",
    version: "4.3.1",
    programs: &[("helm", "helm.sh/helm/v4/cmd/helm")],
    tags: "",
    variables: &[],
};

impl Tool {
    fn source(&self) -> PathBuf {
        repository().join("tests/cluster/tools").join(self.name)
    }

    fn linker_flags(&self) -> String {
        let variables =
            self.variables.iter().map(|v| format!(" -X {}", v.replace("{version}", self.version)));
        std::iter::once("-s -w".to_owned()).chain(variables).collect()
    }

    /// The folder that holds this version's build.
    ///
    /// # Errors
    /// When the tool's module files cannot be read.
    pub fn folder(&self, cache: &Cache, go_version: &str) -> Result<PathBuf> {
        let mut hash = Sha256::new();
        for file in ["go.mod", "go.sum", "main.go"] {
            let path = self.source().join(file);
            match std::fs::read(&path) {
                Ok(bytes) => hash_part(&mut hash, &bytes),
                // Only tools without a main of their own lack this file.
                Err(_) if file == "main.go" && self.programs.iter().all(|(_, package)| *package != ".") => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            }
        }
        hash_part(&mut hash, format!("{:?}", self.programs).as_bytes());
        hash_part(&mut hash, self.tags.as_bytes());
        hash_part(&mut hash, self.linker_flags().as_bytes());
        hash_part(&mut hash, go_version.as_bytes());
        let hex: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(cache.tools().join(self.name).join(hex))
    }

    fn build(&self, cache: &Cache, folder: &Path) -> Result<()> {
        let parent = folder.parent().context("a tool's folder has a parent")?;
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        // Built aside and renamed when whole, so an interrupted build is never taken for a finished one.
        let staging = tempfile::Builder::new().prefix(".building-").tempdir_in(parent)?;
        for (program, package) in self.programs {
            let mut go = self.go(cache);
            go.args(["build", "-trimpath", "-tags", self.tags, "-ldflags", &self.linker_flags(), "-o"])
                .arg(staging.path().join("bin").join(program))
                .arg(package);
            run_logged(&mut go, &cache.logs().join(format!("build-{program}.log")), BUILD_LIMIT)?;
        }
        if self.name == KUBERNETES.name {
            for command in ["kubectl", "kubelet"] {
                std::os::unix::fs::symlink("kube", staging.path().join("bin").join(command))?;
            }
        }
        if self.name == PROMETHEUS_OPERATOR.name {
            self.copy_crds(cache, &staging.path().join("crds"))?;
        }
        set_readable(staging.path())?;
        std::fs::rename(staging.path(), folder).with_context(|| format!("cannot create {}", folder.display()))
    }

    /// The Prometheus Operator's CRDs are shipped as files in its module.
    fn copy_crds(&self, cache: &Cache, to: &Path) -> Result<()> {
        let module = "github.com/prometheus-operator/prometheus-operator";
        let mut list = self.go(cache);
        list.args(["list", "-m", "-f", "{{.Dir}}", module]);
        let folder = output(&mut list, None, Duration::from_secs(300))?;
        let from = Path::new(folder.trim()).join("example/prometheus-operator-crd");
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(&from).with_context(|| format!("no CRDs in {}", from.display()))? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    }

    fn go(&self, cache: &Cache) -> Command {
        let mut go = Command::new("go");
        go.current_dir(self.source())
            .env("GOMODCACHE", cache.go().join("mod"))
            .env("GOCACHE", cache.go().join("build"))
            .env("GOFLAGS", "-modcacherw -buildvcs=false")
            .env("GOTOOLCHAIN", "local")
            // Static programs, so that an image needs no library.
            .env("CGO_ENABLED", "0");
        go
    }
}

fn hash_part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(bytes.len().to_le_bytes());
    hash.update(bytes);
}

fn set_readable(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot open {} to readers", folder.display()))
}

/// The built tools of this checkout.
#[derive(Debug, Clone)]
pub struct Tools {
    cache: Cache,
    go_version: String,
}

impl Tools {
    /// Finds the compiler.
    ///
    /// # Errors
    /// When there is no `go`.
    pub fn locate(cache: &Cache) -> Result<Self> {
        let version = output(Command::new("go").args(["env", "GOVERSION"]), None, Duration::from_secs(60))
            .context(
                "the cluster's tools are built with Go: install Go 1.26 or newer and put `go` on PATH",
            )?;
        Ok(Self { cache: cache.clone(), go_version: version.trim().to_owned() })
    }

    /// The tools that are not in the cache yet.
    ///
    /// # Errors
    /// When a tool's module files cannot be read.
    pub fn missing(&self) -> Result<Vec<&'static Tool>> {
        let mut missing = Vec::new();
        for tool in TOOLS {
            if !tool.folder(&self.cache, &self.go_version)?.is_dir() {
                missing.push(tool);
            }
        }
        Ok(missing)
    }

    /// Builds what is missing. Go's own caches are emptied afterwards unless `keep_build_cache`.
    ///
    /// # Errors
    /// When a build fails; the message names its log.
    pub fn build(&self, keep_build_cache: bool) -> Result<()> {
        for tool in TOOLS {
            self.build_one(tool)?;
        }
        if !keep_build_cache && self.cache.go().exists() {
            step("free the Go build caches", || {
                std::fs::remove_dir_all(self.cache.go())
                    .with_context(|| format!("cannot empty {}", self.cache.go().display()))
            })?;
        }
        Ok(())
    }

    /// Builds one tool if it is missing.
    ///
    /// # Errors
    /// When the build fails; the message names its log.
    pub fn build_one(&self, tool: &Tool) -> Result<()> {
        let folder = tool.folder(&self.cache, &self.go_version)?;
        if folder.is_dir() {
            return Ok(());
        }
        step(&format!("build {} {}", tool.name, tool.version), || tool.build(&self.cache, &folder))
    }

    /// The path of a built program.
    ///
    /// # Errors
    /// When it is not built, or no tool has a program of this name.
    pub fn program(&self, tool: &Tool, program: &str) -> Result<PathBuf> {
        self.file(tool, &format!("bin/{program}"))
    }

    /// The path of a built program by its name alone.
    ///
    /// # Errors
    /// When no tool has such a program, or it is not built.
    pub fn find(&self, program: &str) -> Result<PathBuf> {
        // kubectl and kubelet are names of the one program that holds all of Kubernetes.
        let has = |tool: &&Tool| {
            tool.programs.iter().any(|(name, _)| *name == program)
                || (tool.name == KUBERNETES.name && matches!(program, "kubectl" | "kubelet"))
        };
        let tool = TOOLS.iter().find(has).with_context(|| format!("no tool has a program {program}"))?;
        self.program(tool, program)
    }

    /// The path of a file in a tool's folder.
    ///
    /// # Errors
    /// When it is not there.
    pub fn file(&self, tool: &Tool, path: &str) -> Result<PathBuf> {
        let file = tool.folder(&self.cache, &self.go_version)?.join(path);
        if !file.exists() {
            bail!("{} is not built ({} is missing): run `testkit tools build`", tool.name, file.display());
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_kept_under_a_hash_that_changes_with_the_compiler() {
        let cache = Cache::at("/cache").unwrap();
        let first = ETCD.folder(&cache, "go1.26.0").unwrap();
        assert_eq!(first, ETCD.folder(&cache, "go1.26.0").unwrap());
        assert_ne!(first, ETCD.folder(&cache, "go1.26.1").unwrap());
        assert!(first.starts_with("/cache/tools/etcd"));
    }

    #[test]
    fn every_version_named_here_is_the_one_its_module_pins() {
        for tool in TOOLS {
            let module = std::fs::read_to_string(tool.source().join("go.mod")).unwrap();
            // Prometheus 3.13.0 is module version v0.313.0.
            let prometheus = tool.version.replacen("3.", "0.3", 1);
            let pinned = module.contains(&format!(" v{}\n", tool.version))
                || module.contains(&format!(" v{} // indirect", tool.version))
                || (tool.name == "prometheus" && module.contains(&format!(" v{prometheus} ")));
            assert!(pinned, "{} {} is not what its go.mod requires", tool.name, tool.version);
        }
    }

    #[test]
    fn a_tool_that_is_not_built_says_how_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        let tools = Tools { cache: Cache::at(folder.path()).unwrap(), go_version: "go1.26.0".to_owned() };
        let error = tools.program(&HELM, "helm").unwrap_err().to_string();
        assert!(error.contains("testkit tools build"), "{error}");
        assert_eq!(tools.missing().unwrap().len(), TOOLS.len());
    }
}
