//! The two routes that generate: body → checked request → tokens → queue → answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::state::{Ready, State, unix_time};
use crate::{
    account::Account,
    api::{
        chat,
        completion::{self, Prompt},
        error::ApiError,
        params::Common,
        response::Shape,
    },
    infer::{
        job::{Event, Job},
        model::{Model, Token, Turn},
        scheduler::Message,
    },
    metrics::Route,
};

/// Longest body taken.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
/// Time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer begun: either the events of a stream or a whole body.
#[derive(Debug)]
pub enum Answer {
    /// To be streamed.
    Stream(Shape, mpsc::Receiver<Event>),
    /// Complete JSON.
    Whole(String),
}

/// A request of either route, as far as both are alike.
struct Asked {
    input: Input,
    max_tokens: Option<usize>,
    common: Common,
}

enum Input {
    Prompt(Prompt),
    Turns(Vec<Turn>),
}

/// Answers a request, and counts it if it is refused; otherwise the computing thread counts it when it ends.
///
/// # Errors
/// The refusal to send.
pub async fn generate(state: &State, route: Route, body: Incoming) -> Result<Answer, ApiError> {
    let mut account = Some(Account::new(state.metrics.clone(), route));
    let result = answer(state, route, body, &mut account).await;
    if let (Err(error), Some(account)) = (&result, account) {
        account.finish(error.outcome());
    }
    result
}

async fn answer(
    state: &State,
    route: Route,
    body: Incoming,
    account: &mut Option<Account>,
) -> Result<Answer, ApiError> {
    let ready = state.serving()?;
    let asked = read(route, &receive(body).await?)?;
    check_model(state, asked.common.model.as_deref())?;
    let prefix = match route {
        Route::Completions => "cmpl",
        Route::ChatCompletions => "chatcmpl",
    };
    let shape = Shape {
        route,
        id: format!("{prefix}-{}", Uuid::new_v4().simple()),
        model: state.name().into(),
        created: unix_time(),
        include_usage: asked.common.include_usage,
    };
    let stream = asked.common.stream;
    let events = submit(ready, asked, account).await?;
    if stream { Ok(Answer::Stream(shape, events)) } else { collect(&shape, events).await }
}

/// Reads a body within its limits.
async fn receive(body: Incoming) -> Result<Bytes, ApiError> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect());
    match whole.await {
        Err(_) => Err(ApiError::BodyTimeout(BODY_TIMEOUT)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(MAX_BODY)),
        Ok(Err(error)) => {
            Err(ApiError::Invalid { param: None, message: format!("the body did not arrive whole: {error}") })
        }
    }
}

fn read(route: Route, body: &[u8]) -> Result<Asked, ApiError> {
    // Any bits will do for a request that names no seed.
    let random = Uuid::new_v4().as_u64_pair().0;
    let random = u32::try_from(random & 0x7fff_ffff).unwrap_or(0);
    match route {
        Route::Completions => {
            let request = completion::read(body, random)?;
            let max_tokens = Some(request.max_tokens);
            Ok(Asked { input: Input::Prompt(request.prompt), max_tokens, common: request.common })
        }
        Route::ChatCompletions => {
            let request = chat::read(body, random)?;
            Ok(Asked {
                input: Input::Turns(request.turns),
                max_tokens: request.max_tokens,
                common: request.common,
            })
        }
    }
}

/// A request without a model means the only one there is.
fn check_model(state: &State, asked: Option<&str>) -> Result<(), ApiError> {
    match asked {
        Some(name) if !state.names.iter().any(|served| served == name) => Err(ApiError::UnknownModel {
            name: name.chars().take(200).collect(),
            served: state.names.join(", "),
        }),
        _ => Ok(()),
    }
}

