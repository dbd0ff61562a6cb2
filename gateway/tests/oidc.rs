//! What a token must be: its claims, header, algorithm, signature and form, against an issuer that runs in the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Tables are long, and their rows build values in place.
#![allow(clippy::too_many_lines)]

#[path = "support/tokens.rs"]
mod issuer;

use issuer::{DISCOVERY, Issuer, JWKS, RSA_A, RSA_B, b64, jwk, now, rsa, sign, sign_text, verdict, with};
use jsonwebtoken::{Algorithm, EncodingKey};
use modelgate_gateway::oidc::{IssuerSettings, Verifier};
use serde_json::json;

#[tokio::test]
async fn claims_are_read_strictly() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let verifier = Verifier::new(vec![issuer.settings()]);
    let token = issuer.token(json!({
        "gitlab_realm": "self-managed", "third_party_ai_features_enabled": true, "gitlab_instance_uid": "uid",
        "scopes": ["code_suggestions"], "unknown": {"x": 1},
    }));
    let subject = verifier.verify(&token).await.unwrap();
    assert_eq!((subject.issuer.as_str(), subject.subject.as_str()), (issuer.url.as_str(), "instance-1"));
    assert_eq!((subject.realm.as_deref(), subject.third_party_ai), (Some("self-managed"), Some(true)));
    assert_eq!(
        (subject.instance_uid.as_deref(), subject.scopes.as_slice()),
        (Some("uid"), ["code_suggestions".to_owned()].as_slice())
    );
    assert_eq!(subject.tenant.len(), 32);
    let plain = verifier.verify(&issuer.token(json!({}))).await.unwrap();
    assert_eq!((plain.realm.as_deref(), plain.third_party_ai), (None, None));

    let longer: Vec<String> = (0..200).map(|index| format!("other-{index}")).chain(["ours".into()]).collect();
    for (changes, expected) in [
        (json!({"aud": ["x", "also-ours"]}), "ok"),
        (json!({"aud": longer}), "ok"),
        (json!({"aud": "other"}), "audience"),
        (json!({"aud": "our"}), "audience"),
        (json!({"aud": "ours-too"}), "audience"),
        (json!({"aud": []}), "audience"),
        (json!({"aud": null}), "malformed"),
        (json!({"aud": {"ours": 1}}), "malformed"),
        (json!({"aud": [1, "ours"]}), "malformed"),
        (json!({"exp": now() - 20}), "ok"),
        (json!({"exp": now() - 31}), "expired"),
        (json!({"exp": -5}), "expired"),
        (json!({"exp": 0}), "expired"),
        (json!({"exp": format!("{}", now() + 600)}), "malformed"),
        (json!({"exp": true}), "malformed"),
        (json!({"exp": null}), "malformed"),
        (json!({"nbf": now() + 20}), "ok"),
        (json!({"nbf": now() + 120}), "not_yet_valid"),
        (json!({"nbf": "0"}), "malformed"),
        (json!({"nbf": null, "iat": null}), "ok"),
        (json!({"iat": now() + 120}), "not_yet_valid"),
        (json!({"iat": "now"}), "malformed"),
        (json!({"iss": format!("{}/", issuer.url)}), "unknown_issuer"),
        (json!({"iss": issuer.url.to_uppercase()}), "unknown_issuer"),
        (json!({"iss": issuer.url.replace("http:", "https:")}), "unknown_issuer"),
        (json!({"iss": format!("{}.evil", issuer.url)}), "unknown_issuer"),
        (json!({"iss": [issuer.url]}), "malformed"),
        (json!({"iss": null}), "malformed"),
        (json!({"sub": null}), "malformed"),
        (json!({"sub": ""}), "malformed"),
        (json!({"third_party_ai_features_enabled": "true"}), "malformed"),
    ] {
        assert_eq!(verdict(&verifier, &issuer.token(changes.clone())).await, expected, "{changes}");
    }
    let header = r#"{"alg":"RS256","kid":"a"}"#;
    let claims = issuer.claims().to_string();
    for (claims, expected) in [
        (claims.replacen('{', "{\"exp\":99999999999,", 1), "malformed"),
        (
            claims
                .replacen("\"aud\":", "\"nbf\":null,\"aud\":", 1)
                .replace(&format!(",\"nbf\":{}", now() - 5), ""),
            "malformed",
        ),
        (claims.replace(&format!("\"exp\":{}", issuer.claims()["exp"]), "\"exp\":1e400"), "malformed"),
        (format!("[{claims}]"), "malformed"),
        ("null".to_owned(), "malformed"),
    ] {
        assert_eq!(
            verdict(&verifier, &sign_text(header, &claims, &rsa(RSA_A), Algorithm::RS256)).await,
            expected,
            "{claims}"
        );
    }
    assert_eq!((issuer.asked(DISCOVERY), issuer.asked(JWKS)), (1, 1), "none of these asks the issuer again");
}

