//! What a server really does, found out by asking it: the library behind `modelgate-gateway probe` and behind the report in the
//! state document. The free part only reads; the full part asks for a few tokens, so it is for `probe: Completion` and for
//! people.

mod asked;
mod cancel;
mod family;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use modelgate_api::v1alpha1::{DialectFinding, DialectReport, Measured};
use serde_json::Value;

use super::Backend;
use crate::dialect::openai::Api;
use crate::dialect::{Abilities, Dialect, Event, Generated, Generation, TritonModel, Wire, error_message};
use crate::error::GatewayError;
use crate::limits;
use crate::pipeline::body::UpstreamBody;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Stops that a generous server takes.
const MANY_STOPS: usize = 16;
/// A body that servers with a small limit refuse.
const LARGE_BODY: usize = 2 * 1024 * 1024;
/// Paths that are not below the version of OpenAI's.
const BESIDE: [&str; 2] = ["/tokenize", "/metrics"];
/// Enough words that a server that reads them counts more tokens.
const LONG_SUFFIX: &str =
    "\nalpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma";

/// How much a measurement may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Nothing: only what servers tell by themselves.
    Free,
    /// A few tokens.
    Full,
}

/// What was measured, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// For people and for the state document.
    pub report: DialectReport,
    /// What the server takes.
    pub abilities: Abilities,
    /// What it speaks, more exactly than the configuration knows.
    pub dialect: Dialect,
}

struct Measuring<'a> {
    backend: &'a Backend,
    dialect: Dialect,
    abilities: Abilities,
    findings: Vec<DialectFinding>,
}

/// Measures a backend.
pub async fn measure(backend: &Backend, depth: Depth) -> Measurement {
    let dialect = (*backend.dialect()).clone();
    let abilities = Abilities::of(&dialect);
    let mut measuring = Measuring { backend, dialect, abilities, findings: Vec::new() };
    measuring.free().await;
    if depth == Depth::Full {
        measuring.full().await;
    }
    let Measuring { dialect, abilities, findings, .. } = measuring;
    let measured_at = crate::state::rfc3339(SystemTime::now());
    let report = DialectReport { protocol: dialect.as_str().into(), measured_at, findings };
    Measurement { report, abilities, dialect }
}

