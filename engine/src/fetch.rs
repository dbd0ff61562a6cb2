//! `modelgate-engine fetch`: one file over HTTP, kept only if its SHA-256 is the expected one. Runs before a server
//! starts: as init container of its pod, or as child of a gateway.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, Url};
use sha2::{Digest, Sha256};

use crate::args::FetchArgs;
use crate::progress::{self, Progress};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of the server.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before another attempt after an error that may pass.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// Time between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Why the file is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an address that can be fetched.
    #[error("--url must be an http or https address: {0}")]
    Url(String),
    /// The server says no, and would again.
    #[error("--url {url}: the server answers {status}")]
    Refused {
        /// Without credentials and query.
        url: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The file is another one.
    #[error("--url {url}: the file's SHA-256 is {have}, not {want}; correct --sha256 or the file")]
    Different {
        /// Without credentials and query.
        url: String,
        /// What arrived.
        have: String,
        /// What was to arrive.
        want: String,
    },
    /// The transfer failed each time.
    #[error("--url {url}: {attempts} attempts failed, the last with: {reason}")]
    Transfer {
        /// Without credentials and query.
        url: String,
        /// How many there were.
        attempts: usize,
        /// Of the last.
        reason: String,
    },
    /// The file cannot be written.
    #[error("--output {}: {source}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The HTTP client could not start.
    #[error("HTTP client: {0}")]
    Client(String),
}

impl FetchError {
    /// 2 for what another attempt will not mend, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Url(_) | Self::Refused { .. } | Self::Different { .. } => 2,
            Self::Transfer { .. } | Self::Output { .. } | Self::Client(_) => 1,
        }
    }
}

/// Fetches the file unless it is there already.
///
/// # Errors
/// See [`FetchError`]; `--output` is then as it was before.
pub fn fetch(args: &FetchArgs) -> Result<(), FetchError> {
    crate::app::start_log(crate::args::LogFormat::Text);
    if !matches!(args.url.scheme(), "http" | "https") {
        return Err(FetchError::Url(format!("its scheme is {}", args.url.scheme())));
    }
    let output = |source| FetchError::Output { path: args.output.clone(), source };
    if let Some(folder) = args.output.parent() {
        std::fs::create_dir_all(folder).map_err(output)?;
    }
    let part = args.output.with_added_extension("part");
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&part).map_err(output)?;
    // Whoever fetches the same file at the same time waits here, and then finds it complete.
    file.lock().map_err(output)?;
    if hash_of(&args.output).map_err(output)?.as_deref() == Some(args.sha256.as_str()) {
        tracing::info!(output = %args.output.display(), "the file is there already");
        return Ok(());
    }
    // The TLS library of the whole product is ring's; another provider set before would serve as well.
    let _already_set = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let progress = Progress::new();
    let transferred = runtime.map_err(output)?.block_on(async {
        if let Some(listen) = args.progress_listen {
            // Ends with the runtime.
            drop(tokio::spawn(progress::serve(listen, Arc::clone(&progress))));
        }
        transfer(&args.url, &args.sha256, &mut file, &progress).await
    });
    match transferred {
        Ok(()) => std::fs::rename(&part, &args.output).map_err(output),
        Err(error) => {
            // Emptied, not removed: another process may be waiting for the lock on it.
            file.set_len(0).map_err(output)?;
            Err(match error {
                Failure::Final(error) => error,
                Failure::Disk(source) => output(source),
                Failure::Passing(reason) => {
                    FetchError::Transfer { url: shown(&args.url), attempts: PAUSES.len() + 1, reason }
                }
            })
        }
    }
}

/// How an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Passing(String),
    /// None will.
    Final(FetchError),
    /// The disk is full, or the like.
    Disk(io::Error),
}

async fn transfer(url: &Url, want: &str, file: &mut File, progress: &Progress) -> Result<(), Failure> {
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()
        .map_err(|error| Failure::Final(FetchError::Client(error.to_string())))?;
    let mut pauses = PAUSES.into_iter();
    let have = loop {
        match attempt(&client, url, file, progress).await {
            Ok(have) => break have,
            Err(Failure::Passing(reason)) => {
                let Some(pause) = pauses.next() else { return Err(Failure::Passing(reason)) };
                tracing::warn!(reason, seconds = pause.as_secs(), "the transfer failed; trying again");
                tokio::time::sleep(pause).await;
            }
            Err(failure) => return Err(failure),
        }
    };
    if have == want {
        return file.sync_all().map_err(Failure::Disk);
    }
    Err(Failure::Final(FetchError::Different { url: shown(url), have, want: want.into() }))
}

/// Writes the whole file and gives its SHA-256.
async fn attempt(
    client: &Client,
    url: &Url,
    file: &mut File,
    progress: &Progress,
) -> Result<String, Failure> {
    // The address may hold credentials, so errors are told without it.
    let passing = |error: reqwest::Error| Failure::Passing(chain(&error.without_url()));
    file.set_len(0).and_then(|()| file.rewind()).map_err(Failure::Disk)?;
    let mut response = client.get(url.clone()).send().await.map_err(passing)?;
    let status = response.status();
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        return Err(Failure::Passing(format!("the server answers {status}")));
    }
    if !status.is_success() {
        return Err(Failure::Final(FetchError::Refused { url: shown(url), status }));
    }
    let total = response.content_length();
    progress.begin(total);
    let (mut hash, mut bytes, mut said) = (Sha256::new(), 0_u64, Instant::now());
    while let Some(chunk) = response.chunk().await.map_err(passing)? {
        file.write_all(&chunk).map_err(Failure::Disk)?;
        hash.update(&chunk);
        bytes += chunk.len() as u64;
        progress.add(chunk.len() as u64);
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            tracing::info!(bytes, total, "fetching");
        }
    }
    tracing::info!(bytes, "fetched");
    Ok(hex(&hash.finalize()))
}

/// The address without what may be secret in it.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// An error with its causes: the outermost says only that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn hash_of(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some(hex(&hash.finalize()))),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
