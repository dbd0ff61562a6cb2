//! What another server answered → OpenAI's words, whole or as events. Pure: the id and the time are given.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Api, Usage};
use crate::dialect::{Choice, Event, Finish, Generated};

/// Writes one answer.
#[derive(Clone, Debug)]
pub struct Words {
    api: Api,
    id: String,
    created: u64,
    model: String,
    max_tokens: u64,
    /// The server tells no end: one that used up its tokens is told from one that was done by their number.
    counts: bool,
    /// Pieces of each answer so far; the first piece of a chat's names who speaks.
    pieces: Vec<u64>,
    usage: Option<Usage>,
    failed: bool,
}

impl Words {
    /// For an answer to `api` by `model`, of `max_tokens` at most. `counts`: each piece is a token and no end is told.
    #[must_use]
    pub fn new(api: Api, id: &str, created: u64, model: &str, max_tokens: u32, counts: bool) -> Self {
        let kind = if api == Api::Chat { "chatcmpl" } else { "cmpl" };
        Self {
            api,
            id: format!("{kind}-{id}"),
            created,
            model: model.into(),
            max_tokens: max_tokens.into(),
            counts,
            pieces: Vec::new(),
            usage: None,
            failed: false,
        }
    }

    /// The whole answer.
    #[must_use]
    pub fn whole(&self, generated: &Generated) -> Bytes {
        let choices = generated.choices.iter().enumerate().map(|(index, choice)| {
            let finish = self.finish(choice.finish, generated, choice).to_owned();
            match self.api {
                Api::Chat => json!({
                    "index": index,
                    "message": {"role": "assistant", "content": choice.text, "refusal": null},
                    "logprobs": null,
                    "finish_reason": finish,
                }),
                _ => json!({"index": index, "text": choice.text, "logprobs": null, "finish_reason": finish}),
            }
        });
        let object = if self.api == Api::Chat { "chat.completion" } else { "text_completion" };
        let mut answer = self.head(object, choices.collect());
        if let Some(usage) = generated.usage {
            answer.insert("usage".into(), said(usage));
        }
        Value::Object(answer).to_string().into()
    }

    /// The whole answer as a stream, for a server that has none.
    #[must_use]
    pub fn whole_as_events(&mut self, generated: &Generated) -> Bytes {
        let mut told = Vec::new();
        for (index, choice) in (0..).zip(&generated.choices) {
            let finish = match self.finish(choice.finish, generated, choice) {
                "length" => Finish::Length,
                "content_filter" => Finish::Filtered,
                _ => Finish::Stop,
            };
            if !choice.text.is_empty() {
                told.push(Event::Text { index, text: choice.text.clone(), logprob: None });
            }
            told.push(Event::End { index, finish });
        }
        told.extend(generated.usage.map(Event::Usage));
        self.counts = false;
        let mut events = self.events(told).to_vec();
        events.extend_from_slice(&self.end(true));
        events.into()
    }

    /// Events of the server's → OpenAI's.
    #[must_use]
    pub fn events(&mut self, told: Vec<Event>) -> Bytes {
        let mut out = String::new();
        for event in told {
            match event {
                Event::Text { index, text, .. } => {
                    let first = self.count(index);
                    self.chunk(&mut out, index, Some((&text, first)), None);
                }
                Event::End { index, finish } => {
                    let used_up = self.counts && self.pieces_of(index) >= self.max_tokens;
                    let finish = if used_up { Finish::Length } else { finish };
                    // An answer of no text still says who would have spoken.
                    let first = self.pieces_of(index) == 0;
                    self.chunk(&mut out, index, first.then_some(("", first)), Some(word(finish)));
                }
                Event::Usage(usage) => self.usage = Some(usage),
                Event::Failed(why) => {
                    self.failed = true;
                    let error = json!({"error": {"message": why, "type": "server_error", "param": null, "code": null}});
                    out += &format!("data: {error}\n\n");
                }
                Event::Done => {}
            }
        }
        out.into()
    }

    /// What ends a stream. One that is not complete ends without a word, which shows that it broke.
    #[must_use]
    pub fn end(&mut self, complete: bool) -> Bytes {
        if !complete || self.failed {
            return Bytes::new();
        }
        let mut out = String::new();
        if let Some(usage) = self.usage.take() {
            let mut chunk = self.head(self.object(), Vec::new());
            chunk.insert("usage".into(), said(usage));
            out += &format!("data: {}\n\n", Value::Object(chunk));
        }
        out += "data: [DONE]\n\n";
        out.into()
    }

    fn object(&self) -> &'static str {
        if self.api == Api::Chat { "chat.completion.chunk" } else { "text_completion" }
    }

    fn head(&self, object: &str, choices: Vec<Value>) -> Map<String, Value> {
        let members = [
            ("id", self.id.as_str().into()),
            ("object", object.into()),
            ("created", self.created.into()),
            ("model", self.model.as_str().into()),
            ("choices", Value::Array(choices)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn chunk(&self, out: &mut String, index: u32, text: Option<(&str, bool)>, finish: Option<&str>) {
        let choice = if self.api == Api::Chat {
            let delta = match text {
                Some((text, true)) => json!({"role": "assistant", "content": text}),
                Some((text, false)) => json!({"content": text}),
                None => json!({}),
            };
            json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish})
        } else {
            let text = text.map_or("", |(text, _)| text);
            json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
        };
        *out += &format!("data: {}\n\n", Value::Object(self.head(self.object(), vec![choice])));
    }

    /// Counts a piece; whether it is its answer's first.
    fn count(&mut self, index: u32) -> bool {
        let at = usize::try_from(index).unwrap_or(usize::MAX).min(MOST_CHOICES);
        if self.pieces.len() <= at {
            self.pieces.resize(at + 1, 0);
        }
        let Some(pieces) = self.pieces.get_mut(at) else { return false };
        *pieces += 1;
        *pieces == 1
    }

    fn pieces_of(&self, index: u32) -> u64 {
        let at = usize::try_from(index).unwrap_or(usize::MAX).min(MOST_CHOICES);
        self.pieces.get(at).copied().unwrap_or(0)
    }

    /// Why it ended: the server's word; where it has none, whether one answer's tokens are as many as there could be.
    fn finish(&self, told: Option<Finish>, generated: &Generated, choice: &Choice) -> &'static str {
        let alone = generated.choices.len() == 1 && !choice.text.is_empty();
        let used_up = generated.usage.is_some_and(|usage| usage.completion_tokens >= self.max_tokens);
        match told {
            Some(told) => word(told),
            None if alone && used_up => word(Finish::Length),
            None => word(Finish::Stop),
        }
    }
}

/// Answers of one request that are told apart; no server gives as many.
const MOST_CHOICES: usize = 128;

fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Filtered => "content_filter",
    }
}

fn said(usage: Usage) -> Value {
    let Usage { prompt_tokens, completion_tokens } = usage;
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens.saturating_add(completion_tokens),
    })
}
