//! A credential → an access token, by the requests that each kind wants. [I/O]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::file::{AuthorizedUser, External, ServiceAccount, Source, SubjectSource};
use super::{SCOPE, Token};
use crate::dialect::error_message;
use crate::outbound::fetch::Fetcher;

const METADATA_HOST: &str = "169.254.169.254";
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// Life of a token whose server does not say it.
const LIFETIME: u64 = 3600;

/// Gets a token. `named` reaches what a file may name, `metadata` the metadata server.
///
/// # Errors
/// One sentence with the address and the server's own words.
pub(super) async fn token(source: &Source, named: &Fetcher, metadata: &Fetcher) -> Result<Token, String> {
    match source {
        Source::Metadata { host } => from_metadata(host.as_deref(), metadata).await,
        Source::ServiceAccount(account) => by_key(account, named).await,
        Source::AuthorizedUser(user) => by_refresh(user, named).await,
        Source::External(external) => by_exchange(external, named).await,
        Source::Impersonated { source, url, lifetime_seconds } => {
            // One level deep: the file's reader allows no more.
            let first = Box::pin(token(source, named, metadata)).await?;
            impersonate(url, &first.value, *lifetime_seconds, named).await
        }
    }
}

async fn from_metadata(host: Option<&str>, fetcher: &Fetcher) -> Result<Token, String> {
    let url = format!("http://{}{METADATA_PATH}", host.unwrap_or(METADATA_HOST));
    let mut headers = HeaderMap::new();
    headers.insert("metadata-flavor", HeaderValue::from_static("Google"));
    let hint =
        "; outside Google Cloud name a credentials file by authSecretRef or GOOGLE_APPLICATION_CREDENTIALS";
    let answer =
        fetcher.send(Method::GET, &url, headers, Bytes::new()).await.map_err(|why| format!("{why}{hint}"))?;
    // Whatever else answers there is no metadata server.
    if answer.headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return Err(format!("GET {url}: the answer is not that of Google's metadata server{hint}"));
    }
    read(&url, answer.status, &answer.body)
}

async fn by_key(account: &ServiceAccount, fetcher: &Fetcher) -> Result<Token, String> {
    let key = EncodingKey::from_rsa_pem(account.private_key.as_bytes())
        .map_err(|_| "private_key is not an RSA key in PEM".to_owned())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": now,
        "exp": now + LIFETIME,
    });
    let header = Header { kid: account.private_key_id.clone(), ..Header::new(Algorithm::RS256) };
    let assertion =
        jsonwebtoken::encode(&header, &claims, &key).map_err(|_| "private_key cannot sign".to_owned())?;
    let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
    post_form(&account.token_uri, &form, HeaderMap::new(), fetcher).await
}

async fn by_refresh(user: &AuthorizedUser, fetcher: &Fetcher) -> Result<Token, String> {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", &user.client_id),
        ("client_secret", &user.client_secret),
        ("refresh_token", &user.refresh_token),
    ];
    post_form(&user.token_uri, &form, HeaderMap::new(), fetcher).await.map_err(|why| {
        let hint = if why.contains("invalid_grant") {
            "; log in again by `gcloud auth application-default login`"
        } else {
            ""
        };
        format!("{why}{hint}")
    })
}

async fn by_exchange(external: &External, fetcher: &Fetcher) -> Result<Token, String> {
    let subject = subject_token(&external.credential_source, fetcher).await?;
    // The pool's own permission is enough to impersonate; what the token is for is said there.
    let options = external.workforce_pool_user_project.as_ref().filter(|_| external.client_id.is_none());
    let options = options.map(|project| json!({"userProject": project}).to_string());
    let mut form = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", &external.audience),
        ("scope", SCOPE),
        ("subject_token_type", &external.subject_token_type),
        ("subject_token", &subject),
    ];
    form.extend(options.as_ref().map(|options| ("options", options.as_str())));
    let mut headers = HeaderMap::new();
    if let (Some(id), Some(secret)) = (&external.client_id, &external.client_secret) {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        let value = HeaderValue::from_str(&format!("Basic {pair}"))
            .map_err(|_| "client_id cannot be sent".to_owned())?;
        headers.insert(header::AUTHORIZATION, value);
    }
    let first = post_form(&external.token_url, &form, headers, fetcher).await?;
    match &external.service_account_impersonation_url {
        None => Ok(first),
        Some(url) => impersonate(url, &first.value, external.lifetime_seconds(), fetcher).await,
    }
}

