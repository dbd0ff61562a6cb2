//! Pretended GPUs: keeps `nvidia.com/gpu` in the node's status, where no device plugin advertises it.
//!
//! kubelet sets extended resources that no plugin backs to zero whenever it registers the node anew.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::layout::NODE;
use crate::command::output;

const LIMIT: Duration = Duration::from_secs(20);
const UNTIL_SEEN: Duration = Duration::from_millis(500);
const BETWEEN_CHECKS: Duration = Duration::from_secs(20);

/// Runs for as long as the cluster.
pub fn run(kubectl: &Path, kubeconfig: &Path, gpus: u32) -> ! {
    loop {
        let wait = match keep(kubectl, kubeconfig, gpus) {
            Ok(true) => BETWEEN_CHECKS,
            Ok(false) => UNTIL_SEEN,
            Err(error) => {
                eprintln!("node agent: {error:#}");
                UNTIL_SEEN
            }
        };
        std::thread::sleep(wait);
    }
}

/// Whether the node already had what it should.
fn keep(kubectl: &Path, kubeconfig: &Path, gpus: u32) -> Result<bool> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(kubeconfig).args(arguments);
        output(&mut command, None, LIMIT)
    };
    let shown = command(&[
        "get",
        "node",
        NODE,
        "-o",
        r"jsonpath={.status.capacity.nvidia\.com/gpu} {.status.allocatable.nvidia\.com/gpu}",
    ])?;
    if shown == format!("{gpus} {gpus}") {
        return Ok(true);
    }
    let amount = format!(r#"{{"nvidia.com/gpu":"{gpus}"}}"#);
    let patch = format!(r#"{{"status":{{"capacity":{amount},"allocatable":{amount}}}}}"#);
    command(&["patch", "node", NODE, "--subresource=status", "--type=merge", "-p", &patch])?;
    Ok(false)
}
