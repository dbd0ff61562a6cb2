//! An OpenAI-compatible server for one GGUF model, on the CPU, with llama.cpp underneath.
//!
//! A request passes through the folders in this order: `http` (limits, routes, streams) → `api` (the OpenAI dialect:
//! what is accepted, how answers look) → `infer` (queue, tokens, sampling, text). `metrics` counts every request
//! once, whichever way it ends; `app` puts the parts together and owns start and stop. `fetch` brings a model's file here.

pub mod account;
pub mod api;
pub mod app;
pub mod args;
pub mod fetch;
pub mod http;
pub mod infer;
pub mod metrics;
mod progress;
