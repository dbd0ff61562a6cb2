//! An answer → the bytes that FastAPI would send for it: its order of members, no spaces, non-ASCII as it is.

use std::fmt::Write;

use modelgate_api::v1alpha1::Compat;

use super::python::write_text;

/// Which route's form an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/v2/completions`, `/v2/code/completions` and `/v2/code/generations`.
    Text,
    /// `/v2/experimental/code/completions`.
    Experimental,
    /// `/v3/code/completions`.
    Components,
    /// `/v4/code/suggestions`, whose streams are real events.
    Suggestions,
}

/// What the pipeline answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<'a> {
    /// Id of the completion; `Strict` always says `id`, but on the experimental route.
    pub id: &'a str,
    /// Engine of the model.
    pub engine: &'a str,
    /// Name of the model.
    pub name: &'a str,
    /// Language of the file, where known.
    pub lang: Option<&'a str>,
    /// Experiments that took part, with their variants.
    pub experiments: &'a [(&'a str, i64)],
    /// When the answer was made, in seconds since 1970.
    pub created: u64,
    /// The completions. Empty ones are left out.
    pub choices: &'a [Choice<'a>],
    /// Whether one empty choice is answered where there is nothing to offer.
    pub one_empty: bool,
    /// Tokens of the prompt and of the answer, where the model tells; `Current` shows them.
    pub tokens: Option<(u64, u64)>,
    /// Region of the model's server, where it is known; `Current` shows it.
    pub region: Option<&'a str>,
    /// Feature flags that GitLab says are enabled for the user; `Current` says them back.
    pub flags: &'a [&'a str],
}

/// One completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// Its text.
    pub text: &'a str,
    /// Why it ended; `Strict` always says `length`.
    pub finish_reason: &'a str,
}

/// The body of the 200, `application/json`.
#[must_use]
pub fn render_answer(answer: &Answer<'_>, form: Form, compat: Compat) -> Vec<u8> {
    let mut out = String::with_capacity(512);
    match form {
        Form::Text => text_answer(&mut out, answer, compat),
        Form::Experimental => experimental_answer(&mut out, answer, compat),
        Form::Components | Form::Suggestions => {
            out.push('{');
            choices(&mut out, answer, compat);
            out.push_str(",\"metadata\":");
            metadata(&mut out, answer);
            out.push('}');
        }
    }
    out.into_bytes()
}

fn text_answer(out: &mut String, answer: &Answer<'_>, compat: Compat) {
    let strict = compat == Compat::Strict;
    out.push_str("{\"id\":");
    write_text(out, if strict { "id" } else { answer.id });
    out.push_str(",\"model\":");
    model(out, answer, !strict);
    out.push_str(",\"experiments\":[");
    for (index, (name, variant)) in answer.experiments.iter().enumerate() {
        out.push_str(if index > 0 { ",{\"name\":" } else { "{\"name\":" });
        write_text(out, name);
        infallible(write!(out, ",\"variant\":{variant}}}"));
    }
    infallible(write!(out, "],\"object\":\"text_completion\",\"created\":{},", answer.created));
    choices(out, answer, compat);
    if !strict && !answer.flags.is_empty() {
        out.push_str(",\"metadata\":{");
        flags(out, answer);
        out.push('}');
    }
    out.push('}');
}

fn experimental_answer(out: &mut String, answer: &Answer<'_>, compat: Compat) {
    out.push_str("{\"id\":");
    write_text(out, answer.id);
    out.push_str(",\"model\":");
    model(out, answer, false);
    infallible(write!(out, ",\"object\":\"code_completions\",\"created\":{},", answer.created));
    choices(out, answer, compat);
    out.push('}');
}

fn model(out: &mut String, answer: &Answer<'_>, with_more: bool) {
    out.push_str("{\"engine\":");
    write_text(out, answer.engine);
    out.push_str(",\"name\":");
    write_text(out, answer.name);
    out.push_str(",\"lang\":");
    write_text(out, answer.lang.unwrap_or_default());
    if let Some((input, output)) = answer.tokens.filter(|_| with_more) {
        let used_up = answer.choices.iter().any(|choice| choice.finish_reason == "length");
        infallible(write!(
            out,
            ",\"tokens_consumption_metadata\":{{\"input_tokens\":{input},\"output_tokens\":{output},\"max_output_tokens_used\":{used_up},\"context_tokens_sent\":0,\"context_tokens_used\":0}}"
        ));
    }
    if let Some(region) = answer.region.filter(|_| with_more) {
        out.push_str(",\"region\":");
        write_text(out, region);
    }
    out.push('}');
}

fn choices(out: &mut String, answer: &Answer<'_>, compat: Compat) {
    let strict = compat == Compat::Strict;
    let offered = answer.choices.iter().copied().filter(|choice| !choice.text.is_empty());
    let mut offered: Vec<Choice<'_>> = offered.collect();
    if offered.is_empty() && answer.one_empty {
        offered.push(Choice { text: "", finish_reason: if strict { "length" } else { "stop" } });
    }
    out.push_str("\"choices\":[");
    for (index, choice) in offered.iter().enumerate() {
        out.push_str(if index > 0 { ",{\"text\":" } else { "{\"text\":" });
        write_text(out, choice.text);
        infallible(write!(out, ",\"index\":{index},\"finish_reason\":"));
        write_text(out, if strict { "length" } else { choice.finish_reason });
        out.push('}');
    }
    out.push(']');
}

/// What the later routes say about an answer as a whole.
fn metadata(out: &mut String, answer: &Answer<'_>) {
    out.push_str("{\"model\":");
    model(out, answer, false);
    infallible(write!(out, ",\"timestamp\":{}", answer.created));
    if let Some(region) = answer.region {
        out.push_str(",\"region\":");
        write_text(out, region);
    }
    if !answer.flags.is_empty() {
        out.push(',');
        flags(out, answer);
    }
    out.push('}');
}

fn flags(out: &mut String, answer: &Answer<'_>) {
    out.push_str("\"enabled_feature_flags\":[");
    for (index, flag) in answer.flags.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(out, flag);
    }
    out.push(']');
}

/// What a stream begins with.
#[must_use]
pub fn stream_start(answer: &Answer<'_>, form: Form) -> String {
    let mut out = String::new();
    if form == Form::Suggestions {
        out.push_str("event: stream_start\ndata: {\"metadata\":");
        metadata(&mut out, answer);
        out.push_str("}\n\n");
    }
    out
}

/// A piece of a stream: an event on the last route, else the text as it is, although its type says otherwise.
#[must_use]
pub fn stream_piece(text: &str, form: Form) -> String {
    if form != Form::Suggestions {
        return text.to_owned();
    }
    let mut out = String::from("event: content_chunk\ndata: {\"choices\":[{\"delta\":{\"content\":");
    write_text(&mut out, text);
    out.push_str("},\"index\":0}]}\n\n");
    out
}

/// What a stream ends with.
#[must_use]
pub fn stream_end(form: Form) -> &'static str {
    if form == Form::Suggestions { "event: stream_end\ndata: null\n\n" } else { "" }
}

/// What a stream ends with whose answer broke off: an event of ours instead of the proper end, where it has events.
#[must_use]
pub fn stream_broken(form: Form) -> Option<&'static str> {
    (form == Form::Suggestions).then_some("event: error\ndata: {\"detail\":\"Inference failed\"}\n\n")
}

/// Writing to a `String` cannot fail.
fn infallible(_result: std::fmt::Result) {}
