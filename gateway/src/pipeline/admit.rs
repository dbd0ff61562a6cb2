//! Whether a request that is understood may go on: the models of its API key, then the limits. It comes before the first
//! byte to a backend, and the request's account owns what was reserved until the answer has ended.

use super::parse::OpenAiCall;
use crate::complete::{Order, PromptOverride};
use crate::config::snapshot::{Route, Snapshot};
use crate::error::GatewayError;
use crate::limit::Ask;
use crate::server::record::Record;

/// Tokens of an answer whose request names no maximum, at a guess.
const ANSWER_TOKENS: u32 = 256;
/// Bytes of source code that make one token, at a guess: on the low side, so that too much is reserved and not too little.
const BYTES_PER_TOKEN: usize = 3;

/// Lets a request that passes through go on.
///
/// # Errors
/// [`GatewayError::ModelNotAllowed`], [`GatewayError::Limited`].
pub async fn pass_through(
    snapshot: &Snapshot,
    route: &Route,
    call: &OpenAiCall,
    project: &str,
    record: &mut Record,
) -> Result<(), GatewayError> {
    let model = call.head.model.as_ref();
    let answer = call.head.max_tokens.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX));
    let tokens = if snapshot.limits.counts_tokens() { estimate(call.body.len(), answer) } else { 0 };
    admit(snapshot, route, model, project, tokens, record).await
}

/// Lets a request go on that is handed to another gateway.
///
/// # Errors
/// [`GatewayError::ModelNotAllowed`], [`GatewayError::Limited`].
pub async fn relay(
    snapshot: &Snapshot,
    route: &Route,
    bytes: usize,
    record: &mut Record,
) -> Result<(), GatewayError> {
    let model = route.backends.first().map_or("", |(backend, _)| backend.config.model.as_str());
    admit(snapshot, route, model, "", estimate(bytes, None), record).await
}

/// Lets a completion go on.
///
/// # Errors
/// [`GatewayError::ModelNotAllowed`], [`GatewayError::Limited`].
pub(crate) async fn completion(
    snapshot: &Snapshot,
    order: &Order,
    record: &mut Record,
) -> Result<(), GatewayError> {
    let (task, route) = (&order.task, &order.route);
    let model = task.model.as_ref().or(route.matcher.models().first()).map_or("", String::as_str);
    let prompt = match &task.prompt {
        Some(PromptOverride::Text(text)) => text.len(),
        Some(PromptOverride::Messages(messages)) => {
            messages.iter().map(|message| message.content.len()).sum()
        }
        None => task.document.prefix.len() + task.document.suffix.len(),
    };
    let project = task.project.as_ref().and_then(|project| project.path.as_ref().or(project.id.as_ref()));
    let project = project.map_or("", String::as_str);
    admit(snapshot, route, model, project, estimate(prompt, Some(order.max_tokens)), record).await
}

fn estimate(bytes: usize, answer: Option<u32>) -> u32 {
    let prompt = u32::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX);
    prompt.saturating_add(answer.unwrap_or(ANSWER_TOKENS))
}

async fn admit(
    snapshot: &Snapshot,
    route: &Route,
    model: &str,
    project: &str,
    tokens: u32,
    record: &mut Record,
) -> Result<(), GatewayError> {
    let Some(caller) = record.caller().cloned() else { return Err(GatewayError::Internal) };
    if !caller.may_use(model) {
        return Err(GatewayError::ModelNotAllowed { model: model.chars().take(128).collect() });
    }
    // An alias is no way round a limit of its model.
    let known = |name: &str| name == model;
    let of_backend = route.backends.iter().map(|(backend, _)| &backend.config);
    let canonical = of_backend
        .filter(|config| known(&config.model) || config.aliases.iter().any(|alias| known(alias)))
        .map(|config| config.model.as_str())
        .next()
        .unwrap_or(model);
    let ask = Ask { caller: &caller, client: record.client(), project, model: canonical, tokens };
    match snapshot.limits.admit(ask).await {
        Ok(ticket) => {
            record.set_ticket(ticket);
            Ok(())
        }
        Err(limited) => {
            let resets = limited.retry_after.as_secs_f64();
            record.note_limit(&limited.limit, limited.kind.as_str(), Some(resets));
            Err(GatewayError::Limited(Box::new(limited)))
        }
    }
}
