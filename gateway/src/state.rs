//! The state document of `GET /v1/state` (`api::state`), made when asked for, and the counter that tells when it changed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use modelgate_api::state::{CertificateState, GatewayState};
use tokio::sync::watch;

use crate::config::snapshot::Snapshot;
use crate::server::drain::Drain;

/// Counts changes of the state document.
#[derive(Clone, Debug)]
pub struct Changed {
    seq: Arc<watch::Sender<u64>>,
}

impl Default for Changed {
    fn default() -> Self {
        Self { seq: Arc::new(watch::Sender::new(1)) }
    }
}

impl Changed {
    /// Something changed.
    pub fn notify(&self) {
        self.seq.send_modify(|seq| *seq += 1);
    }

    /// The counter.
    #[must_use]
    pub fn seq(&self) -> u64 {
        *self.seq.borrow()
    }

    /// Waits until the counter is another than `since`.
    pub async fn after(&self, since: u64) {
        let mut seq = self.seq.subscribe();
        // An error would mean that the sender is gone, but this very value holds it.
        let _closed = seq.wait_for(|seq| *seq != since).await;
    }
}

/// The document as it is now.
#[must_use]
pub fn document(
    instance: &str,
    changed: &Changed,
    snapshot: &Snapshot,
    problems: &[String],
    drain: &Drain,
    certificates: Vec<CertificateState>,
) -> GatewayState {
    GatewayState {
        // Read first: a change while the rest is read makes the next poll return at once.
        seq: changed.seq(),
        instance: instance.into(),
        config_hash: snapshot.hash.clone(),
        inputs: snapshot.config.inputs.clone(),
        problems: problems.to_vec(),
        issuers: snapshot.issuers(),
        certificates,
        backends: snapshot.backends.values().map(|backend| backend.state()).collect(),
        routes: snapshot.routes.iter().map(|route| route.state()).collect(),
        draining: drain.is_draining(),
    }
}

/// A point in time as RFC 3339 writes it, in UTC to the second.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years; March first puts the leap day at the end of the year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year_of_era + era * 400, month + 3)
    } else {
        (year_of_era + era * 400 + 1, month - 9)
    };
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        // date -u -d @N +%FT%TZ
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_267_445, "2026-11-21T13:24:05Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
