//! GitLab's completion protocol: body → request, answer → body, and the headers around both. Everything here is pure; the
//! pipeline calls it and does the network I/O.
//!
//! Clients were built against a FastAPI service, so bodies are read with Python's rules and refused with pydantic's words;
//! `tests/golden/gitlab/` holds what the original answers.

mod access;
mod answer;
mod auth;
mod body;
mod components;
mod cors;
mod decode;
mod direct;
pub mod error_bodies;
mod experimental;
mod generation;
mod headers;
mod json;
mod language;
mod python;
mod request;
mod telemetry;
#[cfg(test)]
mod tests;
mod validate;

pub use access::{Unit, agree, bind, entitle};
pub use answer::{
    Answer, Choice, Form, render_answer, stream_broken, stream_end, stream_piece, stream_start,
};
pub use auth::{AuthError, auth_headers};
pub use body::Rejection;
pub use components::parse_components;
pub use cors::{Preflight, preflight, simple_headers};
pub use direct::{DirectAccess, Issued};
pub use experimental::parse_experimental;
pub use generation::unfenced;
pub use headers::{process_time, request_id};
pub use language::language;
pub use python::Integer;
pub use request::{CodeRequest, Kind, parse_completion, parse_generation};
pub use telemetry::{Experiment, SuggestionSeries, Telemetry, telemetry_of_headers};
