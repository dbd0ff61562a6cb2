//! What became of earlier suggestions, as clients tell: in the body of the next request, or in headers beside it. It is
//! counted under labels of closed sets; whatever a client writes that is not known is `other`.

use http::HeaderMap;
use modelgate_api::v1alpha1::Compat;
use prometheus::IntCounterVec;

use super::json::Value;
use super::python::{Integer, int_of_text};
use super::request::FREE;
use super::validate::{Members, TextRule, Validator};

const MODEL: TextRule = TextRule { strip: false, max: Some(50) };
/// What the README of the gateway of 2023 promised for `model_engine`; its code refused more than 50.
const LONG: TextRule = TextRule { strip: false, max: Some(100_000) };
const MAX_ITEMS: usize = 10;
const HEADERS: [&str; 3] = ["x-gitlab-cs-requests", "x-gitlab-cs-accepts", "x-gitlab-cs-errors"];
/// More in one report is no count of suggestions, and would spoil every rate.
const MOST: u64 = 10_000;
/// Engines that answers name: this gateway's and those of 2023.
const ENGINES: [&str; 4] = ["modelgate", "vertex-ai", "codegen", "fake-palm-engine"];
/// Languages that answers name.
const LANGUAGES: [&str; 13] =
    ["c", "cpp", "csharp", "go", "java", "js", "kotlin", "php", "python", "ruby", "rust", "scala", "ts"];

/// What became of earlier suggestions of one model. Counts that no counter takes, such as −1, are moved to the nearest that
/// it does: the original counted them after the model had been paid for, and failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Engine of the model.
    pub model_engine: Option<String>,
    /// Name of the model.
    pub model_name: Option<String>,
    /// Language of the file.
    pub lang: Option<String>,
    /// Experiments that the suggestions took part in.
    pub experiments: Vec<Experiment>,
    /// Suggestions asked for.
    pub requests: u64,
    /// Suggestions accepted.
    pub accepts: u64,
    /// Requests that failed.
    pub errors: u64,
}

/// An experiment and its variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Name of the experiment.
    pub name: String,
    /// Number of the variant.
    pub variant: Integer,
}

/// Reads the member `telemetry`.
pub(super) fn telemetry(at: &mut Validator, members: &Members<'_>, compat: Compat) -> Option<Vec<Telemetry>> {
    at.defaulted(members, "telemetry", Vec::new(), |at, value| {
        at.list(value, Some(MAX_ITEMS), |at, value| item(at, value, compat))
    })
}

fn item(at: &mut Validator, value: &Value, compat: Compat) -> Option<Telemetry> {
    let members = at.model(value)?;
    let engine = if compat == Compat::Strict { MODEL } else { LONG };
    let model_engine = at.optional(&members, "model_engine", |at, value| at.text(value, engine));
    let model_name = at.optional(&members, "model_name", |at, value| at.text(value, MODEL));
    let lang = at.optional(&members, "lang", |at, value| at.text(value, MODEL));
    let experiments = at.optional(&members, "experiments", |at, value| at.list(value, None, experiment));
    let requests = at.required(&members, "requests", Validator::integer);
    let accepts = at.required(&members, "accepts", Validator::integer);
    let errors = at.required(&members, "errors", Validator::integer);
    Some(Telemetry {
        model_engine: model_engine?,
        model_name: model_name?,
        lang: lang?,
        experiments: experiments?.unwrap_or_default(),
        requests: requests?.clamp_to_count(),
        accepts: accepts?.clamp_to_count(),
        errors: errors?.clamp_to_count(),
    })
}

fn experiment(at: &mut Validator, value: &Value) -> Option<Experiment> {
    let members = at.model(value)?;
    let name = at.required(&members, "name", |at, value| at.text(value, FREE));
    let variant = at.required(&members, "variant", Validator::integer);
    Some(Experiment { name: name?, variant: variant? })
}

/// The same from the headers that GitLab's Rails passes on: all three or none counts.
#[must_use]
pub fn telemetry_of_headers(headers: &HeaderMap) -> Option<Telemetry> {
    let values = HEADERS.map(|name| headers.get(name));
    if values.iter().any(Option::is_none) {
        return None;
    }
    let counts = values.map(|value| int_of_text(value?.to_str().ok()?));
    match counts {
        [Some(requests), Some(accepts), Some(errors)] => Some(Telemetry {
            requests: requests.clamp_to_count(),
            accepts: accepts.clamp_to_count(),
            errors: errors.clamp_to_count(),
            ..Telemetry::default()
        }),
        _ => {
            tracing::debug!(
                "X-GitLab-CS-Requests, -Accepts and -Errors are not all whole numbers; they are not counted"
            );
            None
        }
    }
}

/// Counters of suggestions asked for, accepted and failed.
pub struct SuggestionSeries {
    /// `code_suggestions_requests_total`.
    pub requests: IntCounterVec,
    /// `code_suggestions_accepts_total`.
    pub accepts: IntCounterVec,
    /// `code_suggestions_errors_total`.
    pub errors: IntCounterVec,
}

impl SuggestionSeries {
    /// Labels of the three families.
    pub const LABELS: [&'static str; 3] = ["model_engine", "model_name", "lang"];

    /// Counts what a client told; `served` knows the names of models.
    pub fn count(&self, told: &Telemetry, served: impl Fn(&str) -> bool) {
        let known = |given: &Option<String>, known: &dyn Fn(&str) -> bool| match given.as_deref() {
            None | Some("") => "none".to_owned(),
            Some(name) if known(name) => name.to_owned(),
            Some(_) => "other".to_owned(),
        };
        let labels = [
            known(&told.model_engine, &|name| ENGINES.contains(&name)),
            known(&told.model_name, &served),
            known(&told.lang, &|name| LANGUAGES.contains(&name)),
        ];
        let labels = labels.each_ref().map(String::as_str);
        let families =
            [(&self.requests, told.requests), (&self.accepts, told.accepts), (&self.errors, told.errors)];
        for (family, count) in families {
            family.with_label_values(&labels).inc_by(count.min(MOST));
        }
    }
}
