//! An answer → the bytes that FastAPI would send for it: its order of members, no spaces, non-ASCII as it is.

use modelgate_api::v1alpha1::Compat;

use super::python::write_text;

/// What the pipeline answers.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// Id of the completion; `Strict` always says `id`.
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
    /// The completions. With none, or only empty ones, `Strict` answers one empty choice and `Current` none.
    pub choices: &'a [Choice<'a>],
}

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Its text.
    pub text: &'a str,
    /// Why it ended; `Strict` always says `length`.
    pub finish_reason: &'a str,
}

/// The body of the 200, `application/json`.
#[must_use]
pub fn render_answer(answer: &Answer<'_>, compat: Compat) -> Vec<u8> {
    let strict = compat == Compat::Strict;
    let mut out = String::from("{\"id\":");
    write_text(&mut out, if strict { "id" } else { answer.id });
    out.push_str(",\"model\":{\"engine\":");
    write_text(&mut out, answer.engine);
    out.push_str(",\"name\":");
    write_text(&mut out, answer.name);
    out.push_str(",\"lang\":");
    write_text(&mut out, answer.lang.unwrap_or_default());
    out.push_str("},\"experiments\":[");
    for (index, (name, variant)) in answer.experiments.iter().enumerate() {
        out.push_str(if index > 0 { ",{\"name\":" } else { "{\"name\":" });
        write_text(&mut out, name);
        out.push_str(&format!(",\"variant\":{variant}}}"));
    }
    out.push_str(&format!("],\"object\":\"text_completion\",\"created\":{},\"choices\":[", answer.created));
    let offered: Vec<Choice<'_>> =
        answer.choices.iter().copied().filter(|choice| !choice.text.is_empty()).collect();
    let empty = [Choice { text: "", finish_reason: "length" }];
    let offered = if strict && offered.is_empty() { empty.as_slice() } else { &offered };
    for (index, choice) in offered.iter().enumerate() {
        out.push_str(if index > 0 { ",{\"text\":" } else { "{\"text\":" });
        write_text(&mut out, choice.text);
        out.push_str(&format!(",\"index\":{index},\"finish_reason\":"));
        write_text(&mut out, if strict { "length" } else { choice.finish_reason });
        out.push('}');
    }
    out.push_str("]}");
    out.into_bytes()
}
