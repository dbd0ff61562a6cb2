//! Talking to the API server: children as data, comparing them with what is live, applying, events, status.

pub mod apply;
pub mod child;
pub mod events;
pub mod managed;
pub mod network;
pub mod overrides;
pub mod pods;
pub mod quantity;
pub mod rollout;
pub mod satisfied;
pub mod status_writer;
