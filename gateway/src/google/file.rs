//! A credentials file → what it asks to be done. The kinds are those of Google's own libraries; what is not served is
//! refused by name.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Longest wait that an impersonated token's life may have.
const LIFETIME_SECONDS: u64 = 3600;

/// How a token is got.
pub enum Source {
    /// From the metadata server of the machine.
    Metadata {
        /// Where it is, when elsewhere than usual.
        host: Option<String>,
    },
    /// By a signature of a service account's key.
    ServiceAccount(ServiceAccount),
    /// By the refresh token of a person.
    AuthorizedUser(AuthorizedUser),
    /// By the token of another identity provider.
    External(Box<External>),
    /// As another account, with one of the others first.
    Impersonated {
        /// Who asks.
        source: Box<Source>,
        /// Where to ask.
        url: String,
        /// How long the token shall live.
        lifetime_seconds: u64,
    },
}

/// A service account's key.
#[derive(Deserialize)]
pub struct ServiceAccount {
    /// Its address.
    pub client_email: String,
    /// PEM.
    pub private_key: String,
    /// Name of the key.
    pub private_key_id: Option<String>,
    /// Where tokens are got.
    #[serde(default = "token_uri")]
    pub token_uri: String,
}

/// What `gcloud auth application-default login` writes.
#[derive(Deserialize)]
pub struct AuthorizedUser {
    /// OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The person's.
    pub refresh_token: String,
    /// Where tokens are got.
    #[serde(default = "token_uri")]
    pub token_uri: String,
}

/// Workload identity federation.
#[derive(Deserialize)]
pub struct External {
    /// The pool's provider.
    pub audience: String,
    /// What kind of token the subject's is.
    pub subject_token_type: String,
    /// The token exchange.
    pub token_url: String,
    /// Where the subject's token is.
    pub credential_source: SubjectSource,
    /// The account to act as.
    pub service_account_impersonation_url: Option<String>,
    /// How long its token shall live.
    pub service_account_impersonation: Option<Impersonation>,
    /// OAuth client, where the exchange wants one.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<String>,
    /// Project that a workforce pool's users are billed to.
    pub workforce_pool_user_project: Option<String>,
}

/// How long an impersonated token shall live.
#[derive(Deserialize)]
pub struct Impersonation {
    /// In seconds.
    pub token_lifetime_seconds: Option<u64>,
}

/// Where the subject's token is: a file or an address.
#[derive(Deserialize)]
pub struct SubjectSource {
    /// A file, read anew each time.
    pub file: Option<PathBuf>,
    /// An address that answers `GET`.
    pub url: Option<String>,
    /// Headers for it.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    /// How the token stands in what is read.
    #[serde(default)]
    pub format: Format,
    environment_id: Option<String>,
    executable: Option<Value>,
    certificate: Option<Value>,
}

/// How the subject's token stands in what is read.
#[derive(Default, Deserialize)]
pub struct Format {
    /// `text` or `json`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Member that holds it.
    pub subject_token_field_name: Option<String>,
}

fn token_uri() -> String {
    TOKEN_URI.into()
}

impl External {
    /// How long an impersonated token shall live.
    pub fn lifetime_seconds(&self) -> u64 {
        let wanted = self.service_account_impersonation.as_ref().and_then(|of| of.token_lifetime_seconds);
        wanted.unwrap_or(LIFETIME_SECONDS)
    }
}

