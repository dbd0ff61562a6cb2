//! Which token a request on GitLab's routes carries, and the 401 when it carries none. Checking the token is `oidc`'s.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::error_bodies;

const TOKEN_TYPE: &str = "x-gitlab-authentication-type";

/// Why a request is not let in; each is a 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization`.
    #[error("No authorization header presented")]
    Missing,
    /// `Authorization` is there twice, or does not begin with `Bearer `.
    #[error("Invalid authorization header")]
    Malformed,
    /// `X-Gitlab-Authentication-Type` is not `oidc`.
    #[error("Invalid authentication token type - only OIDC is supported")]
    TokenType,
    /// A header says something else than the token; the header's name.
    #[error("Header mismatch '{0}'")]
    Mismatch(&'static str),
    /// The token is good, and of another instance, namespace or subject than `auth.gitlab` lists.
    #[error("Forbidden by auth provider")]
    NotBound,
    /// The token was refused.
    #[error("Forbidden by auth provider")]
    Forbidden,
}

impl AuthError {
    /// The body of the 401.
    #[must_use]
    pub fn body(self) -> String {
        error_bodies::error(&self.to_string())
    }

    /// A label for metrics and logs.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "header_missing",
            Self::Malformed => "header_malformed",
            Self::TokenType => "token_type",
            Self::Mismatch(_) => "header_mismatch",
            Self::NotBound => "not_bound",
            Self::Forbidden => "forbidden",
        }
    }
}

/// The bearer token.
///
/// # Errors
/// [`AuthError`], checked in the original's order. The original takes the first of two headers; here both are refused,
/// for whoever stands in front may have looked at the other.
pub fn auth_headers(headers: &HeaderMap) -> Result<&str, AuthError> {
    let value = single(headers, AUTHORIZATION.as_str()).map_err(|found| match found {
        Unusable::Absent => AuthError::Missing,
        Unusable::Repeated | Unusable::NotText => AuthError::Malformed,
    })?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Malformed);
    }
    match single(headers, TOKEN_TYPE) {
        Ok("oidc") => Ok(token),
        _ => Err(AuthError::TokenType),
    }
}

enum Unusable {
    Absent,
    Repeated,
    NotText,
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Unusable> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().ok_or(Unusable::Absent)?;
    if values.next().is_some() {
        return Err(Unusable::Repeated);
    }
    first.to_str().map_err(|_| Unusable::NotText)
}
