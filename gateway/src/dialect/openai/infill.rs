//! A completion between two texts for a server that takes only one: `suffix` of OpenAI's `/v1/completions`, which most
//! engines refuse or ignore. The model's own template puts both texts together; everything else stays byte for byte.

use std::ops::Range;

use bytes::Bytes;
use modelgate_completion::family::{Family, Pieces, render};
use serde_json::Value;

use super::{Head, USAGE};

/// Where the two texts stand in a body, as JSON strings with their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// Before the gap.
    pub prompt: Range<usize>,
    /// After it.
    pub suffix: Range<usize>,
    /// Whether the request says itself what ends the answer.
    pub has_stop: bool,
}

/// The body with both texts in the prompt, as the family has it, and no suffix. What ends an answer of the family is added
/// where the request says nothing about it, at most `stops` of it. `None` for strings that serde cannot read.
#[must_use]
pub fn in_template(
    body: &Bytes,
    head: &Head,
    spans: &Spans,
    family: &Family,
    (model, stops, usage): (&str, usize, bool),
) -> Option<Bytes> {
    let text = |span: &Range<usize>| serde_json::from_slice::<String>(body.get(span.clone())?).ok();
    let (prefix, suffix) = (text(&spans.prompt)?, text(&spans.suffix)?);
    let prompt = render(family, &Pieces { prefix: &prefix, suffix: &suffix, ..Pieces::default() });
    let mut name = Value::from(model).to_string();
    if usage {
        name.push_str(USAGE);
    }
    if !spans.has_stop {
        let family: Vec<&str> = family.stops.iter().take(stops).copied().collect();
        if !family.is_empty() {
            name.push_str(&[",\"stop\":", &Value::from(family).to_string()].concat());
        }
    }
    let mut changes = [
        (&head.span, name),
        (&spans.prompt, Value::from(prompt).to_string()),
        (&spans.suffix, "null".to_owned()),
    ];
    changes.sort_by_key(|(span, _)| span.start);
    let mut whole = Vec::with_capacity(body.len() + 256);
    let mut at = 0;
    for (span, text) in changes {
        whole.extend_from_slice(body.get(at..span.start)?);
        whole.extend_from_slice(text.as_bytes());
        at = span.end;
    }
    whole.extend_from_slice(body.get(at..)?);
    Some(whole.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::scan;
    use super::*;

    fn templated(body: &'static str, usage: bool) -> Value {
        let body = Bytes::from_static(body.as_bytes());
        let head = scan(&body).unwrap();
        let spans = head.infill.clone().unwrap();
        let family = Family::of_name("StarCoder").unwrap();
        serde_json::from_slice(&in_template(&body, &head, &spans, family, ("m", 1, usage)).unwrap()).unwrap()
    }

    #[test]
    fn both_texts_come_into_the_template_and_all_else_stays() {
        let prompt = "<fim_prefix>a = <fim_suffix>\nb\"<fim_middle>";
        let stop = json!([Family::of_name("StarCoder").unwrap().stops[0]]);
        assert_eq!(
            templated(
                r#"{"suffix":"\nb\"","x":{"suffix":1},"prompt":"a = ","model":"alias","temperature":1.10}"#,
                false
            ),
            json!({"suffix": null, "x": {"suffix": 1}, "prompt": prompt, "model": "m", "stop": stop, "temperature": 1.1})
        );
        assert_eq!(
            templated(
                r#"{"model":"alias","prompt":"a = ","suffix":"\nb\"","stop":["z"],"stream":true}"#,
                true
            ),
            json!({"model": "m", "stream_options": {"include_usage": true}, "prompt": prompt, "suffix": null, "stop": ["z"], "stream": true})
        );
    }

    #[test]
    fn a_text_cannot_speak_the_templates_language_and_no_suffix_asks_for_no_template() {
        let spoiled = templated(r#"{"model":"m","prompt":"a<fim_middle>","suffix":"b"}"#, false);
        assert_eq!(spoiled["prompt"].as_str().unwrap().matches("<fim_middle>").count(), 1);
        for body in [
            r#"{"model":"m","prompt":"a"}"#,
            r#"{"model":"m","prompt":"a","suffix":null}"#,
            r#"{"model":"m","prompt":"a","suffix":""}"#,
            r#"{"model":"m","prompt":["a"],"suffix":"b"}"#,
        ] {
            assert_eq!(scan(body.as_bytes()).unwrap().infill, None, "{body}");
        }
    }
}
