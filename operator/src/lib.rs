//! The operator: ModelBackend and ModelGateway → objects of Kubernetes, and back into their status.
//!
//! A watch event wakes an object; its reconcile is five steps, one module each:
//! `dereference` [I/O] → `validate` → `build` → `apply` [I/O] → `status`. `validate` yields a `Validated…`, the only
//! input of the pure `build`, which yields `Resources<Prepared>`; `apply` turns them into `Resources<Applied>`, the only
//! objects a status may quote. docs/life-of-a-reconcile.md tells the same at length.

pub mod acknowledge;
pub mod activity;
pub mod admin;
pub mod app;
pub mod args;
pub mod conditions;
pub mod context;
pub mod error;
pub mod fleet;
pub mod k8s;
pub mod leader;
pub mod mapping;
pub mod metrics;
pub mod model_backend;
pub mod model_gateway;
pub mod outbound;
pub mod telemetry;
pub mod watches;
