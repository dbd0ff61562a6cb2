//! What is known about the machine's GPUs, as data.

use serde::Serialize;

/// The GPUs of this machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// Version of the NVIDIA driver; `None` when the driver's library is not on this machine.
    pub driver_version: Option<String>,
    /// Why there is nothing to list, when there is not.
    pub reason: Option<String>,
    /// The devices, by index.
    pub gpus: Vec<Gpu>,
}

/// One GPU. A fact that the device does not tell is `None`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gpu {
    /// Index as the driver counts.
    pub index: u32,
    /// Product name.
    pub name: Option<String>,
    /// The name that stays when indexes change.
    pub uuid: Option<String>,
    /// Memory in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Memory in use, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// CUDA compute capability, `major.minor`.
    pub compute_capability: Option<String>,
    /// Whether the device is partitioned; `None` where it cannot be.
    pub mig_mode: Option<MigMode>,
    /// Why the device could not be asked, when it could not.
    pub error: Option<String>,
}

/// Multi-Instance GPU: one device cut into several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MigMode {
    /// Partitioned.
    Enabled,
    /// Whole.
    Disabled,
}
