//! Local cluster, instruments and end-to-end suites.
//!
//! `cluster` starts a real one-node Kubernetes on this machine; `run` does the main job on it, from an
//! empty cache to a completion served by a model. The suites in `tests/` use the same library.

pub mod cache;
pub mod cluster;
pub mod command;
pub mod image;
pub mod instruments;
pub mod model;
pub mod preflight;
pub mod progress;
pub mod relay;
pub mod run;
pub mod tools;
