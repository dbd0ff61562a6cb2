//! Triton's HTTP paths. The generate extension (`/generate`, `/generate_stream`) names a model's inputs in one JSON object,
//! and its TensorRT-LLM and vLLM backends name theirs differently; the FasterTransformer ensembles of 2023 take tensors by
//! the v2 protocol's `/infer`. Which form a model has is read from its configuration.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::events::{self, Event};
use super::openai::Usage;
use super::{Choice, Fault, Finish, Generated, Generation, Prompt, Unsupported, Wire, error_message, escape};

/// How a model takes its inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// TensorRT-LLM's ensemble: `text_input`, `max_tokens`, `stop_words`, …
    #[default]
    TensorRt,
    /// vLLM's backend: `text_input` and sampling parameters of its own.
    Vllm,
    /// A FasterTransformer ensemble: tensors `prompt`, `request_output_len`, …
    FasterTransformer,
}

/// What is known of a model there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// How it takes its inputs.
    pub form: Form,
    /// Says how many tokens there were, when asked.
    pub counts: bool,
    /// Says why an answer ended, when asked.
    pub ends: bool,
}

impl Model {
    /// From the model's configuration (`GET /v2/models/NAME/config`); `None` when it shows no form that is known.
    #[must_use]
    pub fn of_config(config: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            input: Vec<Input>,
            #[serde(default)]
            backend: String,
        }
        #[derive(Deserialize)]
        struct Input {
            name: String,
        }
        let config: Config = serde_json::from_slice(config).ok()?;
        let takes = |name: &str| config.input.iter().any(|input| input.name == name);
        let form = if config.backend == "vllm" || takes("sampling_parameters") {
            Form::Vllm
        } else if takes("text_input") {
            Form::TensorRt
        } else if takes("prompt") && takes("request_output_len") {
            Form::FasterTransformer
        } else {
            return None;
        };
        let counts = takes("return_num_input_tokens") && takes("return_num_output_tokens");
        Some(Self { form, counts, ends: takes("return_finish_reason") })
    }
}

/// Padding token of the CodeGen models, which those ensembles want as begin and end.
const CODEGEN_PAD: u32 = 50_256;

/// The request.
pub(super) fn render(known: Model, ask: &Generation) -> Result<Wire, Unsupported> {
    let form = known.form;
    let Prompt::Raw(text) = &ask.prompt else { return Err(Unsupported("anything but raw text")) };
    let model = escape(&ask.model);
    let stream = ask.stream && form != Form::FasterTransformer;
    let path = match form {
        Form::FasterTransformer => return Ok(infer(ask, text, &model)),
        _ if stream => format!("/v2/models/{model}/generate_stream"),
        _ => format!("/v2/models/{model}/generate"),
    };
    let mut sampling = Map::new();
    sampling.insert("max_tokens".into(), ask.max_tokens.into());
    if let Some(temperature) = ask.temperature {
        sampling.insert("temperature".into(), temperature.into());
    }
    if let Some(top_p) = ask.top_p {
        sampling.insert("top_p".into(), top_p.into());
    }
    let mut body = if form == Form::Vllm {
        if !ask.stops.is_empty() {
            sampling.insert("stop".into(), ask.stops.clone().into());
        }
        if let Some(seed) = ask.seed {
            sampling.insert("seed".into(), seed.into());
        }
        // The backend reads sampling parameters as text; stream and echo are inputs of their own.
        json!({
            "text_input": text,
            "stream": stream,
            "exclude_input_in_output": true,
            "sampling_parameters": Value::Object(sampling).to_string(),
        })
    } else {
        sampling.insert("text_input".into(), text.as_str().into());
        sampling.insert("bad_words".into(), "".into());
        sampling.insert("stop_words".into(), if ask.stops.is_empty() { json!("") } else { json!(ask.stops) });
        sampling.insert("exclude_input_in_output".into(), true.into());
        sampling.insert("stream".into(), stream.into());
        if let Some(seed) = ask.seed {
            sampling.insert("random_seed".into(), seed.into());
        }
        Value::Object(sampling)
    };
    if let Value::Object(body) = &mut body {
        let wished = [
            (known.ends, "return_finish_reason"),
            (known.counts, "return_num_input_tokens"),
            (known.counts, "return_num_output_tokens"),
        ];
        let wished = wished.into_iter().filter(|(is_told, _)| *is_told);
        body.extend(wished.map(|(_, name)| (name.to_owned(), Value::Bool(true))));
    }
    Ok(Wire::post(path, &body, stream))
}

