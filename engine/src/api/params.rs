//! The fields that completions and chat completions share.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::error::ApiError;
use crate::infer::sampling::Sampling;

/// Stop strings of a request at most, and bytes of one: text is held back for as long as one could begin.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 1024;

/// Shared fields as they arrive; absent and `null` mean the same.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Params {
    model: Option<String>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    seed: Option<i64>,
    n: Option<i64>,
    stop: Option<OneOrMany>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    ignore_eos: Option<bool>,
    logit_bias: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Shared fields, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// The model asked for.
    pub model: Option<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The answer ends before the first of these.
    pub stops: Vec<String>,
    /// Answer piece by piece.
    pub stream: bool,
    /// End a stream with the token counts.
    pub include_usage: bool,
    /// Go on when the model says it is done.
    pub ignore_eos: bool,
}

impl Params {
    /// Checks every field; `random` is the seed of a request that names none.
    ///
    /// # Errors
    /// The first wrong field.
    pub fn check(self, random: u32) -> Result<Common, ApiError> {
        let within = |name: &str, value: Option<f32>, low: f32, high: f32, default: f32| match value {
            None => Ok(default),
            Some(value) if (low..=high).contains(&value) => Ok(value),
            Some(value) => {
                Err(ApiError::invalid(name, format!("{name} is {value}; it must be from {low} to {high}")))
            }
        };
        if self.n.is_some_and(|n| n != 1) {
            return Err(ApiError::invalid("n", "n must be 1: this server gives one choice a request"));
        }
        if is_set(self.logit_bias.as_ref()) {
            return Err(ApiError::invalid("logit_bias", "logit_bias is not supported; leave it out"));
        }
        if self.top_k.is_some_and(|top_k| top_k < -1) {
            return Err(ApiError::invalid(
                "top_k",
                "top_k must be a positive number, or 0 or -1 for all tokens",
            ));
        }
        let stream = self.stream.unwrap_or(false);
        if self.stream_options.is_some() && !stream {
            return Err(ApiError::invalid("stream_options", "stream_options needs stream: true"));
        }
        let top_p = within("top_p", self.top_p, 0.0, 1.0, 1.0)?;
        Ok(Common {
            model: self.model.filter(|model| !model.is_empty()),
            sampling: Sampling {
                temperature: within("temperature", self.temperature, 0.0, 2.0, 1.0)?,
                top_p,
                top_k: self.top_k.unwrap_or(0).max(0),
                presence_penalty: within("presence_penalty", self.presence_penalty, -2.0, 2.0, 0.0)?,
                frequency_penalty: within("frequency_penalty", self.frequency_penalty, -2.0, 2.0, 0.0)?,
                seed: self.seed.map_or(random, fold_seed),
            },
            stops: check_stops(self.stop)?,
            stream,
            include_usage: self.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            ignore_eos: self.ignore_eos.unwrap_or(false),
        })
    }
}

/// All 64 bits of a seed count, though the library takes 32; its highest value would mean "random" to it.
fn fold_seed(seed: i64) -> u32 {
    let bits = seed.cast_unsigned();
    let folded = (bits ^ (bits >> 32)) & u64::from(u32::MAX);
    u32::try_from(folded).unwrap_or(0).min(u32::MAX - 1)
}

fn check_stops(stop: Option<OneOrMany>) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => Vec::new(),
        Some(OneOrMany::One(stop)) => vec![stop],
        Some(OneOrMany::Many(stops)) => stops,
    };
    if stops.len() > MAX_STOPS {
        return Err(ApiError::invalid(
            "stop",
            format!("stop has {} strings; {MAX_STOPS} at most", stops.len()),
        ));
    }
    if stops.iter().any(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES) {
        return Err(ApiError::invalid(
            "stop",
            format!("each stop string must have 1 to {MAX_STOP_BYTES} bytes"),
        ));
    }
    Ok(stops)
}

/// `max_tokens`, checked.
///
/// # Errors
/// When it is 0 or negative.
pub fn check_max_tokens(name: &str, value: Option<i64>) -> Result<Option<usize>, ApiError> {
    match value {
        None => Ok(None),
        Some(value) if value >= 1 => Ok(Some(usize::try_from(value).unwrap_or(usize::MAX))),
        Some(value) => Err(ApiError::invalid(name, format!("{name} is {value}; it must be at least 1"))),
    }
}

/// Whether a field that is not supported asks for anything.
#[must_use]
pub fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    }
}

/// Reads a body and names the field that does not fit.
///
/// # Errors
/// When it is not JSON or a field has the wrong type.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // serde would also fill the fields from an array, in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::Invalid { param: None, message: "the body is not a JSON object".into() });
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let param = (path != "." && !error.inner().is_syntax() && !error.inner().is_eof()).then_some(path);
        let message = match &param {
            Some(path) => format!("{path}: {}", error.inner()),
            None => format!("the body is not a request in JSON: {}", error.inner()),
        };
        ApiError::Invalid { param, message }
    })?;
    json.end().map_err(|error| ApiError::Invalid {
        param: None,
        message: format!("text after the JSON body: {error}"),
    })?;
    Ok(parsed)
}
