//! The strict reading of a token. Everything jsonwebtoken leaves loose (types of dates, `crit`, `typ`, required claims)
//! is decided here; of the library only the check of signatures is used.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::claims;
use super::keys::Key;
use super::{IssuerSettings, Refusal};
use crate::caller::{Caller, Proof, tenant};

/// Longer tokens are refused unread.
pub(super) const MAX_BYTES: usize = 8 * 1024;
/// Seconds by which clocks may differ.
pub(super) const LEEWAY: f64 = 30.0;
/// Keys of one id that are tried.
const MAX_CANDIDATES: usize = 4;

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    enc: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    zip: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<f64>,
    #[serde(default)]
    third_party_ai_features_enabled: Option<bool>,
    #[serde(default)]
    gitlab_realm: Option<String>,
    #[serde(default)]
    gitlab_instance_uid: Option<String>,
    #[serde(default)]
    gitlab_namespace_id: Option<Value>,
    #[serde(default)]
    gitlab_root_namespace_id: Option<Value>,
    #[serde(default)]
    gitlab_namespace_ids: Option<Value>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

impl Claims {
    /// Ids of namespaces, numbers or text, from each claim that may hold them. What is neither counts as none.
    fn namespaces(&self) -> Vec<String> {
        let one = |value: &Value| match value {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        };
        let claims = [&self.gitlab_namespace_id, &self.gitlab_root_namespace_id, &self.gitlab_namespace_ids];
        let given = claims.into_iter().flatten();
        given
            .flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice))
            .filter_map(one)
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A field that may be absent and, when it is there, must not be null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A token taken apart, nothing of it believed.
pub(super) struct Parsed<'a> {
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    pub(super) claims: Claims,
}

/// Takes a compact token apart. Members that we read may not stand twice.
pub(super) fn parse(token: &str) -> Result<Parsed<'_>, Refusal> {
    let parts = Refusal::Malformed("not three parts joined by dots");
    let (message, signature) = token.rsplit_once('.').ok_or(parts)?;
    let (header, payload) = message.split_once('.').ok_or(parts)?;
    if payload.contains('.') {
        return Err(parts);
    }
    let header: Header = json(header).ok_or(Refusal::Malformed("the header"))?;
    if header.crit.is_some() {
        return Err(Refusal::Header("crit"));
    }
    if header.enc.is_some() || header.zip.is_some() {
        return Err(Refusal::Header("encryption or compression"));
    }
    let typ = header.typ.as_deref().unwrap_or("JWT");
    if !["JWT", "at+jwt", "application/at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(typ)) {
        return Err(Refusal::Header("typ"));
    }
    let algorithm = algorithm(&header.alg).ok_or(Refusal::Algorithm)?;
    let claims: Claims =
        json(payload).ok_or(Refusal::Malformed("the claims: iss, sub, aud and exp, each of its type"))?;
    Ok(Parsed { message, payload, signature, algorithm, kid: header.kid, claims })
}

/// Spelled exactly: `none`, HMAC and PSS are not here, so that no key is ever used with them.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

pub(super) fn json<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

impl Parsed<'_> {
    /// Whether the claims allow the token here and now.
    pub(super) fn check_claims(&self, settings: &IssuerSettings, now: u64) -> Result<(), Refusal> {
        #[allow(clippy::cast_precision_loss)] // exact for the next 285 million years
        let now = now as f64;
        let claims = &self.claims;
        if claims.iss != settings.issuer {
            return Err(Refusal::UnknownIssuer);
        }
        if claims.sub.is_empty() {
            return Err(Refusal::Malformed("sub is empty"));
        }
        if claims.exp + LEEWAY <= now {
            return Err(Refusal::Expired);
        }
        let future = |time: Option<f64>| time.is_some_and(|time| time > now + LEEWAY);
        if future(claims.nbf) || future(claims.iat) {
            return Err(Refusal::NotYetValid);
        }
        let ours = |audience: &String| settings.audiences.contains(audience);
        let meant = match &claims.aud {
            Audience::One(audience) => ours(audience),
            Audience::Many(audiences) => audiences.iter().any(ours),
        };
        if !meant {
            return Err(Refusal::Audience);
        }
        claims::check(self.payload, &settings.claims)
    }

    /// Whether one of the issuer's keys made the signature. Keys that the header carries or points at are never looked at.
    pub(super) fn check_signature(&self, keys: &[Key]) -> Result<(), Refusal> {
        let named = |key: &&Key| match &self.kid {
            Some(kid) => key.kid.as_ref() == Some(kid),
            None => true,
        };
        if self.kid.is_none() && keys.len() > 1 {
            return Err(Refusal::AmbiguousKey);
        }
        let fit = |key: &&Key| key.takes(self.algorithm);
        let candidates: Vec<&Key> = keys.iter().filter(named).filter(fit).take(MAX_CANDIDATES).collect();
        if candidates.is_empty() {
            return Err(Refusal::UnknownKey);
        }
        let made_by = |key: &&Key| {
            let checked = jsonwebtoken::crypto::verify(
                self.signature,
                self.message.as_bytes(),
                &key.decoding,
                self.algorithm,
            );
            checked.unwrap_or(false)
        };
        if candidates.iter().any(made_by) { Ok(()) } else { Err(Refusal::Signature) }
    }

    /// Whom the token speaks for, once both checks passed.
    pub(super) fn caller(&self) -> Caller {
        let claims = &self.claims;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
        let expires_at = claims.exp as u64;
        Caller {
            proof: Proof::Token,
            tenant: tenant(&claims.iss, &claims.sub),
            issuer: claims.iss.clone(),
            subject: claims.sub.clone(),
            key: None,
            realm: claims.gitlab_realm.clone(),
            instance_uid: claims.gitlab_instance_uid.clone(),
            namespaces: claims.namespaces(),
            scopes: claims.scopes.clone().unwrap_or_default(),
            third_party_ai: claims.third_party_ai_features_enabled,
            models: Vec::new(),
            expires_at,
        }
    }
}
