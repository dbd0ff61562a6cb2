//! Vertex AI: `:predict` of the models of 2023 (code-gecko, code-bison, text-bison), Gemini's `:generateContent`, and
//! Mistral's models there, whose bodies are Mistral's.

use modelgate_api::contract::VertexTarget;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::events::{self, Event};
use super::openai::{Usage, generate};
use super::{
    Choice, Fault, Finish, Generated, Generation, Message, Prompt, Unsupported, Wire, error_message, escape,
    mistral,
};

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    project: String,
    location: String,
    publisher: String,
    model: String,
}

/// How a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{prefix, suffix}`.
    Gecko,
    /// `{prefix}`.
    CodeBison,
    /// `{content}`.
    TextBison,
    /// Contents and parts.
    Gemini,
    /// Mistral's bodies.
    Mistral,
}

impl From<&VertexTarget> for Place {
    fn from(target: &VertexTarget) -> Self {
        Self::new(&target.project, &target.location, &target.publisher, &target.model)
    }
}

impl Place {
    /// Of a model.
    #[must_use]
    pub fn new(project: &str, location: &str, publisher: &str, model: &str) -> Self {
        Self {
            project: project.into(),
            location: location.into(),
            publisher: publisher.into(),
            model: model.into(),
        }
    }

    /// How the model is asked, by its name.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (self.publisher.as_str(), self.model.as_str()) {
            ("mistralai", _) => Kind::Mistral,
            (_, model) if model.starts_with("code-gecko") => Kind::Gecko,
            (_, model) if model.starts_with("code-bison") => Kind::CodeBison,
            (_, model) if model.starts_with("text-bison") => Kind::TextBison,
            _ => Kind::Gemini,
        }
    }

    /// The public description of the model, which costs nothing.
    pub(super) fn model_path(&self) -> String {
        let model = self.model.split('@').next().unwrap_or_default();
        format!("/v1beta1/publishers/{}/models/{}", escape(&self.publisher), escape(model))
    }

    /// Vertex AI's own path for OpenAI's chat, which only Gemini has.
    pub(super) fn openai_chat_path(&self) -> Option<String> {
        let root =
            format!("/v1beta1/projects/{}/locations/{}", escape(&self.project), escape(&self.location));
        (self.kind() == Kind::Gemini).then(|| format!("{root}/endpoints/openapi/chat/completions"))
    }

    /// The model's name there.
    pub(super) fn openai_model(&self) -> String {
        format!("{}/{}", self.publisher, self.model)
    }

    fn path(&self, verb: &str) -> String {
        format!(
            "/v1/projects/{}/locations/{}/publishers/{}/models/{}:{verb}",
            escape(&self.project),
            escape(&self.location),
            escape(&self.publisher),
            escape(&self.model)
        )
    }

    /// The request.
    pub(super) fn render(&self, ask: &Generation) -> Result<Wire, Unsupported> {
        match self.kind() {
            Kind::Gecko | Kind::CodeBison | Kind::TextBison => self.predict(ask),
            Kind::Gemini => Ok(self.gemini(ask)),
            Kind::Mistral => {
                let mut body = mistral::body(ask);
                body.insert("model".into(), self.model.as_str().into());
                let verb = if ask.stream { "streamRawPredict" } else { "rawPredict" };
                Ok(Wire::post(self.path(verb), &Value::Object(body), ask.stream))
            }
        }
    }

    fn predict(&self, ask: &Generation) -> Result<Wire, Unsupported> {
        let (before, after) = match &ask.prompt {
            Prompt::Raw(text) => (text.as_str(), ""),
            Prompt::Infill { prefix, suffix, .. } => (prefix.as_str(), suffix.as_str()),
            Prompt::Chat(_) => return Err(Unsupported("a conversation")),
        };
        let instance = match self.kind() {
            Kind::TextBison => json!({"content": before}),
            Kind::Gecko => json!({"prefix": before, "suffix": after}),
            _ => json!({"prefix": before}),
        };
        let mut parameters = parameters(ask);
        parameters.insert("maxOutputTokens".into(), ask.max_tokens.into());
        let body = json!({"instances": [instance], "parameters": Value::Object(parameters)});
        Ok(Wire::post(self.path("predict"), &body, false))
    }

    fn gemini(&self, ask: &Generation) -> Wire {
        let (system, contents) = contents(&ask.prompt);
        let mut config = parameters(ask);
        config.insert("maxOutputTokens".into(), ask.max_tokens.into());
        // Thoughts count as output and would use up the few tokens of a completion. Only these models can do without.
        if self.model.starts_with("gemini-2.5-flash") {
            config.insert("thinkingConfig".into(), json!({"thinkingBudget": 0}));
        }
        let mut body = Map::new();
        body.insert("contents".into(), contents);
        if let Some(system) = system {
            body.insert("systemInstruction".into(), json!({"parts": [{"text": system}]}));
        }
        body.insert("generationConfig".into(), Value::Object(config));
        let verb = if ask.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        Wire::post(self.path(verb), &Value::Object(body), ask.stream)
    }

    /// Reads a whole answer.
    pub(super) fn read(&self, body: &[u8]) -> Result<Generated, Fault> {
        match self.kind() {
            Kind::Mistral => generate::read(body),
            Kind::Gemini => read_gemini(body),
            Kind::Gecko | Kind::CodeBison | Kind::TextBison => read_predictions(body),
        }
    }

    pub(super) fn note(&self) -> events::Note {
        if self.kind() == Kind::Mistral { generate::note } else { note }
    }
}

