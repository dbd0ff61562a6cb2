//! Reload: the files are read again every second, because a mounted ConfigMap changes by a swapped link that file
//! notifications miss. A valid configuration replaces the one in force; a bad one is told about and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use super::{load, read, snapshot::Snapshot};
use crate::app::Gateway;
use crate::args::Source;

const INTERVAL: Duration = Duration::from_secs(1);

/// Watches until the process ends.
pub async fn watch(gateway: Arc<Gateway>) {
    let mut seen = fingerprint(&gateway);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = fingerprint(&gateway);
        if now != seen {
            seen = now;
            reload(&gateway);
        }
    }
}

/// What a reload depends on: the configuration's bytes, or why they cannot be read. Credentials and CA files are read
/// anew where they are used.
fn fingerprint(gateway: &Gateway) -> Result<String, Vec<String>> {
    match &gateway.workshop.settings.source {
        Source::Path(path) => read::files(path).map(|files| files.hash),
        Source::Legacy(_) => Ok(String::new()),
    }
}

/// Reads the configuration and puts it in force if it is valid.
pub fn reload(gateway: &Arc<Gateway>) {
    let previous = gateway.snapshot.load_full();
    let loaded = load(&gateway.workshop.settings);
    match loaded.and_then(|loaded| Snapshot::build(loaded, &gateway.workshop, Some(&previous))) {
        Ok(snapshot) => {
            if snapshot.config.http_port != previous.config.http_port
                || snapshot.config.metrics_port != previous.config.metrics_port
            {
                tracing::warn!("listeners' ports changed; they take effect when the gateway starts anew");
            }
            tracing::info!(config_hash = %snapshot.hash, routes = snapshot.routes.len(), backends = snapshot.backends.len(), "configuration reloaded");
            gateway.install(snapshot);
        }
        Err(problems) => {
            for problem in &problems {
                tracing::error!(problem, config_hash = %previous.hash, "the new configuration is not valid; the last good one stays in force");
            }
            gateway.metrics.reload_successful.set(0);
            gateway.set_problems(problems);
        }
    }
}
