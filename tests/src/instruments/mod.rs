//! Instruments that the suites share: an HTTP client that notices every damage, a traffic driver, an upstream that echoes a
//! nonce, assertions over the audit log, and a proxy that injects faults between operator and API server.
//!
//! They use blocking sockets and nothing of the product, so a fault of the product's HTTP library cannot hide itself.

pub mod audit;
pub mod driver;
pub mod echo;
pub mod fault_proxy;
pub mod http;
