//! Answers in OpenAI's shapes, whole or as server-sent events.

use serde_json::{Value, json};

use crate::{
    infer::job::{Finish, Usage},
    metrics::Route,
};

/// What every answer to one request carries.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The route decides the shape.
    pub route: Route,
    /// `cmpl-…` or `chatcmpl-…`.
    pub id: String,
    /// The name the model is served under.
    pub model: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Whether a stream ends with the token counts.
    pub include_usage: bool,
}

impl Shape {
    /// The whole answer.
    #[must_use]
    pub fn whole(&self, text: &str, finish: Finish, usage: Usage) -> String {
        let (object, choice) = match self.route {
            Route::Completions => ("text_completion", json!({"index": 0, "text": text})),
            Route::ChatCompletions => {
                ("chat.completion", json!({"index": 0, "message": {"role": "assistant", "content": text}}))
            }
        };
        self.envelope(object, &[finished(choice, Some(finish))], Some(usage_json(usage))).to_string()
    }

    /// What a stream begins with: a conversation names the speaker first.
    #[must_use]
    pub fn begin(&self) -> String {
        match self.route {
            Route::Completions => String::new(),
            Route::ChatCompletions => self.chunk(&json!({"role": "assistant", "content": ""}), None),
        }
    }

    /// An event with more text.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        match self.route {
            Route::Completions => self.chunk(&json!(text), None),
            Route::ChatCompletions => self.chunk(&json!({"content": text}), None),
        }
    }

    /// The events that end a complete stream.
    #[must_use]
    pub fn end(&self, finish: Finish, usage: Usage) -> String {
        let delta = match self.route {
            Route::Completions => json!(""),
            Route::ChatCompletions => json!({}),
        };
        let mut events = self.chunk(&delta, Some(finish));
        if self.include_usage {
            events += &event(&self.envelope(self.chunk_object(), &[], Some(usage_json(usage))));
        }
        events + "data: [DONE]\n\n"
    }

    /// The events that end a stream the engine could not complete.
    #[must_use]
    pub fn failed(error: &str) -> String {
        format!("data: {error}\n\ndata: [DONE]\n\n")
    }

    fn chunk(&self, content: &Value, finish: Option<Finish>) -> String {
        let choice = match self.route {
            Route::Completions => json!({"index": 0, "text": content}),
            Route::ChatCompletions => json!({"index": 0, "delta": content}),
        };
        // With include_usage every event has the field, null until the last: so says the OpenAI API.
        let usage = self.include_usage.then_some(Value::Null);
        event(&self.envelope(self.chunk_object(), &[finished(choice, finish)], usage))
    }

    fn chunk_object(&self) -> &'static str {
        match self.route {
            Route::Completions => "text_completion",
            Route::ChatCompletions => "chat.completion.chunk",
        }
    }

    fn envelope(&self, object: &str, choices: &[Value], usage: Option<Value>) -> Value {
        let mut body = json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices,
        });
        if let (Some(usage), Some(body)) = (usage, body.as_object_mut()) {
            body.insert("usage".into(), usage);
        }
        body
    }
}

fn event(body: &Value) -> String {
    format!("data: {body}\n\n")
}

fn finished(mut choice: Value, finish: Option<Finish>) -> Value {
    if let Some(choice) = choice.as_object_mut() {
        choice.insert("logprobs".into(), Value::Null);
        choice.insert("finish_reason".into(), finish.map_or(Value::Null, |finish| finish.as_str().into()));
    }
    choice
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    })
}

/// The list of models: the served name and its aliases.
#[must_use]
pub fn models(names: &[String], created: u64, context_length: u32) -> String {
    let data: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({"id": name, "object": "model", "created": created, "owned_by": "modelgate",
                   "root": names.first(), "max_model_len": context_length})
        })
        .collect();
    json!({"object": "list", "data": data}).to_string()
}

#[cfg(test)]
mod tests {
    use super::Shape;
    use crate::{
        infer::job::{Finish, Usage},
        metrics::Route,
    };

    fn shape(route: Route) -> Shape {
        Shape { route, id: "x".into(), model: "m".into(), created: 1, include_usage: true }
    }

    #[test]
    fn a_chat_stream_names_the_speaker_then_the_text_then_the_reason_then_the_usage() {
        let shape = shape(Route::ChatCompletions);
        let stream = shape.begin()
            + &shape.text("hi")
            + &shape.end(Finish::Length, Usage { prompt: 2, completion: 1 });
        let head = r#"data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":"#;
        let expected = [
            format!(
                r#"{head}[{{"index":0,"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}],"usage":null}}"#
            ),
            format!(
                r#"{head}[{{"index":0,"delta":{{"content":"hi"}},"logprobs":null,"finish_reason":null}}],"usage":null}}"#
            ),
            format!(
                r#"{head}[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"length"}}],"usage":null}}"#
            ),
            format!(r#"{head}[],"usage":{{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}}}}"#),
            "data: [DONE]".into(),
        ];
        assert_eq!(stream, expected.join("\n\n") + "\n\n");
    }

    #[test]
    fn a_whole_completion_has_one_choice_and_its_usage() {
        assert_eq!(
            shape(Route::Completions).whole("hi", Finish::Stop, Usage { prompt: 2, completion: 1 }),
            r#"{"id":"x","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"hi","logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}}"#
        );
    }
}
