//! A JWKS document → the keys that may check signatures. One that is unusable is left out, with a line in the log.

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;

/// More keys than any provider publishes.
const MAX_KEYS: usize = 100;
const MIN_RSA_BITS: usize = 2048;

/// A key that an issuer signs with.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    algorithms: &'static [Algorithm],
    /// The only algorithm that the issuer allows, by its JWA name.
    only: Option<String>,
    pub(super) decoding: DecodingKey,
}

impl Key {
    /// Whether the key may be used with this algorithm.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        let allowed = self.only.as_ref().is_none_or(|only| *only == format!("{algorithm:?}"));
        allowed && self.algorithms.contains(&algorithm)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a document.
///
/// # Errors
/// A sentence, when it is no JWKS or holds no usable key.
pub(super) fn read(document: &[u8], issuer: &str) -> Result<Vec<Key>, String> {
    let document: Document = serde_json::from_slice(document)
        .map_err(|error| format!("the key set is not a JWKS document: {error}"))?;
    if document.keys.len() > MAX_KEYS {
        return Err(format!("the key set holds {} keys, more than {MAX_KEYS}", document.keys.len()));
    }
    let mut keys = Vec::new();
    for published in document.keys {
        let read = serde_json::from_value(published).map_err(|_| "it is not a JWK").and_then(key);
        match read {
            Ok(key) => keys.push(key),
            Err(why) => tracing::warn!(issuer, why, "a key of the issuer is not used"),
        }
    }
    if keys.is_empty() { Err("the key set holds no key that can be used".to_owned()) } else { Ok(keys) }
}

fn key(published: Published) -> Result<Key, &'static str> {
    if published.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err("its use is not sig");
    }
    if published.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
        return Err("its key_ops lack verify");
    }
    let part = |part: &Option<String>| part.clone().ok_or("a part of it is missing");
    let broken = |_| "a part of it is not base64url";
    let (algorithms, decoding): (&[Algorithm], _) = match (published.kty.as_str(), published.crv.as_deref()) {
        ("RSA", _) => {
            let key = DecodingKey::from_rsa_components(&part(&published.n)?, &part(&published.e)?)
                .map_err(broken)?;
            check_rsa(&key)?;
            (&[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512], key)
        }
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let key = DecodingKey::from_ec_components(&part(&published.x)?, &part(&published.y)?)
                .map_err(broken)?;
            (if curve == "P-256" { &[Algorithm::ES256] } else { &[Algorithm::ES384] }, key)
        }
        ("OKP", Some("Ed25519")) => {
            let key = DecodingKey::from_ed_components(&part(&published.x)?).map_err(broken)?;
            (&[Algorithm::EdDSA], key)
        }
        ("oct", _) => return Err("it is a shared secret"),
        _ => return Err("its type or curve is not supported"),
    };
    Ok(Key { kid: published.kid, algorithms, only: published.alg, decoding })
}

fn check_rsa(key: &DecodingKey) -> Result<(), &'static str> {
    let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else { return Err("it is not an RSA key") };
    let mut modulus = n.iter().skip_while(|byte| **byte == 0);
    let bits = modulus.next().map_or(0, |top| 8 - top.leading_zeros() as usize) + modulus.count() * 8;
    if bits < MIN_RSA_BITS {
        return Err("its RSA modulus is shorter than 2048 bits");
    }
    let odd = e.last().is_some_and(|low| low % 2 == 1);
    let above_one = e.iter().rev().skip(1).any(|byte| *byte != 0) || e.last().is_some_and(|low| *low > 1);
    if odd && above_one { Ok(()) } else { Err("its RSA exponent is 1 or even") }
}
