//! Where what a model's pods fetch and compile is kept, and how far a fetch is.

use serde::{Deserialize, Serialize};

use super::Quantity;

/// Where what pods fetch and compile is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CacheSpec {
    /// `None`: each pod keeps its own for as long as it lives. `Shared`: a PersistentVolumeClaim that all pods mount.
    #[serde(default)]
    pub mode: CacheMode,
    /// Size of the claim that is made; it goes with the ModelBackend.
    pub size: Option<Quantity>,
    /// StorageClass of the claim that is made; absent means the cluster's default.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub storage_class: Option<String>,
    /// Access mode of the claim that is made; absent means `ReadWriteMany`, so that pods on several nodes can mount it.
    pub access_mode: Option<AccessMode>,
    /// A claim of the same namespace to be used instead; it stays when the ModelBackend goes.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub existing_claim: Option<String>,
}

/// Who shares what is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum CacheMode {
    /// Nobody.
    #[default]
    None,
    /// All pods of the backend.
    Shared,
}

/// How many nodes mount a claim at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum AccessMode {
    /// Any number.
    ReadWriteMany,
    /// One.
    ReadWriteOnce,
}

/// A file or folder in an OCI image, mounted as a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// Image, best with its digest: `registry.example.com/models/starcoder2@sha256:…`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 512)))]
    pub image: String,
    /// Path within the image: relative, without `..`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 512)))]
    pub path: String,
}

/// How far the fetch of a model is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CacheStatus {
    /// Bytes that are there.
    pub bytes: i64,
    /// Bytes in all, where the server says so.
    pub total: Option<i64>,
    /// Since the fetch began.
    pub bytes_per_second: Option<i64>,
    /// Seconds left at that rate.
    pub eta_seconds: Option<i64>,
}
