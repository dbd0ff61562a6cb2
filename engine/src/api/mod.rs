//! The OpenAI dialect: requests checked field by field, answers and errors in its shapes. No I/O.

pub mod chat;
pub mod completion;
pub mod error;
pub mod params;
pub mod response;
