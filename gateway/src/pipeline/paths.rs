//! Which path belongs to which protocol: the one list of everything that is served.

use modelgate_api::v1alpha1::{Compat, Protocol};

use crate::config::snapshot::Snapshot;
use crate::series::Handler;

/// What a path is in the protocols that have it.
#[must_use]
pub fn known(path: &str) -> &'static [(Protocol, Handler)] {
    use Protocol::{GitLab, LlamaCppInfill, Mistral, OpenAI, Tabby};
    match path {
        "/completions" => &[(GitLab, Handler::GitlabRoot)],
        "/v2/completions" => &[(GitLab, Handler::GitlabCompletions)],
        "/v2/code/completions" => &[(GitLab, Handler::GitlabCodeCompletions)],
        "/v2/code/generations" => &[(GitLab, Handler::GitlabGenerations)],
        "/v2/experimental/code/completions" => &[(GitLab, Handler::GitlabExperimental)],
        "/v1/code/user_access_token" => &[(GitLab, Handler::GitlabToken)],
        "/v3/code/completions" => &[(GitLab, Handler::GitlabComponents)],
        "/v4/code/suggestions" => &[(GitLab, Handler::GitlabSuggestions)],
        "/v1/models/definitions" => &[(GitLab, Handler::GitlabModels)],
        // Where both are served, a body of Tabby's is told by what it holds.
        "/v1/completions" => &[(OpenAI, Handler::Completions), (Tabby, Handler::TabbyCompletions)],
        "/v1/chat/completions" => &[(OpenAI, Handler::Chat)],
        "/v1/embeddings" => &[(OpenAI, Handler::Embeddings)],
        "/v1/models" => &[(OpenAI, Handler::Models)],
        "/v1/fim/completions" => &[(Mistral, Handler::MistralFim)],
        "/infill" => &[(LlamaCppInfill, Handler::Infill)],
        "/health" => &[(LlamaCppInfill, Handler::LlamaHealth)],
        "/props" => &[(LlamaCppInfill, Handler::LlamaProps)],
        "/v1/health" => &[(Tabby, Handler::TabbyHealth)],
        "/v1beta/server_setting" => &[(Tabby, Handler::TabbySetting)],
        "/v1/events" => &[(Tabby, Handler::TabbyEvents)],
        _ if path.strip_prefix("/v1/models/").is_some_and(|model| !model.is_empty()) => {
            &[(OpenAI, Handler::Model)]
        }
        _ => &[],
    }
}

/// What a path is, of the protocols that are served.
#[must_use]
pub fn handler(path: &str, snapshot: &Snapshot) -> Handler {
    match path {
        "/monitoring/healthz" => return Handler::Healthz,
        "/monitoring/ready" => return Handler::Ready,
        _ => {}
    }
    let served = known(path).iter().find(|(protocol, _)| snapshot.serves(*protocol));
    let handler = served.map_or(Handler::Other, |(_, handler)| *handler);
    match handler {
        // The gateway of 2023 had none of these.
        Handler::GitlabComponents | Handler::GitlabSuggestions | Handler::GitlabModels
            if snapshot.config.compat == Compat::Strict =>
        {
            Handler::Other
        }
        handler => handler,
    }
}

/// Why a path is not served though it is known: the protocols of which one would have to be listed.
#[must_use]
pub fn switched_off(path: &str, snapshot: &Snapshot) -> Option<String> {
    let known = known(path);
    if known.is_empty() || known.iter().any(|(protocol, _)| snapshot.serves(*protocol)) {
        return None;
    }
    let names: Vec<String> = known.iter().map(|(protocol, _)| format!("{protocol:?}")).collect();
    Some(format!("{path} is not served: add {} to spec.protocols of the ModelGateway", names.join(" or ")))
}
