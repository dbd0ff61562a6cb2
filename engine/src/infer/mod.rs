//! From a prompt to text: the model file, the thread that computes, and what becomes of its tokens.

pub mod job;
pub mod model;
pub mod sampling;
pub mod scheduler;
pub mod session;
pub mod text;