/// Tensors of one row and one column each.
fn infer(ask: &Generation, text: &str, model: &str) -> Wire {
    let tensor = |name: &str, kind: &str, value: Value| json!({"name": name, "shape": [1, 1], "datatype": kind, "data": [value]});
    let temperature = ask.temperature.unwrap_or(0.2);
    let top_p = ask.top_p.unwrap_or(0.98);
    // The tensor is a signed number of 32 bits.
    let seed = ask.seed.unwrap_or(0) & 0x7fff_ffff;
    let body = json!({
        "inputs": [
            tensor("prompt", "BYTES", text.into()),
            tensor("request_output_len", "UINT32", ask.max_tokens.into()),
            tensor("temperature", "FP32", temperature.into()),
            tensor("repetition_penalty", "FP32", 1.0.into()),
            tensor("runtime_top_k", "UINT32", 0.into()),
            tensor("runtime_top_p", "FP32", top_p.into()),
            tensor("start_id", "UINT32", CODEGEN_PAD.into()),
            tensor("end_id", "UINT32", CODEGEN_PAD.into()),
            tensor("random_seed", "INT32", seed.into()),
            tensor("is_return_log_probs", "BOOL", true.into()),
        ],
        "outputs": [{"name": "completions"}, {"name": "cum_log_probs"}],
    });
    Wire::post(format!("/v2/models/{model}/infer"), &body, false)
}

#[derive(Deserialize)]
struct Answer {
    text_output: Option<TextOutput>,
    outputs: Option<Vec<Tensor>>,
    finish_reason: Option<String>,
    num_input_tokens: Option<u64>,
    num_output_tokens: Option<u64>,
    error: Option<serde::de::IgnoredAny>,
}

impl Answer {
    fn finish(&self) -> Option<Finish> {
        Finish::read(self.finish_reason.as_deref()?)
    }

    fn usage(&self) -> Option<Usage> {
        let completion_tokens = self.num_output_tokens?;
        Some(Usage { prompt_tokens: self.num_input_tokens.unwrap_or_default(), completion_tokens })
    }
}

/// One text, or one for each answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOutput {
    One(String),
    Several(Vec<String>),
}

impl TextOutput {
    fn first(self) -> String {
        match self {
            Self::One(text) => text,
            Self::Several(texts) => texts.into_iter().next().unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    #[serde(default)]
    data: Vec<Value>,
}

/// Reads a whole answer. Why it ended and what it cost is told only by models whose configuration has those outputs.
pub(super) fn read(form: Form, body: &[u8]) -> Result<Generated, Fault> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Fault::Shape("is not the JSON of a generation"))?;
    if answer.error.is_some() {
        return Err(Fault::Inside(error_message(body)));
    }
    let (finish, usage) = (answer.finish(), answer.usage());
    let text = match form {
        Form::FasterTransformer => {
            let outputs = answer.outputs.unwrap_or_default();
            let completions = outputs.iter().find(|tensor| tensor.name == "completions");
            let first = completions.and_then(|tensor| tensor.data.first()).and_then(Value::as_str);
            first.ok_or(Fault::Shape("has no tensor \"completions\""))?.to_owned()
        }
        Form::TensorRt | Form::Vllm => answer.text_output.ok_or(Fault::Shape("has no text_output"))?.first(),
    };
    Ok(Generated { choices: vec![Choice { text, finish, logprob: None }], usage })
}

/// Reads the data of one event. No event need be the last one: the stream just ends. An empty text is half a character that
/// the next event completes. Tokens are those of the event alone.
pub(super) fn note(data: &[u8], told: &mut Vec<Event>) -> bool {
    let Ok(answer) = serde_json::from_slice::<Answer>(data) else { return false };
    if answer.error.is_some() {
        told.push(Event::Failed(error_message(data)));
        return true;
    }
    let (finish, usage) = (answer.finish(), answer.usage());
    let Some(output) = answer.text_output else { return false };
    events::text(told, 0, output.first(), None);
    told.extend(finish.map(|finish| Event::End { index: 0, finish }));
    told.extend(usage.map(Event::Usage));
    true
}
