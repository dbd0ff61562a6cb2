//! `keys`: makes, lists, revokes and rotates API keys in a file, and prints the Secret that holds it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use modelgate_api::v1alpha1::GoDuration;

use super::misuse;
use crate::keys::file::KeyFile;
use crate::keys::generate;

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
pub struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a key. It is printed once and stands nowhere; the file keeps its SHA-256
    New {
        #[command(flatten)]
        target: Target,
        /// Whom the key speaks for, as limits and logs will name it
        #[arg(long, value_name = "NAME")]
        subject: String,
        /// Model that the key may ask for, a trailing * stands for any ending; may be repeated [default: every model]
        #[arg(long, value_name = "MODEL", value_delimiter = ',')]
        models: Vec<String>,
        /// Time after which the key ends, such as 720h [default: never]
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
    },
    /// Show every key: id, subject, models, times; the keys themselves are not known to anybody
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Take a key out of the file
    Revoke {
        #[command(flatten)]
        target: Target,
        /// Id of the key, as `list` shows it
        id: String,
    },
    /// Make a new key like an old one, which ends after a while
    Rotate {
        #[command(flatten)]
        target: Target,
        /// Id of the old key, as `list` shows it
        id: String,
        /// How long the old key still works
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        grace: String,
    },
}

/// Where the keys are.
#[derive(Debug, clap::Args)]
struct Target {
    /// The file of keys
    #[arg(long, value_name = "FILE", default_value = modelgate_api::names::DEFAULT_KEYS_KEY)]
    file: PathBuf,
    /// Print the manifest of this Secret with the keys to standard output, and a new key to standard error
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// Namespace of the Secret
    #[arg(long, value_name = "NAMESPACE", requires = "secret")]
    namespace: Option<String>,
}

impl Keys {
    /// 0, or 2 with what is wrong.
    pub(super) fn run(self) -> u8 {
        let done = match self.action {
            Action::New { target, subject, models, expires_in } => new(&target, &subject, models, expires_in),
            Action::List { target } => list(&target),
            Action::Revoke { target, id } => revoke(&target, &id),
            Action::Rotate { target, id, grace } => rotate(&target, &id, grace),
        };
        match done {
            Ok(()) => 0,
            Err(fault) => misuse(&[fault]),
        }
    }
}

fn after(flag: &str, text: String) -> Result<SystemTime, String> {
    let span: Duration = GoDuration(text).parse().map_err(|why| format!("{flag}: {why}"))?;
    Ok(SystemTime::now() + span)
}

fn new(
    target: &Target,
    subject: &str,
    models: Vec<String>,
    expires_in: Option<String>,
) -> Result<(), String> {
    if subject.is_empty() {
        return Err("--subject: is empty; name whom the key speaks for".into());
    }
    let expires = expires_in.map(|text| after("--expires-in", text)).transpose()?;
    let mut file = KeyFile::read(&target.file)?;
    let (key, entry) = generate(subject, models, expires);
    file.keys.push(entry);
    file.write(&target.file)?;
    finish(target, &file, Some(&key));
    Ok(())
}

fn list(target: &Target) -> Result<(), String> {
    let file = KeyFile::read(&target.file)?;
    if target.secret.is_some() {
        finish(target, &file, None);
        return Ok(());
    }
    println!("{:<14} {:<24} {:<21} {:<21} MODELS", "ID", "SUBJECT", "CREATED", "EXPIRES");
    for entry in &file.keys {
        let models = if entry.models.is_empty() { "all".to_owned() } else { entry.models.join(",") };
        let expires = entry.expires.as_deref().unwrap_or("never");
        println!("{:<14} {:<24} {:<21} {:<21} {models}", entry.id, entry.subject, entry.created, expires);
    }
    Ok(())
}

fn revoke(target: &Target, id: &str) -> Result<(), String> {
    let mut file = KeyFile::read(&target.file)?;
    let before = file.keys.len();
    file.keys.retain(|entry| entry.id != id);
    if file.keys.len() == before {
        return Err(unknown(target, id));
    }
    file.write(&target.file)?;
    finish(target, &file, None);
    Ok(())
}

fn rotate(target: &Target, id: &str, grace: String) -> Result<(), String> {
    let until = after("--grace", grace)?;
    let mut file = KeyFile::read(&target.file)?;
    let old = file.keys.iter_mut().find(|entry| entry.id == id).ok_or_else(|| unknown(target, id))?;
    let (key, mut entry) = generate(&old.subject, old.models.clone(), None);
    entry.expires = old.expires.clone();
    let until = crate::state::rfc3339(until);
    // Times in this form sort as text. A key that ends sooner by itself is not prolonged.
    old.expires = Some(old.expires.take().map_or(until.clone(), |expires| expires.min(until)));
    file.keys.push(entry);
    file.write(&target.file)?;
    finish(target, &file, Some(&key));
    Ok(())
}

fn unknown(target: &Target, id: &str) -> String {
    format!(
        "{} has no key {id}; `modelgate-gateway keys list` shows those that it has",
        target.file.display()
    )
}

fn finish(target: &Target, file: &KeyFile, key: Option<&str>) {
    match (&target.secret, key) {
        (Some(secret), key) => {
            if let Some(key) = key {
                eprintln!("{key}");
            }
            print!("{}", file.manifest(secret, target.namespace.as_deref()));
        }
        (None, Some(key)) => println!("{key}"),
        (None, None) => {}
    }
}
