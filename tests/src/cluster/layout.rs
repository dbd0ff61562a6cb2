//! Names, addresses and paths of the local cluster.

use std::path::{Path, PathBuf};

use crate::cache::Cache;

/// The node's name.
pub const NODE: &str = "modelgate-node";
/// The node's address, real in its namespace: EndpointSlices refuse loopback.
pub const NODE_ADDRESS: &str = "192.168.77.10";
/// Pods' addresses.
pub const POD_RANGE: &str = "10.244.0.0/16";
/// Services' addresses.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The API server's own Service, the first of the range.
pub const API_SERVICE: &str = "10.96.0.1";
/// The name server's Service.
pub const DNS_SERVICE: &str = "10.96.0.10";
/// The cluster's DNS domain.
pub const DOMAIN: &str = "cluster.local";
/// The image of the process that holds a pod's namespaces.
pub const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10";
/// How many GPUs the node pretends to have.
pub const FAKE_GPUS: u32 = 2;

/// Where one cluster keeps its files.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    sockets: PathBuf,
}

impl Layout {
    /// The places of the cluster with this id.
    #[must_use]
    pub fn new(cache: &Cache, id: &str) -> Self {
        // Socket paths are limited to 107 bytes, so they do not lie below a cache of any depth.
        Self { root: cache.cluster().join(id), sockets: PathBuf::from(format!("/tmp/mg-{id}")) }
    }

    /// The folder of everything that ends with the cluster.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A short folder for sockets.
    #[must_use]
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// The socket that leads into the network namespace.
    #[must_use]
    pub fn relay_socket(&self) -> PathBuf {
        self.sockets.join("relay.sock")
    }

    /// A file or folder below the root.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// As text, for configuration files.
    #[must_use]
    pub fn text(&self, path: &str) -> String {
        self.at(path).to_string_lossy().into_owned()
    }

    /// Certificates and keys.
    #[must_use]
    pub fn pki(&self, name: &str) -> String {
        self.text(&format!("pki/{name}"))
    }

    /// A component's log.
    #[must_use]
    pub fn log(&self, component: &str) -> PathBuf {
        self.at(&format!("logs/{component}.log"))
    }

    /// Every write to the API server, one JSON event a line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.at("logs/audit.log")
    }

    /// What the first process of the namespaces is to do.
    #[must_use]
    pub fn init_spec(&self) -> PathBuf {
        self.at("init.json")
    }

    /// What the first process says about its components.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.at("status.json")
    }

    /// A client configuration for use inside the namespaces.
    #[must_use]
    pub fn inner_kubeconfig(&self, user: &str) -> String {
        self.text(&format!("etc/{user}.kubeconfig"))
    }
}
