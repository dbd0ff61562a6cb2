//! Google's Application Default Credentials: where they are looked for, how each kind becomes an access token, and when it
//! is fetched again. One task fetches for one backend, so a token is never asked for twice at once; while it is fetched
//! again, and when that fails, the old one serves until it ends.

mod exchange;
mod file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::outbound::Reach;
use crate::outbound::fetch::Fetcher;
use crate::outbound::trust::Trust;

pub use file::Source;

/// What a token may be used for: all of Google Cloud, as Vertex AI asks.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// A token is fetched again when this much of its life is left, or a quarter of it when it is short.
const AHEAD: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// An access token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Its text.
    pub value: String,
    /// How long it is good for.
    pub lifetime: Duration,
}

/// Where credentials are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `GOOGLE_APPLICATION_CREDENTIALS`, or the file that `gcloud auth application-default login` writes.
    pub file: Option<PathBuf>,
    /// `GCE_METADATA_HOST`, where the metadata server is elsewhere than usual.
    pub metadata_host: Option<String>,
}

impl Environment {
    /// Reads the names that Google's own libraries read.
    #[must_use]
    pub fn read(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let given = |name| env(name).filter(|value: &String| !value.is_empty());
        let folder = given("CLOUDSDK_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| given("HOME").map(|home| PathBuf::from(home).join(".config/gcloud")));
        let usual = folder.map(|folder| folder.join("application_default_credentials.json"));
        let file = given("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
        Self {
            file: file.or_else(|| usual.filter(|usual| usual.is_file())),
            metadata_host: given("GCE_METADATA_HOST"),
        }
    }
}

/// Fetches tokens for one backend.
pub struct Google {
    source: Where,
    named: Fetcher,
    metadata: Fetcher,
    environment: Environment,
    /// Folder of mounted Secrets: a credentials file may not name the files of another Secret as its own.
    secrets: PathBuf,
    state: State,
}

/// Where the credentials file is; absent means the environment's.
type Where = Option<PathBuf>;

#[derive(Default)]
struct State {
    seen: Option<Vec<u8>>,
    good_until: Option<Instant>,
    next: Option<Instant>,
    failures: u32,
}

/// What became of a look at the clock.
pub enum Turn {
    /// Nothing is due.
    Rest,
    /// A new token.
    Fresh(Token),
    /// No new token, and the old one is good for some time yet.
    Stale(String),
    /// No token.
    Failed(String),
}

impl Google {
    /// Of a credentials file, or of what the environment has.
    #[must_use]
    pub fn new(
        file: Where,
        named: Reach,
        trust: Arc<Trust>,
        environment: Environment,
        secrets: PathBuf,
    ) -> Self {
        let metadata = Fetcher::new(Reach::Metadata, Arc::clone(&trust));
        Self {
            source: file,
            named: Fetcher::new(named, trust),
            metadata,
            environment,
            secrets,
            state: State::default(),
        }
    }

    /// Fetches a token if one is due: at first, ahead of the old one's end, when the file changed, or when a server refused
    /// the old one.
    pub async fn turn(&mut self, refused: bool) -> Turn {
        let now = Instant::now();
        let (seen, source) = self.read();
        let changed = self.state.seen != seen;
        let due = self.state.next.is_none_or(|next| next <= now);
        let revoked = refused && self.state.failures == 0;
        if !(changed || due || revoked) {
            return Turn::Rest;
        }
        self.state.seen = seen;
        let fetched = match source {
            Ok(source) => exchange::token(&source, &self.named, &self.metadata).await,
            Err(why) => Err(why),
        };
        let now = Instant::now();
        match fetched {
            Ok(token) => {
                let ahead = AHEAD.min(token.lifetime / 4);
                let good_until = now + token.lifetime;
                let next = now + token.lifetime.saturating_sub(ahead).max(FIRST_RETRY);
                self.state = State {
                    seen: self.state.seen.take(),
                    good_until: Some(good_until),
                    next: Some(next),
                    failures: 0,
                };
                Turn::Fresh(token)
            }
            Err(why) => {
                let pause = FIRST_RETRY.saturating_mul(1 << self.state.failures.min(6)).min(LAST_RETRY);
                self.state.failures = self.state.failures.saturating_add(1);
                self.state.next = Some(now + pause);
                match self.state.good_until.filter(|until| *until > now) {
                    Some(_) => Turn::Stale(why),
                    None => Turn::Failed(why),
                }
            }
        }
    }

    /// The file as it is now, and what it says.
    fn read(&self) -> (Option<Vec<u8>>, Result<Source, String>) {
        let Some(path) = self.source.as_ref().or(self.environment.file.as_ref()) else {
            return (None, Ok(Source::Metadata { host: self.environment.metadata_host.clone() }));
        };
        match std::fs::read(path) {
            Err(error) => (None, Err(format!("{}: {error}", path.display()))),
            Ok(bytes) => {
                let own = path.parent().unwrap_or(path);
                let source = Source::parse(&bytes).and_then(|source| {
                    source.check_files(&self.secrets, own)?;
                    Ok(source)
                });
                let source = source.map_err(|why| format!("{}: {why}", path.display()));
                (Some(bytes), source)
            }
        }
    }
}
