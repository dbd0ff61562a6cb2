//! Listeners, callers and limits of a ModelGateway: what must hold, and what becomes of them in the configuration.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::check::{check_duration, http_url};
use super::{Place, Problems, Reason, gitlab, secret_file};
use crate::contract::{
    AuthConfig, BasicAuthFiles, ClaimConfig, IssuerConfig, LimitConfig, ListenersConfig, RedisConfig,
    SecretFile, TlsFiles,
};
use crate::names::{DEFAULT_CA_KEY, DEFAULT_KEYS_KEY, DEFAULT_REDIS_KEY};
use crate::v1alpha1::{
    ExposeType, LimitBy, ListenerTls, Listeners, MIN_JWKS_CACHE, ModelGatewaySpec, SecretRef, Store,
    jwks_cache,
};

pub(super) fn check(spec: &ModelGatewaySpec, problems: &mut Problems) {
    check_issuers(spec, problems);
    check_listeners(spec, problems);
    check_limits(spec, problems);
    let cache = spec.cache.clone().unwrap_or_default();
    if (cache.store == Store::Redis) != cache.redis.is_some() {
        let message = "store: Redis needs cache.redis.secretRef, and store: Local has none";
        problems.add(Reason::Invalid, "spec.cache", message);
    }
}

fn check_issuers(spec: &ModelGatewaySpec, problems: &mut Problems) {
    if let Some(gitlab) = spec.auth.as_ref().and_then(|auth| auth.gitlab.as_ref()) {
        gitlab::check(gitlab, problems);
    }
    for (index, oidc) in spec.auth.iter().flat_map(|auth| &auth.oidc).enumerate() {
        let path = format!("spec.auth.oidc[{index}]");
        if let Err(why) = http_url(&oidc.issuer) {
            problems.add(Reason::Invalid, format!("{path}.issuer"), why);
        }
        if oidc.audiences.is_empty() {
            problems.add(Reason::Invalid, format!("{path}.audiences"), "name at least one audience");
        }
        gitlab::check_issuer(&path, oidc, problems);
        let cache = format!("{path}.jwksCache");
        check_duration(&cache, oidc.jwks_cache.as_ref(), problems);
        if jwks_cache(oidc.jwks_cache.as_ref()) < MIN_JWKS_CACHE {
            problems.add(Reason::Invalid, cache, "must be at least 1m, so that the issuer is left in peace");
        }
        let mut names = BTreeSet::new();
        for (position, claim) in oidc.claims.iter().enumerate() {
            let path = format!("{path}.claims[{position}]");
            if !names.insert(&claim.name) {
                problems.add(Reason::Invalid, path.clone(), format!("\"{}\" is given twice", claim.name));
            }
            if claim.values.is_empty() {
                problems.add(Reason::Invalid, format!("{path}.values"), "name at least one value");
            }
        }
    }
}

fn check_listeners(spec: &ModelGatewaySpec, problems: &mut Problems) {
    let http = spec.listeners.as_ref().and_then(|listeners| listeners.http.as_ref());
    let proxies = http.iter().flat_map(|http| &http.trusted_proxies).enumerate();
    for (index, _) in proxies.filter(|(_, proxy)| network(proxy).is_none()) {
        let message = "must be an IP address or a network such as 10.0.0.0/8";
        problems.add(Reason::Invalid, format!("spec.listeners.http.trustedProxies[{index}]"), message);
    }
    let origins = http.and_then(|http| http.cors.as_ref()).map(|cors| cors.origins.as_slice());
    for (index, _) in origins.unwrap_or_default().iter().enumerate().filter(|(_, origin)| !is_origin(origin))
    {
        let message = "must be `*` or an origin such as https://ide.example.com, without a path";
        problems.add(Reason::Invalid, format!("spec.listeners.http.cors.origins[{index}]"), message);
    }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let taken = |c: char| c == '/' || c == '*' || c.is_whitespace();
    text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(taken))
}

/// Address and length of the prefix of `10.0.0.0/8`, `2001:db8::/32` or a single address.
#[must_use]
pub fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let length = match length {
        Some(text) => text.parse().ok().filter(|length| digits(text) && *length <= longest)?,
        None => longest,
    };
    Some((address, length))
}

fn check_limits(spec: &ModelGatewaySpec, problems: &mut Problems) {
    let keys = spec.auth.as_ref().is_some_and(|auth| auth.api_keys.is_some());
    let mut names = BTreeSet::new();
    for (index, limit) in spec.limits.iter().enumerate() {
        let path = format!("spec.limits[{index}]");
        if !names.insert(&limit.name) {
            problems.add(
                Reason::Invalid,
                format!("{path}.name"),
                format!("\"{}\" is given twice", limit.name),
            );
        }
        let given = [limit.requests_per_minute, limit.tokens_per_minute, limit.concurrent];
        if given.iter().all(Option::is_none) {
            let message = "give at least one of requestsPerMinute, tokensPerMinute and concurrent";
            problems.add(Reason::Invalid, path.clone(), message);
        }
        if given.contains(&Some(0)) {
            problems.add(Reason::Invalid, path.clone(), "a limit of 0 lets nobody in; give at least 1");
        }
        if limit.by == LimitBy::Key && !keys {
            let message = "by: Key needs spec.auth.apiKeys; use by: Subject for callers with tokens";
            problems.add(Reason::Invalid, format!("{path}.by"), message);
        }
    }
}

