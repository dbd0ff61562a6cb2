//! The whole on a real cluster: API server, scheduler, kubelet and containers, the Prometheus Operator and Prometheus, a
//! small model, and our own images installed by Helm. `make test-cluster` builds what it needs and runs it.
//!
//! Each module works in namespaces of its own, so any of them can be run alone. The tests share one cluster and run one
//! after another in the order of their names; `uninstall` takes the product away, `unused_rights` looks back on the whole run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod contract;
mod crds;
mod devices;
mod examples;
mod faults;
mod gpu;
mod leader;
mod main_job;
mod mistakes;
mod optional_apis;
mod restore;
mod rolling;
mod rollouts;
mod standalone;
mod traffic;
mod uninstall;
mod unused_rights;
mod world;