/// Makes tokens of the input and puts the request into the queue.
async fn submit(
    ready: &Ready,
    asked: Asked,
    account: &mut Option<Account>,
) -> Result<mpsc::Receiver<Event>, ApiError> {
    let permit = ready.places.clone().try_acquire_owned().map_err(|_| ApiError::QueueFull(ready.capacity))?;
    let model = Arc::clone(&ready.model);
    let Asked { input, max_tokens, common } = asked;
    // Two megabytes of text take long enough to be kept off the threads that serve connections.
    let prompt = tokio::task::spawn_blocking(move || tokens(&model, input))
        .await
        .map_err(|error| ApiError::Internal(format!("the prompt could not be tokenized: {error}")))??;
    let (field, have) = (&prompt.field, ready.context_length);
    let prompt = prompt.tokens;
    if prompt.is_empty() {
        return Err(ApiError::invalid(field, format!("{field} is empty")));
    }
    if prompt.len() >= have {
        let need = prompt.len() + 1;
        let message = format!(
            "{field} needs {need} tokens with one for the answer; the context has {have}; shorten it or raise --context-length"
        );
        return Err(ApiError::invalid(field, message));
    }
    let room = have - prompt.len();
    let max_tokens = max_tokens.unwrap_or(room).min(room);
    let (sender, receiver) = mpsc::channel(Job::events_capacity(max_tokens));
    let Some(mut account) = account.take() else {
        return Err(ApiError::Internal("the request was counted twice".into()));
    };
    account.queued();
    let job = Box::new(Job {
        prompt,
        sampling: common.sampling,
        max_tokens,
        stops: common.stops,
        ignore_eos: common.ignore_eos,
        events: sender,
        account,
        permit,
        queued: std::time::Instant::now(),
    });
    // A job that cannot be sent is dropped with its account: it counts as cancelled, and the client is told.
    match ready.messages.try_send(Message::Job(job)) {
        Ok(()) => Ok(receiver),
        Err(_) => Err(ApiError::Unavailable("the computing thread has ended; the server restarts")),
    }
}

/// A prompt in tokens, and the field it came from.
struct Tokenized {
    field: &'static str,
    tokens: Vec<Token>,
}

fn tokens(model: &Model, input: Input) -> Result<Tokenized, ApiError> {
    let prompt = |tokens| Ok(Tokenized { field: "prompt", tokens });
    match input {
        Input::Prompt(Prompt::Text(text)) => prompt(model.tokenize(&text)),
        Input::Prompt(Prompt::Infill { prefix, suffix }) => match model.infill(&prefix, &suffix) {
            Some(tokens) => prompt(tokens),
            None => Err(ApiError::invalid(
                "suffix",
                "suffix is not supported: this model has no fill-in-the-middle tokens; send a prompt alone",
            )),
        },
        Input::Prompt(Prompt::Tokens(ids)) => {
            let size = model.vocabulary();
            let known = |id: u32| i32::try_from(id).ok().filter(|id| *id < size).map(Token::new);
            let tokens: Option<Vec<Token>> = ids.into_iter().map(known).collect();
            prompt(tokens.ok_or_else(|| {
                ApiError::invalid("prompt", format!("prompt has a token number outside 0 to {}", size - 1))
            })?)
        }
        Input::Turns(turns) => {
            let text = model
                .chat_prompt(&turns)
                .map_err(|error| ApiError::invalid("messages", error.to_string()))?;
            Ok(Tokenized { field: "messages", tokens: model.tokenize(&text) })
        }
    }
}

/// Waits for the whole answer. Dropped when the client leaves, and the receiver with it.
async fn collect(shape: &Shape, mut events: mpsc::Receiver<Event>) -> Result<Answer, ApiError> {
    let mut text = String::new();
    loop {
        match events.recv().await {
            Some(Event::Text(more)) => text += &more,
            Some(Event::End { finish, usage }) => {
                return Ok(Answer::Whole(shape.whole(&text, finish, usage)));
            }
            Some(Event::Failed(reason)) => return Err(ApiError::Internal(reason)),
            None => return Err(ApiError::Internal("the computing thread has ended".into())),
        }
    }
}
