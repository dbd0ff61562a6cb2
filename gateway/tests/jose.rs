//! Attacks on tokens, on every route of every protocol, over sockets: each gets 401 in its protocol's shape, and neither the
//! model's server nor an address that the token names hears of it. And mutants of good tokens and keys, of which none is
//! let in; `MODELGATE_MUTANTS` says how many (`make test-full SUITE=tokens`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Tables are long, and their rows build values in place.
#![allow(clippy::too_many_lines)]

mod support;
#[path = "support/tokens.rs"]
mod tokens;

use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey};
use modelgate_gateway::keys::file::KeyFile;
use modelgate_gateway::keys::{Table, generate};
use modelgate_gateway::oidc::Verifier;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::{Gateway, Upstream, config};
use tokens::{Issuer, JWKS, RSA_A, RSA_B, b64, jwk, now, rsa, sign, sign_text, with};

const ROUTES: [(&str, &str); 9] = [
    ("POST", "/v2/completions"),
    ("POST", "/v2/code/completions"),
    ("POST", "/v2/code/generations"),
    ("POST", "/v4/code/suggestions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
    ("POST", "/nope"),
    ("HEAD", "/v1/models"),
];

async fn issuer() -> Issuer {
    let keys = [jwk(&rsa(RSA_A), Algorithm::RS256, "a"), jwk(&rsa(RSA_B), Algorithm::RS256, "b")];
    Issuer::start(json!(keys)).await
}

/// Name and token of each attack; `elsewhere` is an address that the token would have us ask.
fn attacks(issuer: &Issuer, elsewhere: &str) -> Vec<(&'static str, String)> {
    let claims = || issuer.claims();
    let (a, b) = (rsa(RSA_A), rsa(RSA_B));
    let good = issuer.token(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, payload) = message.split_once('.').unwrap();
    let rs = |header: Value, key: &EncodingKey| sign(header, claims(), key, Algorithm::RS256);
    let changed = |changes: Value| issuer.token(changes);
    let with_head = |header: &str| format!("{}.{payload}.{signature}", b64(header));
    let pem = include_bytes!("data/oidc/rsa-a.pub.pem");
    let hmac = |key: &[u8]| {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "a"});
        sign(header, claims(), &EncodingKey::from_secret(key), Algorithm::HS256)
    };
    let stranger = json!({"alg": "RS256", "kid": "a", "jwk": jwk(&b, Algorithm::RS256, "a")});
    vec![
        ("alg none", format!("{}.{payload}.", b64(r#"{"alg":"none"}"#))),
        ("alg nOnE", with_head(r#"{"alg":"nOnE","kid":"a"}"#)),
        ("alg missing", with_head(r#"{"kid":"a"}"#)),
        ("alg a number", with_head(r#"{"alg":5,"kid":"a"}"#)),
        ("alg twice", with_head(r#"{"alg":"RS256","alg":"none","kid":"a"}"#)),
        ("no signature", format!("{message}.")),
        ("HMAC with the public key as PEM", hmac(pem)),
        ("HMAC with the public key as JWK", hmac(jwk(&a, Algorithm::RS256, "a").to_string().as_bytes())),
        ("PSS", sign(json!({"alg": "PS256", "kid": "a"}), claims(), &a, Algorithm::PS256)),
        ("another of the issuer's keys", rs(json!({"alg": "RS256", "kid": "a"}), &b)),
        ("typ of another kind", rs(json!({"alg": "RS256", "kid": "a", "typ": "secevent+jwt"}), &a)),
        ("typ null", rs(json!({"alg": "RS256", "kid": "a", "typ": null}), &a)),
        ("kid absent with two keys", rs(json!({"alg": "RS256"}), &a)),
        ("kid twice", {
            let header = r#"{"alg":"RS256","kid":"b","kid":"a"}"#;
            sign_text(header, &claims().to_string(), &a, Algorithm::RS256)
        }),
        ("kid a path", rs(json!({"alg": "RS256", "kid": "../../../dev/null"}), &a)),
        ("kid long", rs(json!({"alg": "RS256", "kid": "a".repeat(4000)}), &a)),
        ("kid with NUL", rs(json!({"alg": "RS256", "kid": "a\u{0}"}), &a)),
        ("a key of the token's own", rs(stranger, &b)),
        ("x5u", rs(json!({"alg": "RS256", "kid": "c", "x5u": format!("{elsewhere}/chain")}), &b)),
        ("jku", rs(json!({"alg": "RS256", "kid": "c", "jku": format!("{elsewhere}/keys")}), &b)),
        ("x5c", rs(json!({"alg": "RS256", "kid": "c", "x5c": ["AAAA"]}), &b)),
        ("crit", rs(json!({"alg": "RS256", "kid": "a", "crit": ["exp"]}), &a)),
        ("b64 false", rs(json!({"alg": "RS256", "kid": "a", "b64": false, "crit": ["b64"]}), &a)),
        ("compressed", rs(json!({"alg": "RS256", "kid": "a", "zip": "DEF"}), &a)),
        ("encrypted", format!("{}.AAAA.AAAA.AAAA.AAAA", b64(r#"{"alg":"RSA-OAEP","enc":"A128GCM"}"#))),
        ("expired", changed(json!({"exp": now() - 3600}))),
        ("not yet valid", changed(json!({"nbf": now() + 3600}))),
        ("for another audience", changed(json!({"aud": "theirs"}))),
        ("for no audience", changed(json!({"aud": []}))),
        ("of another issuer", changed(json!({"iss": "https://issuer.test"}))),
        ("exp as text", changed(json!({"exp": "9999999999"}))),
        ("exp absent", changed(json!({"exp": null}))),
        ("sub twice", {
            let claims = with(claims(), json!({})).to_string().replacen('{', r#"{"sub":"x","#, 1);
            sign_text(r#"{"alg":"RS256","kid":"a"}"#, &claims, &a, Algorithm::RS256)
        }),
        ("too long", changed(json!({"padding": "x".repeat(9000)}))),
        ("padded", format!("{head}=.{payload}.{signature}")),
        ("signature padded", format!("{message}.{signature}==")),
        ("no base64url", format!("{head}.{}.{signature}", payload.replacen('e', "+", 1))),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.AAAA")),
        ("JSON form", json!({"payload": payload, "protected": head, "signature": signature}).to_string()),
        (
            "payload changed",
            format!("{head}.{}.{signature}", b64(with(claims(), json!({"sub": "admin"})).to_string())),
        ),
    ]
}

#[tokio::test]
async fn no_attack_on_a_token_passes_on_any_route_and_nobody_hears_of_it() {
    let issuer = issuer().await;
    let upstream =
        Upstream::start(|_| support::json(r#"{"choices":[{"text":"y","finish_reason":"stop"}]}"#)).await;
    let elsewhere = Upstream::start(|_| support::json("{}")).await;
    let auth = format!("oidc: [{{issuer: '{}', audiences: [ours]}}]", issuer.url);
    let gateway = Gateway::start(&config(&[&upstream.url()], "").replace("anonymous: true", &auth)).await;
    gateway.until_serving().await;
    let ask = async |method: &str, path: &str, values: &[&str]| {
        let mut headers =
            vec![("x-gitlab-authentication-type", "oidc"), ("content-type", "application/json")];
        headers.extend(values.iter().map(|value| ("authorization", *value)));
        gateway.send(method.parse().unwrap(), path, &headers, "{}").await
    };
    let before = upstream.count();
    let bearer = format!("Bearer {}", issuer.token(json!({})));
    for (method, path) in ROUTES {
        let answer = ask(method, path, &[&bearer]).await;
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{path}: the good one is let in");
    }
    for (name, token) in attacks(&issuer, &format!("http://{}", elsewhere.at)) {
        for (method, path) in ROUTES {
            let answer = ask(method, path, &[&format!("Bearer {token}")]).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name} at {path}: {}", answer.text);
            assert!(
                method == "HEAD" || answer.json().get("error").is_some(),
                "{name} at {path}: {}",
                answer.text
            );
        }
    }
    let joined = format!("{bearer}, {bearer}");
    for values in [&[joined.as_str()][..], &["Basic dXM6cHc="], &["Bearer"], &[""]] {
        for (method, path) in ROUTES {
            assert_eq!(
                ask(method, path, values).await.status,
                StatusCode::UNAUTHORIZED,
                "{values:?} at {path}"
            );
        }
    }
    assert_eq!(upstream.count(), before, "no request reached the model's server");
    assert_eq!(elsewhere.count(), 0, "no address of a token's was asked");
    assert!(issuer.asked(JWKS) <= 3, "unknown kids do not have the keys fetched again and again");
}

/// How many mutants are made of each: a few in every run, ten million in the long suite.
fn mutants(few: u64) -> u64 {
    std::env::var("MODELGATE_MUTANTS").map_or(few, |count| count.parse().expect("a number"))
}

/// One to three changes of a byte: another, one more, one less.
fn mutate(text: &str, rng: &mut impl Rng) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n";
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.random_range(1..=3) {
        let at = rng.random_range(0..bytes.len());
        let byte = ALPHABET[rng.random_range(0..ALPHABET.len())];
        match rng.random_range(0..4) {
            0 => bytes.insert(at, byte),
            1 => drop(bytes.remove(at)),
            _ => bytes[at] = byte,
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn no_mutant_of_a_token_is_let_in() {
    let issuer = issuer().await;
    let verifier = Verifier::new(vec![issuer.settings()]);
    let good = issuer.token(json!({}));
    verifier.verify(&good).await.unwrap();
    let mut rng = rand::rngs::StdRng::seed_from_u64(7519);
    for count in 0..mutants(1_000) {
        let mutant = mutate(&good, &mut rng);
        if mutant != good {
            assert!(verifier.verify(&mutant).await.is_err(), "mutant {count}: {mutant}");
        }
    }
    verifier.verify(&good).await.unwrap();
}

#[test]
fn no_mutant_of_a_key_is_let_in() {
    let (key, entry) = generate("alice", Vec::new(), None);
    let (_, other) = generate("bob", Vec::new(), None);
    let table = Table::new(&KeyFile { keys: vec![entry, other] });
    assert!(table.check(&key, 0).is_ok());
    let mut rng = rand::rngs::StdRng::seed_from_u64(7519);
    for count in 0..mutants(100_000) {
        let mutant = mutate(&key, &mut rng);
        assert!(mutant == key || table.check(&mutant, 0).is_err(), "mutant {count}: {mutant}");
    }
}

#[test]
fn no_mutant_of_a_key_file_is_read_as_another_without_a_word() {
    let (_, entry) = generate("alice", vec!["m".into()], None);
    let good = KeyFile { keys: vec![entry] };
    let text = good.text();
    let mut rng = rand::rngs::StdRng::seed_from_u64(7519);
    for _ in 0..mutants(20_000) {
        let mutant = mutate(&text, &mut rng);
        // Whatever is read is whole and of one key: a mistake is never half a file.
        if let Ok(read) = KeyFile::parse(mutant.as_bytes()) {
            assert_eq!((read.keys.len(), read.keys[0].sha256.len()), (1, 64), "{mutant}");
        }
    }
}
