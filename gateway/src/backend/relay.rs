//! Requests handed to another GitLab AI gateway as they came: method, path, query, headers and body.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, header};

use super::Backend;
use super::endpoint::Endpoint;
use crate::dialect::openai::Api;
use crate::error::GatewayError;
use crate::pipeline::body::{RequestBody, UpstreamBody};

/// Headers of one connection, which no gateway hands on, and those that the next connection makes anew.
const OF_THE_CONNECTION: [HeaderName; 11] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
    header::CONTENT_LENGTH,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// The headers that are handed on.
#[must_use]
pub fn handed_on(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let kept =
        |name: &&HeaderName| !OF_THE_CONNECTION.contains(name) && !named.iter().any(|of| of == name.as_str());
    let mut out = HeaderMap::with_capacity(headers.len());
    for name in headers.keys().filter(kept) {
        for value in headers.get_all(name) {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

impl Backend {
    /// Hands a request on and waits for the answer's head. The caller's `Authorization` goes along, unless the backend has
    /// a credential of its own, or `own_key` says that it is a key of this gateway, which is nobody else's business.
    ///
    /// # Errors
    /// As [`Backend::send`].
    pub async fn relay(
        &self,
        endpoint: &Endpoint,
        parts: &Parts,
        body: Bytes,
        own_key: bool,
    ) -> Result<Response<UpstreamBody>, GatewayError> {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::new(RequestBody::whole(body));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = endpoint.uri_of(target).ok_or(GatewayError::Internal)?;
        let mut headers = handed_on(&parts.headers);
        if own_key {
            headers.remove(header::AUTHORIZATION);
        }
        if let Some(credential) = self.credential.header() {
            headers.insert(header::AUTHORIZATION, (*credential).clone());
        }
        if let Some(authorization) = &self.proxy_authorization {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        *request.headers_mut() = headers;
        self.send(request, Api::Completions, false).await
    }
}