/// What both forms call the same.
fn parameters(ask: &Generation) -> Map<String, Value> {
    let mut parameters = Map::new();
    if let Some(temperature) = ask.temperature {
        parameters.insert("temperature".into(), temperature.into());
    }
    if let Some(top_p) = ask.top_p {
        parameters.insert("topP".into(), top_p.into());
    }
    if ask.choices > 1 {
        parameters.insert("candidateCount".into(), ask.choices.into());
    }
    if !ask.stops.is_empty() {
        parameters.insert("stopSequences".into(), ask.stops.clone().into());
    }
    if let Some(seed) = ask.seed {
        parameters.insert("seed".into(), seed.into());
    }
    parameters
}

/// System messages, and the rest with the names that Gemini has for who speaks.
fn contents(prompt: &Prompt) -> (Option<String>, Value) {
    let messages = match prompt {
        Prompt::Chat(messages) => messages.as_slice(),
        Prompt::Raw(text) | Prompt::Infill { prefix: text, .. } => {
            return (None, json!([{"role": "user", "parts": [{"text": text}]}]));
        }
    };
    let is_system = |message: &&Message| message.role == "system" || message.role == "developer";
    let system: Vec<&str> =
        messages.iter().filter(is_system).map(|message| message.content.as_str()).collect();
    let rest = messages.iter().filter(|message| !is_system(message)).map(|message| {
        let role = if message.role == "assistant" { "model" } else { "user" };
        json!({"role": role, "parts": [{"text": message.content}]})
    });
    ((!system.is_empty()).then(|| system.join("\n\n")), Value::Array(rest.collect()))
}