/// Nobody may use a gateway without authentication by accident.
pub(super) fn check_access(spec: &ModelGatewaySpec, place: &Place, problems: &mut Problems) {
    let auth = spec.auth.clone().unwrap_or_default();
    if auth.oidc.is_empty() && auth.gitlab.is_none() && auth.api_keys.is_none() && !auth.anonymous {
        problems.add(
            Reason::AuthMissing,
            "spec.auth",
            "nobody could use this gateway; name your GitLab under spec.auth.gitlab, list an issuer under spec.auth.oidc, name API keys by spec.auth.apiKeys, or set spec.auth.anonymous: true for local use",
        );
    }
    let exposed = spec.expose.as_ref().is_some_and(|expose| expose.kind != ExposeType::None);
    let reachable = match place {
        Place::Cluster { .. } => true,
        Place::Standalone { reachable, .. } => *reachable || exposed,
    };
    if auth.anonymous && reachable && !auth.anonymous_exposed {
        problems.add(
            Reason::AnonymousExposed,
            "spec.auth.anonymous",
            "everybody who reaches this gateway could use it; set spec.auth.anonymousExposed: true if that is meant, or list an issuer under spec.auth.oidc",
        );
    }
}

pub(super) fn auth(spec: &ModelGatewaySpec) -> AuthConfig {
    let auth = spec.auth.clone().unwrap_or_default();
    let (of_gitlab, gitlab) = auth.gitlab.as_ref().map(gitlab::compile).unzip();
    let issuers = auth.oidc.into_iter().map(|oidc| {
        let claims = oidc.claims.into_iter();
        IssuerConfig {
            issuer: oidc.issuer,
            audiences: oidc.audiences,
            ca: oidc.ca_secret_ref.map(|reference| secret_file(reference, DEFAULT_CA_KEY)),
            jwks_cache_seconds: jwks_cache(oidc.jwks_cache.as_ref()).as_secs(),
            claims: claims.map(|claim| ClaimConfig { name: claim.name, values: claim.values }).collect(),
        }
    });
    AuthConfig {
        oidc: of_gitlab.unwrap_or_default().into_iter().chain(issuers).collect(),
        gitlab,
        api_keys: auth.api_keys.map(|keys| secret_file(keys.secret_ref, DEFAULT_KEYS_KEY)),
        anonymous: auth.anonymous,
        anonymous_exposed: auth.anonymous_exposed,
    }
}

pub(super) fn listeners(listeners: Listeners) -> ListenersConfig {
    let http = listeners.http.unwrap_or_default();
    let metrics = listeners.metrics.unwrap_or_default();
    ListenersConfig {
        trusted_proxies: http.trusted_proxies,
        cors_origins: http.cors.map(|cors| cors.origins),
        tls: listeners.tls.map(|ListenerTls { secret_ref, client_ca_secret_ref }| TlsFiles {
            client_ca: client_ca_secret_ref.map(|reference| secret_file(reference, DEFAULT_CA_KEY)),
            ..tls_files(&secret_ref)
        }),
        metrics_tls: metrics.tls_secret_ref.as_ref().map(tls_files),
        metrics_basic_auth: metrics.basic_auth_secret_ref.as_ref().map(|secret| BasicAuthFiles {
            username: file_of(secret, "username"),
            password: file_of(secret, "password"),
        }),
    }
}

fn file_of(secret: &SecretRef, key: &str) -> SecretFile {
    SecretFile { secret: secret.name.clone(), key: key.into() }
}

fn tls_files(secret: &SecretRef) -> TlsFiles {
    TlsFiles { certificate: file_of(secret, "tls.crt"), key: file_of(secret, "tls.key"), client_ca: None }
}

pub(super) fn limits(spec: &ModelGatewaySpec) -> Vec<LimitConfig> {
    let limits = spec.limits.iter().map(|limit| LimitConfig {
        name: limit.name.clone(),
        by: limit.by,
        requests_per_minute: limit.requests_per_minute,
        tokens_per_minute: limit.tokens_per_minute,
        concurrent: limit.concurrent,
    });
    limits.collect()
}

pub(super) fn redis(spec: &ModelGatewaySpec) -> Option<RedisConfig> {
    let redis = spec.cache.as_ref().and_then(|cache| cache.redis.clone())?;
    Some(RedisConfig {
        url: secret_file(redis.secret_ref, DEFAULT_REDIS_KEY),
        ca: redis.ca_secret_ref.map(|reference| secret_file(reference, DEFAULT_CA_KEY)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_strictly() {
        let good = ["10.0.0.0/8", "10.1.2.3", "::1", "2001:db8::/32", "0.0.0.0/0"];
        assert!(good.iter().all(|text| network(text).is_some()));
        assert_eq!(network("10.1.2.3").map(|(_, length)| length), Some(32));
        let bad = ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "10.0.0/8", "010.0.0.1"];
        assert_eq!(bad.map(|text| network(text).is_some()), [false; 8]);
    }
}
