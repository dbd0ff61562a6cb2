//! GitLab's code completion contract: request body → validated request or the error body of the seed; answer → JSON.