#[derive(Deserialize)]
struct Predictions {
    predictions: Option<Vec<Prediction>>,
    metadata: Option<Metadata>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prediction {
    #[serde(default)]
    content: String,
    score: Option<f64>,
    safety_attributes: Option<Safety>,
}

#[derive(Deserialize)]
struct Safety {
    #[serde(default)]
    blocked: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    token_metadata: Option<TokenMetadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenMetadata {
    input_token_count: Option<TokenCount>,
    output_token_count: Option<TokenCount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenCount {
    #[serde(default)]
    total_tokens: u64,
}

/// The models of 2023 do not say why they ended; a score is the logarithm of the answer's likelihood.
fn read_predictions(body: &[u8]) -> Result<Generated, Fault> {
    let answer: Predictions =
        serde_json::from_slice(body).map_err(|_| Fault::Shape("is not the JSON of a prediction"))?;
    if answer.error.is_some() {
        return Err(Fault::Inside(error_message(body)));
    }
    let predictions =
        answer.predictions.filter(|list| !list.is_empty()).ok_or(Fault::Shape("has no prediction"))?;
    let choices = predictions.into_iter().map(|prediction| {
        let blocked = prediction.safety_attributes.is_some_and(|safety| safety.blocked);
        Choice {
            text: prediction.content,
            finish: blocked.then_some(Finish::Filtered),
            logprob: prediction.score,
        }
    });
    let tokens = answer.metadata.and_then(|metadata| metadata.token_metadata);
    let count = |count: &Option<TokenCount>| count.as_ref().map_or(0, |count| count.total_tokens);
    let usage = tokens.map(|tokens| Usage {
        prompt_tokens: count(&tokens.input_token_count),
        completion_tokens: count(&tokens.output_token_count),
    });
    Ok(Generated { choices: choices.collect(), usage })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gemini {
    candidates: Option<Vec<Candidate>>,
    usage_metadata: Option<GeminiUsage>,
    prompt_feedback: Option<Feedback>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    index: u32,
    content: Option<Content>,
    finish_reason: Option<String>,
    avg_logprobs: Option<f64>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
    #[serde(default)]
    thought: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeminiUsage {
    #[serde(default)]
    prompt_token_count: u64,
    #[serde(default)]
    candidates_token_count: u64,
    #[serde(default)]
    thoughts_token_count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
}

impl Candidate {
    fn text(&mut self) -> String {
        let parts = self.content.take().map(|content| content.parts).unwrap_or_default();
        parts.into_iter().filter(|part| !part.thought).map(|part| part.text).collect()
    }

    fn finish(&self) -> Option<Finish> {
        Finish::read(self.finish_reason.as_deref()?)
    }
}

impl GeminiUsage {
    fn read(&self) -> Usage {
        let completion_tokens = self.candidates_token_count + self.thoughts_token_count;
        Usage { prompt_tokens: self.prompt_token_count, completion_tokens }
    }
}

fn read_gemini(body: &[u8]) -> Result<Generated, Fault> {
    let answer: Gemini =
        serde_json::from_slice(body).map_err(|_| Fault::Shape("is not the JSON of Gemini's answer"))?;
    if answer.error.is_some() {
        return Err(Fault::Inside(error_message(body)));
    }
    let usage = answer.usage_metadata.as_ref().map(GeminiUsage::read);
    if answer.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
        let withheld = Choice { text: String::new(), finish: Some(Finish::Filtered), logprob: None };
        return Ok(Generated { choices: vec![withheld], usage });
    }
    let mut candidates =
        answer.candidates.filter(|list| !list.is_empty()).ok_or(Fault::Shape("has no candidate"))?;
    candidates.sort_by_key(|candidate| candidate.index);
    let choices = candidates.into_iter().map(|mut candidate| {
        let (finish, logprob) = (candidate.finish(), candidate.avg_logprobs);
        Choice { text: candidate.text(), finish, logprob }
    });
    Ok(Generated { choices: choices.collect(), usage })
}

/// Reads the data of one event of Gemini's.
fn note(data: &[u8], told: &mut Vec<Event>) -> bool {
    let Ok(answer) = serde_json::from_slice::<Gemini>(data) else { return false };
    if answer.error.is_some() {
        told.push(Event::Failed(error_message(data)));
        return true;
    }
    let withheld = answer.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some());
    let is_known = withheld || answer.candidates.is_some() || answer.usage_metadata.is_some();
    if withheld {
        told.push(Event::End { index: 0, finish: Finish::Filtered });
    }
    let mut ended = withheld;
    for mut candidate in answer.candidates.unwrap_or_default() {
        let (index, finish) = (candidate.index, candidate.finish());
        events::text(told, index, candidate.text(), None);
        ended |= finish.is_some();
        told.extend(finish.map(|finish| Event::End { index, finish }));
    }
    // Every event repeats the cost so far; the one with the end has all of it.
    if let Some(usage) = answer.usage_metadata.filter(|_| ended) {
        told.push(Event::Usage(usage.read()));
    }
    is_known
}
