//! `auth.gitlab` → issuers, and the rules that bind their tokens. What it must satisfy is here too: the Customers Portal
//! signs for every customer of GitLab and gitlab.com for every user, so a gateway that trusts them says whom it means.

use url::Url;

use super::check::http_url;
use super::{Problems, Reason, secret_file};
use crate::contract::{GitlabConfig, IssuerConfig};
use crate::names::{DEFAULT_CA_KEY, DEFAULT_KEY_KEY};
use crate::v1alpha1::{DEFAULT_JWKS_CACHE, GitlabAuth, Oidc};

/// Audiences of GitLab's gateway: that of 2023, and that of today.
pub const GITLAB_AUDIENCES: [&str; 2] = ["gitlab-code-suggestions", "gitlab-ai-gateway"];
/// Hosts whose tokens belong to everybody.
const PUBLIC_ISSUERS: [&str; 2] = ["gitlab.com", "customers.gitlab.com"];

pub(super) fn check(gitlab: &GitlabAuth, problems: &mut Problems) {
    let url = http_url(&gitlab.url);
    if let Err(why) = &url {
        problems.add(Reason::Invalid, "spec.auth.gitlab.url", why);
    }
    if let Some(Err(why)) = gitlab.customers_url.as_deref().map(http_url) {
        problems.add(Reason::Invalid, "spec.auth.gitlab.customersUrl", why);
    }
    let narrowed = !gitlab.namespace_ids.is_empty() || !gitlab.subjects.is_empty();
    if gitlab.customers_url.is_some() && !narrowed && gitlab.instance_ids.is_empty() {
        problems.add(
            Reason::Invalid,
            "spec.auth.gitlab.customersUrl",
            "the Customers Portal signs for every customer of GitLab; say whose tokens count by spec.auth.gitlab.instanceIds, namespaceIds or subjects",
        );
    }
    if url.is_ok_and(|url| url.host_str() == Some("gitlab.com")) && !narrowed {
        problems.add(
            Reason::Invalid,
            "spec.auth.gitlab.url",
            "gitlab.com signs for every user of it; say whose tokens count by spec.auth.gitlab.namespaceIds or subjects",
        );
    }
    if gitlab.validation_key_secret_ref.is_some() && gitlab.signing_key_secret_ref.is_none() {
        problems.add(
            Reason::Invalid,
            "spec.auth.gitlab.validationKeySecretRef",
            "is for the rotation of spec.auth.gitlab.signingKeySecretRef; name that too",
        );
    }
}

/// An issuer of everybody's tokens is named by `auth.gitlab`, which binds them.
pub(super) fn check_issuer(path: &str, oidc: &Oidc, problems: &mut Problems) {
    let host = Url::parse(&oidc.issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
    let public = host.is_some_and(|host| PUBLIC_ISSUERS.contains(&host.as_str()));
    if public && oidc.audiences.iter().any(|audience| GITLAB_AUDIENCES.contains(&audience.as_str())) {
        problems.add(
            Reason::Invalid,
            format!("{path}.issuer"),
            "signs code suggestions for everybody; use spec.auth.gitlab, which says whose tokens count",
        );
    }
}

pub(super) fn compile(gitlab: &GitlabAuth) -> (Vec<IssuerConfig>, GitlabConfig) {
    let file = |reference: &Option<_>, key| reference.clone().map(|reference| secret_file(reference, key));
    let issuer = |url: &str, ca| IssuerConfig {
        issuer: url.trim_end_matches('/').into(),
        audiences: GITLAB_AUDIENCES.map(str::to_owned).into(),
        ca,
        jwks_cache_seconds: DEFAULT_JWKS_CACHE.as_secs(),
        claims: Vec::new(),
    };
    let mut issuers = vec![issuer(&gitlab.url, file(&gitlab.ca_secret_ref, DEFAULT_CA_KEY))];
    issuers.extend(gitlab.customers_url.iter().map(|url| issuer(url, None)));
    let config = GitlabConfig {
        issuers: issuers.iter().map(|issuer| issuer.issuer.clone()).collect(),
        instance_ids: gitlab.instance_ids.clone(),
        namespace_ids: gitlab.namespace_ids.clone(),
        subjects: gitlab.subjects.clone(),
        signing_key: file(&gitlab.signing_key_secret_ref, DEFAULT_KEY_KEY),
        validation_key: file(&gitlab.validation_key_secret_ref, DEFAULT_KEY_KEY),
    };
    (issuers, config)
}
