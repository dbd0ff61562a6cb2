//! Requests → OTLP in its JSON form. Names are those of OpenTelemetry's conventions for HTTP and generative AI; what they
//! have no name for begins with `modelgate.`. No text of a prompt or an answer is among the attributes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::metrics::{Operation, Outcome};
use crate::server::facts::Attempt;
use crate::server::summary::Summary;
use crate::usage;

const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;
/// `INFO` in OTLP's numbers.
const INFO: u8 = 9;

/// The body of an export of traces.
pub(super) fn traces<'a>(
    resource: &[(String, String)],
    requests: impl Iterator<Item = &'a Summary>,
) -> Value {
    let spans: Vec<Value> = requests.flat_map(spans).collect();
    json!({"resourceSpans": [{"resource": self::resource(resource), "scopeSpans": [{"scope": scope(), "spans": spans}]}]})
}

/// The body of an export of usage records.
pub(super) fn logs<'a>(resource: &[(String, String)], requests: impl Iterator<Item = &'a Summary>) -> Value {
    let records: Vec<Value> = requests.map(log).collect();
    json!({"resourceLogs": [{"resource": self::resource(resource), "scopeLogs": [{"scope": scope(), "logRecords": records}]}]})
}

fn resource(attributes: &[(String, String)]) -> Value {
    json!({"attributes": attributes.iter().map(|(name, value)| attribute(name, &json!(value))).collect::<Vec<_>>()})
}

fn scope() -> Value {
    json!({"name": "modelgate", "version": env!("CARGO_PKG_VERSION")})
}

fn log(request: &Summary) -> Value {
    let Ok(Value::Object(fields)) = serde_json::to_value(usage::record(request)) else { return Value::Null };
    let attributes: Vec<Value> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| attribute(name, value))
        .collect();
    let mut record = json!({
        "timeUnixNano": nanoseconds(request.time + request.duration),
        "severityNumber": INFO,
        "eventName": "modelgate.usage",
        "body": {"stringValue": "modelgate.usage"},
        "attributes": attributes,
    });
    if let (Some(context), Some(record)) = (request.trace, record.as_object_mut()) {
        record.insert("traceId".into(), format!("{:032x}", context.trace).into());
        record.insert("spanId".into(), format!("{:016x}", context.server).into());
    }
    record
}

/// The request at the gateway and, where one was asked, what was asked of a backend.
fn spans(request: &Summary) -> Vec<Value> {
    let Some(context) = request.trace else { return Vec::new() };
    let (id, parent) =
        (format!("{:032x}", context.trace), context.parent.map(|parent| format!("{parent:016x}")));
    let server = format!("{:016x}", context.server);
    let mut spans = vec![json!({
        "traceId": id,
        "spanId": server,
        "parentSpanId": parent.unwrap_or_default(),
        "name": format!("{} {}", request.method, request.handler.as_str()),
        "kind": SERVER,
        "startTimeUnixNano": nanoseconds(request.time),
        "endTimeUnixNano": nanoseconds(request.time + request.duration),
        "attributes": of_server(request),
        "status": status(request),
    })];
    if let (Some(first), Some(operation)) = (request.facts.attempts.first(), request.operation) {
        let model = request.model.as_deref().unwrap_or_default();
        spans.push(json!({
            "traceId": id,
            "spanId": format!("{:016x}", context.client),
            "parentSpanId": server,
            "name": format!("{} {model}", known(operation)),
            "kind": CLIENT,
            "startTimeUnixNano": nanoseconds(at(request, first.began_ms)),
            "endTimeUnixNano": nanoseconds(request.time + request.duration),
            "attributes": of_client(request, operation),
            "events": request.facts.attempts.iter().map(|attempt| event(request, attempt)).collect::<Vec<_>>(),
            "status": status(request),
        }));
    }
    spans
}

fn of_server(request: &Summary) -> Vec<Value> {
    let mut list = vec![
        attribute("http.request.method", &json!(request.method)),
        attribute("http.response.status_code", &json!(request.status)),
        attribute("http.route", &json!(request.handler.as_str())),
        attribute("url.path", &json!(request.path)),
        attribute("url.scheme", &json!("http")),
        attribute("network.protocol.version", &json!(request.http_version)),
        attribute("client.address", &json!(request.client.ip().to_canonical().to_string())),
        attribute("modelgate.request_id", &json!(request.request_id)),
        attribute("modelgate.outcome", &json!(request.outcome.as_str())),
        attribute("modelgate.gateway", &json!(request.gateway)),
    ];
    let route = request.facts.route.as_deref().map(|route| attribute("modelgate.route", &json!(route)));
    let limit =
        request.facts.limited.as_ref().map(|limited| attribute("modelgate.limit", &json!(limited.limit)));
    list.extend(route.into_iter().chain(limit).chain(error_type(request)));
    for (phase, spent) in request.phases.iter() {
        list.push(attribute(&format!("modelgate.phase.{}_s", phase.as_str()), &json!(spent.as_secs_f64())));
    }
    list
}

fn of_client(request: &Summary, operation: Operation) -> Vec<Value> {
    let mut list = vec![
        attribute("gen_ai.operation.name", &json!(known(operation))),
        attribute("gen_ai.provider.name", &json!("modelgate")),
    ];
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            list.push(attribute(name, &value));
        }
    };
    put("gen_ai.request.model", json!(request.facts.model_asked.as_ref().or(request.model.as_ref())));
    put("gen_ai.response.model", json!(request.model));
    put("gen_ai.usage.input_tokens", json!(request.usage.map(|usage| usage.prompt_tokens)));
    put("gen_ai.usage.output_tokens", json!(request.usage.map(|usage| usage.completion_tokens)));
    put("modelgate.backend", json!(request.backend));
    put("modelgate.first_piece_s", json!(request.first_piece.map(|spent| spent.as_secs_f64())));
    list.extend(error_type(request));
    list
}

fn event(request: &Summary, attempt: &Attempt) -> Value {
    json!({
        "name": "modelgate.attempt",
        "timeUnixNano": nanoseconds(at(request, attempt.began_ms)),
        "attributes": [
            attribute("modelgate.backend", &json!(attempt.backend)),
            attribute("modelgate.result", &json!(attempt.result)),
            attribute("modelgate.duration_s", &json!(attempt.took_ms / 1e3)),
        ],
    })
}

/// OpenTelemetry's word for an operation; it has none for completing code.
fn known(operation: Operation) -> &'static str {
    match operation {
        Operation::CodeCompletion => Operation::TextCompletion.as_str(),
        other => other.as_str(),
    }
}

fn is_fine(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Success | Outcome::Empty | Outcome::Deadline)
}

fn error_type(request: &Summary) -> Option<Value> {
    (!is_fine(request.outcome))
        .then(|| attribute("error.type", &json!(request.reason.unwrap_or(request.outcome.as_str()))))
}

/// What is the caller's own doing is no error of the gateway's span.
fn status(request: &Summary) -> Value {
    let calm = is_fine(request.outcome)
        || matches!(request.outcome, Outcome::ClientError | Outcome::AuthFailed | Outcome::Canceled);
    if calm { json!({}) } else { json!({"code": ERROR}) }
}

fn at(request: &Summary, after_ms: f64) -> SystemTime {
    request.time + Duration::try_from_secs_f64(after_ms / 1e3).unwrap_or_default()
}

/// OTLP's JSON spells 64-bit numbers as text.
fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn attribute(name: &str, value: &Value) -> Value {
    let value = match value {
        Value::Bool(flag) => json!({"boolValue": flag}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    };
    json!({"key": name, "value": value})
}
