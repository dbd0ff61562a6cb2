//! The HTTP side: connections with limits, routes, and streams that end when their client does.

pub mod body;
pub mod generate;
pub mod routes;
pub mod server;
pub mod state;
