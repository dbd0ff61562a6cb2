//! Asks NVIDIA's management library, loaded at run time: this program links nothing of NVIDIA's and runs everywhere.

use crate::inventory::{Gpu, Inventory, MigMode};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use std::ffi::OsStr;

/// The library's name as driver packages install it; the name without `.1` comes only with development packages.
pub const DEFAULT_LIBRARY: &str = "libnvidia-ml.so.1";

/// The library is there and does not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file exists and the loader refuses it.
    #[error("cannot load {library}: {reason}; give the driver's own library by --nvml-library")]
    Load {
        /// What was to be loaded.
        library: String,
        /// The loader's words.
        reason: String,
    },
    /// The library answered with an error.
    #[error("{action} failed: {source}; {fix}")]
    Driver {
        /// What was asked.
        action: &'static str,
        /// The library's answer.
        source: NvmlError,
        /// What to do.
        fix: &'static str,
    },
}

/// The GPUs that the library sees. A machine without the library has none, which is no error.
pub fn inventory(library: &OsStr) -> Result<Inventory, Error> {
    let nvml = match Nvml::builder().lib_path(library).init() {
        Ok(nvml) => nvml,
        Err(NvmlError::LibloadingError(error)) => return absent(library, &loader_message(&error)),
        Err(error) => return Err(driver("starting NVIDIA's management library", error)),
    };
    let driver_version =
        nvml.sys_driver_version().map_err(|error| driver("asking for the driver's version", error))?;
    let count = nvml.device_count().map_err(|error| driver("counting the GPUs", error))?;
    let reason = (count == 0).then(|| "the NVIDIA driver is loaded and sees no GPU".to_owned());
    let gpus = (0..count).map(|index| one(&nvml, index)).collect();
    Ok(Inventory { driver_version: Some(driver_version), reason, gpus })
}

/// Tells a library that is not there from one that is there and broken.
fn absent(library: &OsStr, reason: &str) -> Result<Inventory, Error> {
    let name = library.to_string_lossy();
    // The loader says "NAME: cannot open shared object file: …" also about a library that NAME itself needs.
    if reason.starts_with(&format!("{name}: cannot open shared object file: No such file or directory")) {
        let reason = format!("no NVIDIA driver found ({name} is not on this machine): no GPU to list");
        return Ok(Inventory { driver_version: None, reason: Some(reason), gpus: Vec::new() });
    }
    Err(Error::Load { library: name.into_owned(), reason: reason.to_owned() })
}

/// The loader's own words, which libloading keeps as the error's source in some versions and as its text in others.
fn loader_message(error: &(dyn std::error::Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// One GPU; a device that cannot be asked is listed with the reason, and hides no other.
fn one(nvml: &Nvml, index: u32) -> Gpu {
    match nvml.device_by_index(index) {
        Ok(device) => facts(&device, index),
        Err(error) => Gpu {
            index,
            name: None,
            uuid: None,
            memory_total_bytes: None,
            memory_used_bytes: None,
            compute_capability: None,
            mig_mode: None,
            error: Some(error.to_string()),
        },
    }
}

fn facts(device: &Device<'_>, index: u32) -> Gpu {
    let memory = device.memory_info().ok();
    Gpu {
        index,
        name: device.name().ok(),
        uuid: device.uuid().ok(),
        memory_total_bytes: memory.as_ref().map(|memory| memory.total),
        memory_used_bytes: memory.as_ref().map(|memory| memory.used),
        compute_capability: device
            .cuda_compute_capability()
            .ok()
            .map(|capability| format!("{}.{}", capability.major, capability.minor)),
        // 1 is NVML_DEVICE_MIG_ENABLE; devices that know no MIG answer "not supported".
        mig_mode: device.mig_mode().ok().map(|mode| match mode.current {
            1 => MigMode::Enabled,
            _ => MigMode::Disabled,
        }),
        error: None,
    }
}

fn driver(action: &'static str, source: NvmlError) -> Error {
    let fix = match source {
        NvmlError::DriverNotLoaded => {
            "load the driver's kernel module (`modprobe nvidia`) or restart the machine"
        }
        NvmlError::LibRmVersionMismatch => {
            "the library and the kernel module are of different driver versions: restart the machine after the upgrade"
        }
        NvmlError::NoPermission => {
            "run as a user who may open /dev/nvidiactl, or give the container the devices"
        }
        NvmlError::FailedToLoadSymbol(_) => {
            "this library is too old or is not NVIDIA's: install driver 510 or newer"
        }
        _ => "`nvidia-smi` and the kernel log (`dmesg | grep -i nvrm`) tell more",
    };
    Error::Driver { action, source, fix }
}

#[cfg(test)]
mod tests {
    use super::{absent, driver};
    use nvml_wrapper::error::NvmlError;
    use std::ffi::OsStr;

    #[test]
    fn only_a_library_that_is_not_there_means_no_driver() {
        let name = OsStr::new("libx.so");
        let missing = "libx.so: cannot open shared object file: No such file or directory";
        assert!(absent(name, missing).is_ok_and(|inventory| inventory.gpus.is_empty()));
        for broken in [
            "libx.so: cannot open shared object file: Permission denied",
            "libneeded.so: cannot open shared object file: No such file or directory",
            "libx.so: invalid ELF header",
        ] {
            let error = absent(name, broken).expect_err(broken).to_string();
            assert!(error.contains(broken) && error.contains("--nvml-library"), "{error}");
        }
    }

    #[test]
    fn each_driver_failure_says_what_to_do() {
        let unloaded = driver("counting the GPUs", NvmlError::DriverNotLoaded).to_string();
        assert!(unloaded.contains("modprobe nvidia"), "{unloaded}");
        let mismatch = driver("counting the GPUs", NvmlError::LibRmVersionMismatch).to_string();
        assert!(mismatch.contains("restart the machine"), "{mismatch}");
    }
}
