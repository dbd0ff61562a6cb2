//! `/debug/pprof/profile`: which functions this process spends its processor time in, for some seconds, in pprof's form. Off unless
//! `--debug-profile` is given: taking a profile interrupts every thread that runs, 99 times for each second of processor time.

mod wire;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::CONTENT_DISPOSITION;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use pprof::ProfilerGuardBuilder;
use tokio::sync::oneshot;

use super::plain;
use wire::{Frame, Profile, Stack};

/// Where it is served, as Go's programs do.
pub(super) const PATH: &str = "/debug/pprof/profile";
/// Samples for each second of processor time; no divisor of what programs do at round intervals.
const HERTZ: i32 = 99;
/// Seconds when none are asked for: those of Go's programs.
const SECONDS: u64 = 30;
/// Seconds at most.
const MOST_SECONDS: u64 = 120;
/// How often it is asked whether anybody still waits.
const ASK: Duration = Duration::from_millis(100);
/// Libraries whose code is not walked through: their unwinding tables may be locked by what was interrupted.
const SKIPPED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Ends the claim to be the only profile.
struct Claim;

impl Drop for Claim {
    fn drop(&mut self) {
        IS_TAKEN.store(false, Ordering::Release);
    }
}

/// Takes a profile for as long as `?seconds=N` says.
pub(super) async fn answer(is_on: bool, query: Option<&str>) -> Response<Full<Bytes>> {
    if !is_on {
        return plain(StatusCode::NOT_FOUND, "text/plain", OFF);
    }
    let Some(seconds) = seconds(query) else {
        return plain(
            StatusCode::BAD_REQUEST,
            "text/plain",
            format!("seconds: write a number from 1 to {MOST_SECONDS}, as in {PATH}?seconds={SECONDS}\n"),
        );
    };
    if IS_TAKEN.swap(true, Ordering::Acquire) {
        return plain(
            StatusCode::CONFLICT,
            "text/plain",
            "another profile is being taken; try again later\n",
        );
    }
    match taken(Claim, Duration::from_secs(seconds)).await {
        Ok(bytes) => {
            let mut response = plain(StatusCode::OK, "application/octet-stream", bytes);
            let name = HeaderValue::from_static("attachment; filename=\"profile.pb.gz\"");
            response.headers_mut().insert(CONTENT_DISPOSITION, name);
            response
        }
        Err(why) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("no profile was taken: {why}\n"))
        }
    }
}

const OFF: &str =
    "profiles are off; start the gateway with --debug-profile (MODELGATE_DEBUG_PROFILE=true) to take them\n";

fn seconds(query: Option<&str>) -> Option<u64> {
    let given = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    match given.into_iter().find(|(name, _)| name == "seconds") {
        None => Some(SECONDS),
        Some((_, value)) => value.parse().ok().filter(|seconds| (1..=MOST_SECONDS).contains(seconds)),
    }
}

/// A thread of its own: it waits, and a process that ends does not wait for it.
async fn taken(claim: Claim, time: Duration) -> Result<Vec<u8>, String> {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("profile".into()).spawn(move || {
        let taken = take(time, || tell.is_closed());
        drop(claim);
        // Nobody may wait any more.
        let _told = tell.send(taken);
    });
    thread.map_err(|error| error.to_string())?;
    told.await.map_err(|_| "its thread ended early".to_owned())?
}

fn take(time: Duration, is_given_up: impl Fn() -> bool) -> Result<Vec<u8>, String> {
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let until = Instant::now() + time;
    let profiler = ProfilerGuardBuilder::default().frequency(HERTZ).blocklist(&SKIPPED).build();
    let profiler = profiler.map_err(|error| error.to_string())?;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|_| !is_given_up()) {
        std::thread::sleep(left.min(ASK));
    }
    let report = profiler.report().build().map_err(|error| error.to_string())?;
    drop(profiler);
    let stacks = report.data.iter().map(|(frames, count)| Stack {
        thread: frames.thread_name.clone(),
        count: i64::try_from(*count).unwrap_or(i64::MAX),
        frames: frames.frames.iter().flatten().map(frame).collect(),
    });
    let profile = Profile {
        stacks: stacks.collect(),
        begun,
        time,
        period: Duration::from_secs(1) / HERTZ.unsigned_abs(),
    };
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&profile.encode()).map_err(|error| error.to_string())?;
    packed.finish().map_err(|error| error.to_string())
}

fn frame(symbol: &pprof::Symbol) -> Frame {
    Frame { name: symbol.name(), file: symbol.filename().into_owned(), line: symbol.lineno().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_those_asked_for_within_bounds() {
        let table = [
            (None, Some(30)),
            (Some("seconds=5"), Some(5)),
            (Some("debug=0&seconds=120"), Some(120)),
            (Some("seconds=0"), None),
            (Some("seconds=121"), None),
            (Some("seconds=x"), None),
        ];
        for (query, expected) in table {
            assert_eq!(seconds(query), expected, "{query:?}");
        }
    }
}