impl Measuring<'_> {
    fn found(&mut self, name: &str, result: Measured, detail: impl Into<String>) {
        let detail: String = detail.into().chars().take(200).collect();
        self.findings.push(DialectFinding { name: name.into(), result, detail });
    }

    async fn free(&mut self) {
        let path = self.dialect.health_path(&self.backend.config.model);
        match self.get(&path).await {
            Ok((status, _)) if status.is_success() => {
                self.found("reachable", Measured::Supported, format!("GET {path}"));
            }
            Ok((status, body)) => {
                self.found(
                    "reachable",
                    Measured::Refused,
                    format!("GET {path}: {status} {}", error_message(&body)),
                );
            }
            Err(error) => self.found("reachable", Measured::Unknown, format!("GET {path}: {error}")),
        }
        match self.dialect.clone() {
            Dialect::Triton(_) => self.triton_form().await,
            Dialect::Tgi => {
                self.tgi_info().await;
                self.tgi_paths().await;
            }
            Dialect::OpenAi | Dialect::Mistral => self.models().await,
            Dialect::LlamaCpp | Dialect::Vertex(_) => {}
        }
        self.family().await;
    }

    /// Whether the server lists the model that it will be asked for.
    async fn models(&mut self) {
        let Ok((status, body)) = self.get(Api::Models.path()).await else { return };
        let listed: Option<Value> = serde_json::from_slice(&body).ok().filter(|_| status.is_success());
        let Some(list) = listed.as_ref().and_then(|list| list.get("data")).and_then(Value::as_array) else {
            return;
        };
        let model = self.backend.config.model.clone();
        let names: Vec<&str> = list.iter().filter_map(|model| model.get("id")?.as_str()).collect();
        if names.contains(&model.as_str()) {
            self.found("model", Measured::Supported, format!("{model} is listed"));
        } else if !names.is_empty() {
            let some = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            self.found("model", Measured::Absent, format!("{model} is not among the models listed: {some}"));
        }
    }

    async fn triton_form(&mut self) {
        let path = format!(
            "{}/config",
            self.dialect.health_path(&self.backend.config.model).trim_end_matches("/ready")
        );
        let found = self.get(&path).await.ok().filter(|(status, _)| status.is_success());
        let form = found.and_then(|(_, body)| TritonModel::of_config(&body));
        match form {
            Some(model) => {
                self.dialect = Dialect::Triton(model);
                self.abilities = Abilities::of(&self.dialect);
                self.found(
                    "inputs",
                    Measured::Supported,
                    format!("{:?}, by the model's configuration", model.form),
                );
            }
            None => self.found(
                "inputs",
                Measured::Unknown,
                "the model's configuration names no inputs that are known",
            ),
        }
    }

    /// Servers of before 2024 have none of OpenAI's paths, and are asked in their own dialect then. A path that there is
    /// refuses the method.
    async fn tgi_paths(&mut self) {
        for api in [Api::Completions, Api::Chat] {
            let Some(path) = self.dialect.openai_path(api) else { continue };
            let Ok((status, _)) = self.get(&path).await else { continue };
            let is_there = status != StatusCode::NOT_FOUND;
            if !is_there {
                match api {
                    Api::Completions => self.abilities.passes_completions = false,
                    _ => (self.abilities.passes_chat, self.abilities.chat) = (false, false),
                }
            }
            let result = if is_there { Measured::Supported } else { Measured::Absent };
            let name = if api == Api::Chat { "openaiChat" } else { "openaiCompletions" };
            self.found(name, result, format!("GET {path}: {status}"));
        }
    }

    async fn tgi_info(&mut self) {
        let Ok((_, body)) = self.get("/info").await else { return };
        let info: Option<Value> = serde_json::from_slice(&body).ok();
        let stops = info.as_ref().and_then(|info| info.get("max_stop_sequences")).and_then(Value::as_u64);
        if let Some(stops) = stops.and_then(|stops| usize::try_from(stops).ok()) {
            self.abilities.stops = stops;
            self.found("stops", Measured::Supported, format!("{stops} at most, by /info"));
        }
    }

    async fn full(&mut self) {
        let plain = self.plain().await;
        if plain.is_none() {
            return;
        }
        self.stream().await;
        self.error_shape().await;
        if self.dialect == Dialect::OpenAi {
            self.suffix().await;
            self.stops().await;
            self.choices().await;
            self.logprobs().await;
        }
        self.tokenizer().await;
        self.body_limit().await;
        self.cancel().await;
    }

    fn ask(&self) -> Generation {
        Generation {
            prompt: self.abilities.prompt_of("def add(a, b):\n    return a +".into(), String::new()),
            model: self.backend.config.model.clone(),
            max_tokens: 2,
            temperature: Some(0.2),
            ..Generation::default()
        }
    }

    /// One answer, read; `Err` holds the server's refusal in its own words, or what else went wrong.
    async fn answer(&self, ask: &Generation, abilities: &Abilities) -> Result<Generated, String> {
        let wire = self.dialect.render(ask, abilities).map_err(|unsupported| unsupported.to_string())?;
        let (status, body) = self.send(wire).await.map_err(|error| error.to_string())?;
        self.dialect.read(status, &body).map_err(|fault| fault.to_string())
    }

    async fn plain(&mut self) -> Option<Generated> {
        let ask = self.ask();
        match self.answer(&ask, &self.abilities).await {
            Ok(generated) => {
                self.found("completion", Measured::Supported, "");
                let usage = generated.usage.map(|usage| format!("{} prompt tokens", usage.prompt_tokens));
                let result = if usage.is_some() { Measured::Supported } else { Measured::Absent };
                self.found("usage", result, usage.unwrap_or_default());
                Some(generated)
            }
            Err(why) => {
                self.found("completion", Measured::Refused, why);
                None
            }
        }
    }

    async fn stream(&mut self) {
        if !self.abilities.stream {
            return self.found("stream", Measured::Absent, "this kind of server has none");
        }
        let mut ask = self.ask();
        ask.stream = true;
        let mut told = self.events(&ask, self.abilities).await;
        if told.is_err() && self.abilities.stream_usage {
            let without = Abilities { stream_usage: false, ..self.abilities };
            let again = self.events(&ask, without).await;
            if again.is_ok() {
                self.abilities = without;
                self.found("streamOptions", Measured::Refused, told.err().unwrap_or_default());
                told = again;
            }
        }
        match told {
            Err(why) => {
                self.abilities.stream = false;
                self.found("stream", Measured::Refused, why);
            }
            Ok(events) => {
                let has = |wanted: fn(&Event) -> bool| {
                    if events.iter().any(wanted) { Measured::Supported } else { Measured::Absent }
                };
                let usage = has(|event| matches!(event, Event::Usage(_)));
                let end = has(|event| matches!(event, Event::End { .. }));
                let done = has(|event| matches!(event, Event::Done));
                self.found("stream", Measured::Supported, "");
                self.found("streamUsage", usage, "usage in a stream");
                self.found("streamFinish", end, "the reason of the end in a stream");
                self.found("streamDone", done, "data: [DONE]");
            }
        }
    }

    async fn events(&self, ask: &Generation, abilities: Abilities) -> Result<Vec<Event>, String> {
        let wire = self.dialect.render(ask, &abilities).map_err(|unsupported| unsupported.to_string())?;
        let (status, body) = self.send(wire).await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {}", error_message(&body)));
        }
        let mut reader = self.dialect.events();
        let mut told = reader.push(&body);
        told.extend(reader.finish());
        match told
            .iter()
            .find_map(|event| if let Event::Failed(why) = event { Some(why.clone()) } else { None })
        {
            Some(why) => Err(why),
            None if told.is_empty() => Err("the answer holds no event".into()),
            None => Ok(told),
        }
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), GatewayError> {
        self.send(Wire { method: Method::GET, path: path.into(), body: Bytes::new(), stream: false }).await
    }

    async fn send(&self, wire: Wire) -> Result<(StatusCode, Bytes), GatewayError> {
        let whole = async {
            let (parts, body) = self.open(wire).await?.into_parts();
            let body = Limited::new(body, limits::ANSWER_BYTES).collect().await;
            Ok((parts.status, body.map_err(|_| GatewayError::UpstreamBroken)?.to_bytes()))
        };
        tokio::time::timeout(TIMEOUT, whole)
            .await
            .map_err(|_| GatewayError::UpstreamTimeout("measurement"))?
    }

    /// Sends and gives the answer as it begins.
    async fn open(&self, wire: Wire) -> Result<Response<UpstreamBody>, GatewayError> {
        let backend = self.backend;
        let endpoint =
            backend.endpoints().first().cloned().ok_or(GatewayError::NoBackend("no address is known"))?;
        let stream = wire.stream;
        // vLLM has them beside /v1, not below.
        let beside = BESIDE.contains(&wire.path.as_str()).then(|| endpoint.uri_beside(&wire.path)).flatten();
        let mut request = backend.ask(&endpoint, wire, &HeaderMap::new())?;
        if let Some(uri) = beside {
            *request.uri_mut() = uri;
        }
        backend.send(request, Api::Completions, stream).await
    }
}
