//! Which path does what, and how results become responses.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};

use super::{
    body::StreamBody,
    generate::{self, Answer},
    state::State,
};
use crate::{
    api::{error::ApiError, response},
    metrics::Route,
};

/// The body of any response.
pub type ResponseBody = UnsyncBoxBody<Bytes, Infallible>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers one request; a mistake becomes a response too.
pub async fn handle(state: &State, request: Request<Incoming>) -> Response<ResponseBody> {
    let path = request.uri().path().trim_end_matches('/');
    let result = match path {
        "/v1/completions" => post(state, request, Route::Completions).await,
        "/v1/chat/completions" => post(state, request, Route::ChatCompletions).await,
        "/v1/models" => get(&request).and_then(|()| models(state)),
        "/health" => get(&request).and_then(|()| health(state)),
        "/livez" => get(&request).map(|()| whole(JSON, r#"{"status":"ok"}"#)),
        "/metrics" => get(&request).and_then(|()| metrics(state)),
        _ => Err(ApiError::UnknownPath),
    };
    result.unwrap_or_else(|error| refusal(&error))
}

async fn post(
    state: &State,
    request: Request<Incoming>,
    route: Route,
) -> Result<Response<ResponseBody>, ApiError> {
    if request.method() != Method::POST {
        return Err(ApiError::WrongMethod("POST"));
    }
    Ok(match generate::generate(state, route, request.into_body()).await? {
        Answer::Whole(body) => whole(JSON, body),
        Answer::Stream(shape, events) => {
            let mut response = Response::new(StreamBody::new(shape, events).boxed_unsync());
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
    })
}

fn get(request: &Request<Incoming>) -> Result<(), ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        Ok(())
    } else {
        Err(ApiError::WrongMethod("GET"))
    }
}

fn models(state: &State) -> Result<Response<ResponseBody>, ApiError> {
    let ready = state.serving()?;
    let context = u32::try_from(ready.context_length).unwrap_or(u32::MAX);
    Ok(whole(JSON, response::models(&state.names, state.created, context)))
}

fn health(state: &State) -> Result<Response<ResponseBody>, ApiError> {
    state.serving().map(|_| whole(JSON, r#"{"status":"ok"}"#))
}

fn metrics(state: &State) -> Result<Response<ResponseBody>, ApiError> {
    let text = state.metrics.render().map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(whole(HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"), text))
}

fn whole(content_type: HeaderValue, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn refusal(error: &ApiError) -> Response<ResponseBody> {
    let mut response = whole(JSON, error.body());
    *response.status_mut() = error.status();
    if let ApiError::WrongMethod(method) = error {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    }
    if matches!(error.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
