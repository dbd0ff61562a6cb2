//! What decides where a request goes and how often that is tried, apart from any I/O: conditions of routes, the share of
//! projects, budgets of retries and hedges, what a `Retry-After` asks for, how late is late.

pub mod budget;
pub mod matcher;
pub mod projects;
pub mod quantile;
pub mod retry_after;
pub mod series;
pub mod sticky;