async fn subject_token(source: &SubjectSource, fetcher: &Fetcher) -> Result<String, String> {
    let (place, bytes) = match (&source.file, &source.url) {
        (Some(file), _) => {
            let bytes = std::fs::read(file)
                .map_err(|error| format!("credential_source.file {}: {error}", file.display()))?;
            ("credential_source.file", Bytes::from(bytes))
        }
        (None, Some(url)) => {
            let mut headers = HeaderMap::new();
            for (name, value) in &source.headers {
                let name: HeaderName =
                    name.parse().map_err(|_| format!("credential_source.headers: {name} is no header"))?;
                let value = HeaderValue::from_str(value)
                    .map_err(|_| "credential_source.headers: a value cannot be sent".to_owned())?;
                headers.insert(name, value);
            }
            let answer = fetcher.send(Method::GET, url, headers, Bytes::new()).await?;
            if !answer.status.is_success() {
                return Err(format!(
                    "credential_source.url {} answered {}",
                    url.split('?').next().unwrap_or_default(),
                    answer.status
                ));
            }
            ("credential_source.url", answer.body)
        }
        (None, None) => return Err("credential_source: give exactly one of file and url".into()),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{place}: is not text"))?.trim();
    let token = if source.format.kind == "json" {
        let field = source.format.subject_token_field_name.as_deref().unwrap_or("access_token");
        let value: Value =
            serde_json::from_str(text).map_err(|_| format!("{place}: is not JSON, as format.type says"))?;
        value
            .get(field)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("{place}: has no \"{field}\""))?
            .to_owned()
    } else {
        text.to_owned()
    };
    if token.is_empty() { Err(format!("{place}: is empty")) } else { Ok(token) }
}

async fn impersonate(url: &str, token: &str, lifetime: u64, fetcher: &Fetcher) -> Result<Token, String> {
    #[derive(Deserialize)]
    struct Impersonated {
        #[serde(rename = "accessToken")]
        access_token: String,
    }
    let mut headers = HeaderMap::new();
    let bearer = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| "the first token cannot be sent".to_owned())?;
    headers.insert(header::AUTHORIZATION, bearer);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = json!({"scope": [SCOPE], "lifetime": format!("{lifetime}s")});
    let answer = fetcher.send(Method::POST, url, headers, Bytes::from(body.to_string())).await?;
    if !answer.status.is_success() {
        return Err(refused(url, answer.status, &answer.body));
    }
    let found: Impersonated = serde_json::from_slice(&answer.body)
        .map_err(|_| format!("POST {url}: the answer has no accessToken"))?;
    // `expireTime` is a time of the server's clock; the life that was asked for is the same without that clock.
    Ok(Token { value: found.access_token, lifetime: Duration::from_secs(lifetime) })
}

async fn post_form(
    url: &str,
    form: &[(&str, &str)],
    mut headers: HeaderMap,
    fetcher: &Fetcher,
) -> Result<Token, String> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let answer = fetcher.send(Method::POST, url, headers, Bytes::from(body)).await?;
    read(url, answer.status, &answer.body)
}

fn read(url: &str, status: http::StatusCode, body: &[u8]) -> Result<Token, String> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        expires_in: Option<u64>,
    }
    if !status.is_success() {
        return Err(refused(url, status, body));
    }
    let found: Answer =
        serde_json::from_slice(body).map_err(|_| format!("{url}: the answer has no access_token"))?;
    Ok(Token {
        value: found.access_token,
        lifetime: Duration::from_secs(found.expires_in.unwrap_or(LIFETIME)),
    })
}

/// The server's own words: OAuth's `error` and `error_description`, or Google's.
fn refused(url: &str, status: http::StatusCode, body: &[u8]) -> String {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let member = |name: &str| value.as_ref().and_then(|value| value.get(name)).and_then(Value::as_str);
    let words = match (member("error"), member("error_description")) {
        (Some(error), Some(description)) => format!("{error}: {description}"),
        _ => error_message(body),
    };
    format!("{url} answered {status}: {words}")
}