#[tokio::test]
async fn headers_algorithms_and_signatures_are_read_strictly() {
    let p256 = EncodingKey::from_ec_pem(include_bytes!("data/oidc/p256.pem")).unwrap();
    let p384 = EncodingKey::from_ec_pem(include_bytes!("data/oidc/p384.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(include_bytes!("data/oidc/ed25519.pem")).unwrap();
    let (a, b) = (rsa(RSA_A), rsa(RSA_B));
    let published = jwk(&a, Algorithm::RS256, "a");
    let issuer = Issuer::start(json!([
        published,
        with(jwk(&b, Algorithm::RS256, "b"), json!({"alg": null})),
        jwk(&p256, Algorithm::ES256, "p256"),
        jwk(&p384, Algorithm::ES384, "p384"),
        jwk(&ed, Algorithm::EdDSA, "ed"),
        {"kty": "oct", "kid": "oct", "k": b64("secret"), "alg": "HS256"},
        {"kty": "AKP", "kid": "new", "alg": "ML-DSA-44", "pub": "x"},
    ]))
    .await;
    let verifier = Verifier::new(vec![issuer.settings()]);
    let claims = issuer.claims();
    let hmac = |secret: &[u8]| EncodingKey::from_secret(secret);
    let rs = Algorithm::RS256;
    for (header, key, algorithm, expected) in [
        (json!({"alg": "RS256", "kid": "a"}), &a, rs, "ok"),
        (json!({"alg": "RS256", "kid": "a", "typ": "at+jwt"}), &a, rs, "ok"),
        (json!({"alg": "RS512", "kid": "b"}), &b, Algorithm::RS512, "ok"),
        (json!({"alg": "ES256", "kid": "p256"}), &p256, Algorithm::ES256, "ok"),
        (json!({"alg": "ES384", "kid": "p384"}), &p384, Algorithm::ES384, "ok"),
        (json!({"alg": "EdDSA", "kid": "ed"}), &ed, Algorithm::EdDSA, "ok"),
        (json!({"alg": "RS512", "kid": "a"}), &a, Algorithm::RS512, "unknown_key"), // its alg is RS256
        (json!({"alg": "PS256", "kid": "b"}), &b, Algorithm::PS256, "algorithm"),
        (json!({"alg": "RS256", "kid": "a"}), &b, rs, "signature"),
        (json!({"alg": "RS256", "kid": "b"}), &a, rs, "signature"),
        (json!({"alg": "ES256", "kid": "a"}), &p256, Algorithm::ES256, "unknown_key"),
        (json!({"alg": "RS256"}), &a, rs, "ambiguous_key"),
        (json!({"alg": "rs256", "kid": "a"}), &a, rs, "algorithm"),
        (json!({"alg": "HS256", "kid": "a"}), &hmac(RSA_A), Algorithm::HS256, "algorithm"),
        (json!({"alg": "HS256", "kid": "oct"}), &hmac(b"secret"), Algorithm::HS256, "algorithm"),
        (json!({"alg": "RS256", "kid": "oct"}), &a, rs, "unknown_key"),
        (json!({"kid": "a"}), &a, rs, "malformed"),
        (json!({"alg": 1, "kid": "a"}), &a, rs, "malformed"),
        (json!({"alg": ["RS256"], "kid": "a"}), &a, rs, "malformed"),
        (json!({"alg": "RS256", "kid": 7}), &a, rs, "malformed"),
        (json!({"alg": "RS256", "kid": ""}), &a, rs, "unknown_key"),
        (json!({"alg": "RS256", "kid": "../a' OR 1=1 --\u{0}"}), &a, rs, "unknown_key"),
        (json!({"alg": "RS256", "kid": "a", "crit": ["b64"], "b64": false}), &a, rs, "header"),
        (json!({"alg": "RS256", "kid": "a", "crit": []}), &a, rs, "header"),
        (json!({"alg": "RS256", "kid": "a", "zip": "DEF"}), &a, rs, "header"),
        (json!({"alg": "RSA-OAEP", "kid": "a", "enc": "A128GCM"}), &a, rs, "header"),
        (json!({"alg": "RS256", "kid": "a", "typ": "logout+jwt"}), &a, rs, "header"),
        (json!({"alg": "RS256", "kid": "x", "jwk": published}), &a, rs, "unknown_key"),
        (json!({"alg": "RS256", "kid": "a", "jwk": jwk(&b, rs, "a")}), &b, rs, "signature"),
        (json!({"alg": "RS256", "kid": "a", "jku": format!("{}/evil", issuer.url)}), &b, rs, "signature"),
        (json!({"alg": "RS256", "kid": "a", "x5u": format!("{}/evil", issuer.url)}), &b, rs, "signature"),
        (json!({"alg": "RS256", "kid": "a", "x5c": ["AAAA"]}), &b, rs, "signature"),
    ] {
        assert_eq!(
            verdict(&verifier, &sign(header.clone(), claims.clone(), key, algorithm)).await,
            expected,
            "{header}"
        );
    }
    let unsigned = |alg: &str| {
        format!("{}.{}.", b64(json!({"alg": alg, "kid": "a"}).to_string()), b64(claims.to_string()))
    };
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        assert_eq!(verdict(&verifier, &unsigned(alg)).await, "algorithm", "{alg:?}");
    }
    assert_eq!(verdict(&verifier, &unsigned("RS256")).await, "signature");
    let zeros = format!(
        "{}{}",
        unsigned("ES256").replace(
            &b64(json!({"alg": "ES256", "kid": "a"}).to_string()),
            &b64(json!({"alg": "ES256", "kid": "p256"}).to_string())
        ),
        b64([0; 64])
    );
    assert_eq!(verdict(&verifier, &zeros).await, "signature");
    let twice = sign_text(r#"{"alg":"none","alg":"RS256","kid":"a"}"#, &claims.to_string(), &a, rs);
    assert_eq!(verdict(&verifier, &twice).await, "malformed");
    assert_eq!(issuer.asked("/evil"), 0);
}

#[tokio::test]
async fn only_the_compact_form_of_bounded_length_is_read() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let verifier = Verifier::new(vec![issuer.settings()]);
    let token = issuer.token(json!({}));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    for (token, expected) in [
        (token.clone(), "ok"),
        (String::new(), "malformed"),
        ("...".to_owned(), "malformed"),
        (message.to_owned(), "malformed"),
        (format!("{token}."), "malformed"),
        (format!("{token}.x"), "malformed"),
        (format!("{token}.x.y"), "malformed"),
        (format!(" {token}"), "malformed"),
        (format!("{token} "), "signature"),
        (format!("{token}="), "signature"),
        (format!("{header}.{claims}.{signature}\n"), "signature"),
        (json!({"payload": claims, "protected": header, "signature": signature}).to_string(), "malformed"),
        (issuer.token(json!({"pad": "x".repeat(8192)})), "too_long"),
        ("x".repeat(1 << 20), "too_long"),
    ] {
        assert_eq!(verdict(&verifier, &token).await, expected, "{}", &token[..token.len().min(80)]);
    }
    // Tokens that share all but their last letter: the accepted one is remembered and must not lend its subject.
    for last in signature.char_indices().map(|(at, _)| at).rev().take(10) {
        let mut changed = signature.as_bytes().to_vec();
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        let forged = format!("{message}.{}", String::from_utf8(changed).unwrap());
        assert_eq!(verdict(&verifier, &forged).await, "signature", "{last}");
    }
}

#[tokio::test]
async fn claims_that_the_configuration_asks_for_are_required_of_every_token() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let asked = vec![
        ("groups".to_owned(), vec!["dev".to_owned(), "ops".to_owned()]),
        ("email_verified".to_owned(), vec!["true".to_owned()]),
    ];
    let verifier = Verifier::new(vec![IssuerSettings { claims: asked, ..issuer.settings() }]);
    for (changes, expected) in [
        (json!({"groups": "dev", "email_verified": true}), "ok"),
        (json!({"groups": ["x", "ops"], "email_verified": "true"}), "ok"),
        (json!({"groups": ["x"], "email_verified": true}), "claim"),
        (json!({"groups": "dev"}), "claim"),
        (json!({}), "claim"),
    ] {
        assert_eq!(verdict(&verifier, &issuer.token(changes.clone())).await, expected, "{changes}");
    }
}
