//! The gateway: clients' requests in GitLab's and OpenAI's protocols → backends that hold models.
//!
//! ```text
//! configuration file ─ config ─ snapshot ─┐ swapped whole; a request keeps the one it began with
//!                                         ▼
//! client ─ server ─ layers ─ pipeline: auth → parse → route → prompt → dispatch → postprocess → respond
//!                                                                        │  ▲
//!                                                              backend ──┴──┘  the only network I/O
//! ```
//! - [`args`], [`environment`], [`legacy`], [`telemetry`]: flags and environment. [`app`]: composition, start and end.
//! - [`command`]: what the program does instead of serving.
//! - [`config`]: text → valid configuration → [`config::snapshot::Snapshot`]; reload.
//! - [`server`]: listeners, connections, the body that clients read and the account it owns.
//! - [`layers`] and [`pipeline`]: what happens to one request; [`caller`]: who sent it.
//! - [`complete`]: the completion core, task in, clean text out; every completion protocol calls it.
//! - [`backend`]: how backends are reached and what is known of them; [`prove`]: whether routes really serve.
//! - [`outbound`]: where connections may lead and what they trust; [`google`]: tokens for Vertex AI.
//! - [`dialect`], [`gitlab`], [`oidc`]: formats of others, without any I/O but the fetching of keys.
//! - [`protocol`]: completion protocols of Mistral, llama.cpp and Tabby, as their clients speak them.
//! - [`routing`]: where requests go and how often that is tried, apart from any I/O.
//! - [`metrics`], [`series`], [`state`], [`trace`], [`usage`]: what is told about it all.

pub mod app;
pub mod args;
pub mod backend;
pub mod caller;
pub mod command;
pub mod complete;
pub mod config;
pub mod dialect;
pub mod environment;
pub mod error;
pub mod gitlab;
pub mod google;
pub mod keys;
pub mod layers;
pub mod legacy;
pub mod limit;
pub mod limits;
pub mod metrics;
pub mod oidc;
pub mod outbound;
pub mod pipeline;
pub mod protocol;
pub mod prove;
pub mod routing;
pub mod secrets;
pub mod series;
pub mod server;
pub mod sockets;
pub mod state;
pub mod telemetry;
pub mod trace;
pub mod usage;
