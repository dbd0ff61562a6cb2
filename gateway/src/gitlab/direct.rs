//! Direct access: GitLab asks for a token on behalf of one of its users, and that user's editor then asks the gateway
//! without the way through GitLab. The token is signed with a key of our own and says no more than the one it was asked
//! for with: the same instance and namespaces, one user, completions alone, one hour.
//!
//! Keys are read from their files again every few seconds, so a rotated one needs no restart.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use modelgate_api::contract::{GitlabConfig, SecretFile};
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, Proof, tenant};
use crate::secrets::Secrets;

/// Issuer and audience of our tokens. No address, so no other issuer can have it.
pub(super) const ISSUER: &str = "modelgate";
/// How long a token is good.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Between two readings of the keys' files.
const REREAD: Duration = Duration::from_secs(5);
const LEEWAY_S: u64 = 30;
/// The user that a token is for, as GitLab names it.
const USER: &str = "x-gitlab-global-user-id";

/// A token, as `POST /v1/code/user_access_token` answers it.
#[derive(Debug, Serialize)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gitlab_realm: Option<String>,
    gitlab_instance_uid: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gitlab_namespace_ids: Vec<String>,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    third_party_ai_features_enabled: Option<bool>,
}

/// Signs and checks tokens for direct access.
pub struct DirectAccess {
    secrets: Secrets,
    signing: SecretFile,
    validation: Option<SecretFile>,
    keys: Mutex<Option<(Instant, Arc<Keys>)>>,
}

#[derive(Default)]
struct Keys {
    signing: Option<(String, EncodingKey)>,
    /// By key id.
    accepted: Vec<(String, DecodingKey)>,
}

impl DirectAccess {
    /// Reads keys as `auth.gitlab` names them; `None` where it names no signing key.
    #[must_use]
    pub fn new(config: &GitlabConfig, secrets: &Secrets) -> Option<Self> {
        Some(Self {
            secrets: secrets.clone(),
            signing: config.signing_key.clone()?,
            validation: config.validation_key.clone(),
            keys: Mutex::new(None),
        })
    }

    /// A token for the user that GitLab names beside its own token, whose caller this is. `None` while the key cannot be
    /// used, which the log tells.
    #[must_use]
    pub fn issue(&self, caller: &Caller, headers: &HeaderMap) -> Option<Issued> {
        let keys = self.keys();
        let (kid, key) = keys.signing.as_ref()?;
        let user = headers.get(USER).and_then(|user| user.to_str().ok()).filter(|user| !user.is_empty());
        let now = unix_now();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: ISSUER.into(),
            sub: user.unwrap_or(&caller.subject).into(),
            exp: now + LIFETIME.as_secs(),
            nbf: now,
            iat: now,
            jti: uuid::Uuid::new_v4().to_string(),
            gitlab_realm: caller.realm.clone(),
            gitlab_instance_uid: caller.instance_uid.clone().unwrap_or_else(|| caller.subject.clone()),
            gitlab_namespace_ids: caller.namespaces.clone(),
            scopes: vec!["complete_code".into()],
            third_party_ai_features_enabled: caller.third_party_ai,
        };
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::RS256) };
        match encode(&header, &claims, key) {
            Ok(token) => Some(Issued { token, expires_at: claims.exp }),
            Err(error) => {
                tracing::error!(%error, "a token for direct access could not be signed");
                None
            }
        }
    }

    /// The caller of a token that we signed; `None` for every other token.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Caller> {
        let header = decode_header(token).ok().filter(|header| header.alg == Algorithm::RS256)?;
        let keys = self.keys();
        let (_, key) = keys.accepted.iter().find(|(kid, _)| header.kid.as_ref() == Some(kid))?;
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[ISSUER]);
        rules.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        rules.validate_nbf = true;
        rules.leeway = LEEWAY_S;
        let claims = decode::<Claims>(token, key, &rules).ok()?.claims;
        Some(Caller {
            proof: Proof::Token,
            // Users of two instances may have one id.
            tenant: tenant(&format!("{ISSUER} {}", claims.gitlab_instance_uid), &claims.sub),
            issuer: ISSUER.into(),
            subject: claims.sub,
            realm: claims.gitlab_realm,
            instance_uid: Some(claims.gitlab_instance_uid),
            namespaces: claims.gitlab_namespace_ids,
            scopes: claims.scopes,
            third_party_ai: claims.third_party_ai_features_enabled,
            expires_at: claims.exp,
            ..Caller::anonymous()
        })
    }

    fn keys(&self) -> Arc<Keys> {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, keys)) = &*known
            && at.elapsed() < REREAD
        {
            return Arc::clone(keys);
        }
        let keys = Arc::new(self.read());
        *known = Some((Instant::now(), Arc::clone(&keys)));
        keys
    }

    fn read(&self) -> Keys {
        let usable = |file: &SecretFile, read: &mut dyn FnMut(&[u8]) -> Result<(), String>| {
            if let Err(why) = self.secrets.read(file).and_then(|pem| read(&pem)) {
                let path = self.secrets.path(file);
                tracing::warn!(file = %path.display(), why, "a key of auth.gitlab cannot be used");
            }
        };
        let mut keys = Keys::default();
        usable(&self.signing, &mut |pem| {
            let (kid, private, public) = private_key(pem)?;
            keys.accepted.push((kid.clone(), public));
            keys.signing = Some((kid, private));
            Ok(())
        });
        if let Some(file) = &self.validation {
            usable(file, &mut |pem| {
                let key =
                    private_key(pem).map(|(kid, _, public)| (kid, public)).or_else(|_| public_key(pem))?;
                keys.accepted.push(key);
                Ok(())
            });
        }
        keys
    }
}

/// Id, private and public half of an RSA private key.
fn private_key(pem: &[u8]) -> Result<(String, EncodingKey, DecodingKey), String> {
    let wrong = |error: jsonwebtoken::errors::Error| format!("not an RSA private key in PEM: {error}");
    let private = EncodingKey::from_rsa_pem(pem).map_err(wrong)?;
    let jwk = Jwk::from_encoding_key(&private, Algorithm::RS256).map_err(wrong)?;
    let public = DecodingKey::from_jwk(&jwk).map_err(wrong)?;
    Ok((thumbprint(&jwk)?, private, public))
}

fn public_key(pem: &[u8]) -> Result<(String, DecodingKey), String> {
    let wrong = |error: jsonwebtoken::errors::Error| format!("not an RSA key in PEM: {error}");
    let public = DecodingKey::from_rsa_pem(pem).map_err(wrong)?;
    let jwk = Jwk::from_decoding_key(&public, Some(Algorithm::RS256)).map_err(wrong)?;
    Ok((thumbprint(&jwk)?, public))
}

/// The key's id: that of RFC 7638, so that the same key has the same id in either file.
fn thumbprint(jwk: &Jwk) -> Result<String, String> {
    jwk.thumbprint(ThumbprintHash::SHA256).map_err(|error| format!("the key has no thumbprint: {error}"))
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
