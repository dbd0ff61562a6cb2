//! The gateway: clients' requests in GitLab's and OpenAI's protocols → backends that hold models.

pub mod gitlab;
pub mod oidc;
