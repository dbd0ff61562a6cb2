//! Headers of the contract: authorization, request ids, the process time, preflights.

use http::{HeaderMap, HeaderValue, Method};

use crate::gitlab::{AuthError, auth_headers, preflight, process_time, request_id, simple_headers};

#[test]
fn authorization_is_refused_in_the_original_order() {
    type Case = (&'static [(&'static str, &'static str)], Result<&'static str, AuthError>);
    let cases: &[Case] = &[
        (&[], Err(AuthError::Missing)),
        (&[("x-gitlab-authentication-type", "oidc")], Err(AuthError::Missing)),
        (&[("authorization", "Basic x")], Err(AuthError::Malformed)),
        (&[("authorization", "")], Err(AuthError::Malformed)),
        (
            &[("authorization", "Bearer\tx"), ("x-gitlab-authentication-type", "oidc")],
            Err(AuthError::Malformed),
        ),
        (
            &[
                ("authorization", "Bearer a"),
                ("authorization", "Bearer a"),
                ("x-gitlab-authentication-type", "oidc"),
            ],
            Err(AuthError::Malformed),
        ),
        (&[("authorization", "Bearer a")], Err(AuthError::TokenType)),
        (
            &[("authorization", "Bearer a"), ("x-gitlab-authentication-type", "OIDC")],
            Err(AuthError::TokenType),
        ),
        (
            &[
                ("authorization", "Bearer a"),
                ("x-gitlab-authentication-type", "oidc"),
                ("x-gitlab-authentication-type", "oidc"),
            ],
            Err(AuthError::TokenType),
        ),
        (&[("authorization", "bEARER a.b.c"), ("x-gitlab-authentication-type", "oidc")], Ok("a.b.c")),
        (&[("authorization", "Bearer"), ("x-gitlab-authentication-type", "oidc")], Ok("")),
    ];
    for (headers, expected) in cases {
        let mut map = HeaderMap::new();
        for (name, value) in *headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        assert_eq!(auth_headers(&map), *expected, "{headers:?}");
    }
    assert_eq!(AuthError::Missing.body(), r#"{"error":"No authorization header presented"}"#);
    assert_eq!(AuthError::Forbidden.body(), r#"{"error":"Forbidden by auth provider"}"#);
}

#[test]
fn only_a_version_4_uuid_of_the_caller_is_kept_as_request_id() {
    for kept in ["0b7c5e9e-7a3b-4b8e-9d2a-3f1f0c9f5b11", "0b7c5e9e7a3b4b8e9d2a3f1f0c9f5b11"] {
        assert_eq!(request_id(Some(kept)), kept);
    }
    for refused in
        [None, Some(""), Some("01H8XYZ"), Some("0b7c5e9e-7a3b-1b8e-9d2a-3f1f0c9f5b11"), Some("x\u{e9}")]
    {
        let id = request_id(refused);
        assert!(
            Some(id.as_str()) != refused && id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
    }
}

#[test]
fn the_process_time_is_spelled_as_python_spells_a_float() {
    for (nanos, expected) in [
        (0, "0.0"),
        (1_500_000_000, "1.5"),
        (20_000, "2e-05"),
        (123_456, "0.000123456"),
        (2_000_000_000, "2.0"),
    ] {
        assert_eq!(process_time(std::time::Duration::from_nanos(nanos)), expected);
    }
}

#[test]
fn a_preflight_is_answered_and_origins_are_allowed() {
    let mut headers = HeaderMap::new();
    assert_eq!((preflight(&Method::OPTIONS, &headers), simple_headers(&headers).len()), (None, 0));
    headers.insert("origin", HeaderValue::from_static("https://a.example"));
    assert_eq!(preflight(&Method::OPTIONS, &headers), None);
    headers.insert("access-control-request-method", HeaderValue::from_static("POST"));
    headers.insert("access-control-request-headers", HeaderValue::from_static("authorization, x-a"));
    assert_eq!(preflight(&Method::POST, &headers), None);
    let answer = preflight(&Method::OPTIONS, &headers).unwrap();
    let lines: Vec<String> =
        answer.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!((answer.status.as_u16(), answer.body), (200, "OK"));
    assert_eq!(
        lines,
        [
            "access-control-allow-origin: *",
            "access-control-allow-methods: POST",
            "access-control-max-age: 600",
            "access-control-allow-headers: authorization, x-a"
        ]
    );
    headers.insert("access-control-request-method", HeaderValue::from_static("PUT"));
    let answer = preflight(&Method::OPTIONS, &headers).unwrap();
    assert_eq!((answer.status.as_u16(), answer.body), (400, "Disallowed CORS method"));
    assert_eq!(
        simple_headers(&headers),
        [("access-control-allow-origin".parse().unwrap(), HeaderValue::from_static("*"))]
    );
    headers.insert("cookie", HeaderValue::from_static("a=b"));
    assert_eq!(simple_headers(&headers).len(), 2);
}
