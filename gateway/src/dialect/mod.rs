//! What backends speak. Everything here is pure: bytes in, facts or bytes out.

pub mod openai;
pub mod sse;