impl Source {
    /// Reads a file's text.
    ///
    /// # Errors
    /// One sentence, which holds nothing of the file but names of members.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|_| "is not JSON; give a Google credentials file".to_owned())?;
        Self::from_value(&value, 0)
    }

    fn from_value(value: &Value, depth: u8) -> Result<Self, String> {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        // serde's own message names the member that is missing, never a value.
        let wrong = |error: serde_json::Error| {
            format!("a credential of type {kind} that cannot be read: {}", member(&error))
        };
        match kind.as_str() {
            "service_account" => Ok(Self::ServiceAccount(ServiceAccount::deserialize(value).map_err(wrong)?)),
            "authorized_user" => Ok(Self::AuthorizedUser(AuthorizedUser::deserialize(value).map_err(wrong)?)),
            "external_account" => {
                let external = External::deserialize(value).map_err(wrong)?;
                let from = &external.credential_source;
                let refused = [
                    ("environment_id (AWS)", from.environment_id.is_some()),
                    ("executable", from.executable.is_some()),
                    ("certificate", from.certificate.is_some()),
                ];
                if let Some((what, _)) = refused.iter().find(|(_, given)| *given) {
                    return Err(format!("credential_source.{what} is not served; use file or url"));
                }
                if from.file.is_some() == from.url.is_some() {
                    return Err("credential_source: give exactly one of file and url".into());
                }
                Ok(Self::External(Box::new(external)))
            }
            "impersonated_service_account" if depth == 0 => {
                let url = value.get("service_account_impersonation_url").and_then(Value::as_str);
                let url = url.ok_or("service_account_impersonation_url is missing")?.to_owned();
                let inner = value.get("source_credentials").ok_or("source_credentials is missing")?;
                let source = Box::new(Self::from_value(inner, depth + 1)?);
                Ok(Self::Impersonated { source, url, lifetime_seconds: LIFETIME_SECONDS })
            }
            "" => Err("has no \"type\"; give a Google credentials file".into()),
            _ => Err("its \"type\" is not served; use service_account, authorized_user, external_account or impersonated_service_account".into()),
        }
    }

    /// A subject's token may not be read from another Secret's folder: whoever writes this file would get what is there.
    ///
    /// # Errors
    /// A sentence that names the path.
    pub fn check_files(&self, secrets: &Path, own: &Path) -> Result<(), String> {
        match self {
            Self::External(external) => {
                let Some(file) = &external.credential_source.file else { return Ok(()) };
                let real = std::fs::canonicalize(file).unwrap_or_else(|_| file.clone());
                let inside = |folder: &Path| {
                    std::fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder))
                };
                if inside(secrets) && !inside(own) {
                    return Err(format!("credential_source.file {}: is of another Secret", file.display()));
                }
                Ok(())
            }
            Self::Impersonated { source, .. } => source.check_files(secrets, own),
            Self::Metadata { .. } | Self::ServiceAccount(_) | Self::AuthorizedUser(_) => Ok(()),
        }
    }
}

/// What serde says of a member, without any value.
fn member(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") { text } else { "a member has the wrong type".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        match Source::parse(text.as_bytes()) {
            Ok(_) => panic!("{text} is taken"),
            Err(why) => why,
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_a_secret() {
        for (text, expected) in [
            ("secret", "is not JSON"),
            ("{}", "has no \"type\""),
            (r#"{"type":"secret"}"#, "its \"type\" is not served"),
            (r#"{"type":"service_account","client_email":"a"}"#, "missing field `private_key`"),
            (
                r#"{"type":"authorized_user","client_id":5,"client_secret":"secret","refresh_token":"r"}"#,
                "wrong type",
            ),
            (
                r#"{"type":"external_account","audience":"a","subject_token_type":"t","token_url":"u","credential_source":{"environment_id":"aws1"}}"#,
                "credential_source.environment_id (AWS) is not served",
            ),
            (
                r#"{"type":"external_account","audience":"a","subject_token_type":"t","token_url":"u","credential_source":{"executable":{"command":"secret"}}}"#,
                "credential_source.executable is not served",
            ),
            (
                r#"{"type":"external_account","audience":"a","subject_token_type":"t","token_url":"u","credential_source":{}}"#,
                "exactly one of file and url",
            ),
        ] {
            let why = fault(text);
            assert!(
                why.contains(expected) && !why.contains("secret\"") && !why.contains(": secret"),
                "{why}"
            );
        }
    }

    #[test]
    fn a_subjects_token_is_not_taken_from_another_secret() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["google", "other"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("token"), "t").unwrap();
        }
        let own = folder.path().join("google");
        let of = |file: &Path| {
            let text = serde_json::json!({"type": "external_account", "audience": "a", "subject_token_type": "t",
                "token_url": "u", "credential_source": {"file": file}});
            Source::parse(text.to_string().as_bytes()).unwrap().check_files(folder.path(), &own)
        };
        assert!(of(&own.join("../other/token")).unwrap_err().contains("another Secret"));
        assert!(of(&own.join("token")).is_ok());
        assert!(of(Path::new("/dev/null")).is_ok());
    }
}
