//! What a server takes: known of its dialect, and corrected by what the probe measured. Nothing else is sent to it.

use std::borrow::Cow;

use super::openai::Api;
use super::{Dialect, Generation, Prompt, Unsupported, vertex};

/// What a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Text as the model sees it.
    pub raw: bool,
    /// Text before and after a gap.
    pub infill: bool,
    /// Other files beside those texts.
    pub files: bool,
    /// A conversation.
    pub chat: bool,
    /// Answers piece by piece.
    pub stream: bool,
    /// Tells in a stream what it cost, when asked by `stream_options`.
    pub stream_usage: bool,
    /// A seed.
    pub seed: bool,
    /// The likelihood of tokens.
    pub logprobs: bool,
    /// OpenAI's text completions pass through unchanged.
    pub passes_completions: bool,
    /// OpenAI's chat passes through unchanged.
    pub passes_chat: bool,
    /// The special tokens of the model's family are the model's own, as far as its tokenizer was asked.
    pub family: bool,
    /// Most stop texts.
    pub stops: usize,
    /// Most answers to one prompt.
    pub choices: u32,
    /// Most tokens of an answer.
    pub max_tokens: u32,
}

impl Abilities {
    /// What OpenAI's own servers take: the least that every server of that dialect does.
    const OPENAI: Self = Self {
        raw: true,
        infill: false,
        files: false,
        chat: true,
        stream: true,
        stream_usage: true,
        seed: true,
        logprobs: true,
        passes_completions: true,
        passes_chat: true,
        family: true,
        stops: 4,
        choices: 4,
        max_tokens: u32::MAX,
    };

    /// What is known of a dialect's servers before one is asked.
    #[must_use]
    pub fn of(dialect: &Dialect) -> Self {
        let passes = |api| dialect.openai_path(api).is_some();
        let all = Self {
            passes_completions: passes(Api::Completions),
            passes_chat: passes(Api::Chat),
            ..Self::OPENAI
        };
        match dialect {
            Dialect::OpenAi => all,
            Dialect::Mistral => {
                Self { raw: false, infill: true, stream_usage: false, logprobs: false, choices: 1, ..all }
            }
            // `--max-stop-sequences` is 4 unless set.
            Dialect::Tgi => Self { choices: 1, ..all },
            Dialect::LlamaCpp => Self { infill: true, files: true, stops: 16, choices: 1, ..all },
            Dialect::Triton(_) => Self { chat: false, logprobs: false, stops: 16, choices: 1, ..all },
            Dialect::Vertex(place) => Self::of_vertex(place.kind(), all),
        }
    }

    fn of_vertex(kind: vertex::Kind, all: Self) -> Self {
        let predict =
            Self { chat: false, stream: false, stream_usage: false, logprobs: false, stops: 5, ..all };
        match kind {
            vertex::Kind::Gecko => Self { infill: true, max_tokens: 64, ..predict },
            vertex::Kind::CodeBison => Self { max_tokens: 2048, ..predict },
            vertex::Kind::TextBison => Self { max_tokens: 1024, ..predict },
            vertex::Kind::Gemini => Self { chat: true, stream: true, ..predict },
            vertex::Kind::Mistral => {
                Self { raw: false, infill: true, chat: true, stream: true, choices: 1, stops: 4, ..predict }
            }
        }
    }

    /// Whether a request of OpenAI's reaches the server unchanged, rather than in the server's own dialect. Servers that
    /// fill in by a path of their own do not read `suffix` on OpenAI's.
    #[must_use]
    pub fn passes(&self, api: Api, dialect: &Dialect, has_suffix: bool) -> bool {
        match api {
            Api::Completions => {
                self.passes_completions && !(has_suffix && self.infill && *dialect == Dialect::LlamaCpp)
            }
            Api::Chat => self.passes_chat,
            // Only OpenAI's own words exist for these.
            Api::Embeddings | Api::Models => true,
        }
    }

    /// A prompt for text before and after a gap, in the first form that the server takes.
    #[must_use]
    pub fn prompt_of(&self, prefix: String, suffix: String) -> Prompt {
        if self.infill && (!self.raw || !suffix.is_empty()) {
            Prompt::Infill { prefix, suffix, files: Vec::new() }
        } else if self.raw || !self.chat {
            Prompt::Raw(prefix)
        } else {
            Prompt::Chat(vec![super::Message { role: "user".into(), content: prefix }])
        }
    }

    /// The wish, cut to what the server takes.
    ///
    /// # Errors
    /// When it takes no such prompt.
    pub fn fit<'a>(&self, ask: &'a Generation) -> Result<Cow<'a, Generation>, Unsupported> {
        match &ask.prompt {
            Prompt::Raw(_) if !self.raw => return Err(Unsupported("a prompt of raw text")),
            Prompt::Infill { .. } if !self.infill => return Err(Unsupported("a suffix")),
            Prompt::Chat(_) if !self.chat => return Err(Unsupported("a conversation")),
            _ => {}
        }
        let fits = ask.stops.len() <= self.stops
            && ask.choices <= self.choices
            && ask.max_tokens <= self.max_tokens
            && (self.stream || !ask.stream)
            && (self.seed || ask.seed.is_none())
            && (self.logprobs || !ask.logprobs);
        if fits {
            return Ok(Cow::Borrowed(ask));
        }
        let mut cut = ask.clone();
        cut.stops.truncate(self.stops);
        cut.choices = cut.choices.min(self.choices);
        cut.max_tokens = cut.max_tokens.min(self.max_tokens);
        cut.stream &= self.stream;
        cut.logprobs &= self.logprobs;
        cut.seed = cut.seed.filter(|_| self.seed);
        Ok(Cow::Owned(cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_cut_to_what_the_server_takes() {
        let place = vertex::Place::new("p", "us-central1", "google", "code-gecko@002");
        let abilities = Abilities::of(&Dialect::Vertex(place));
        let stops: Vec<String> = (0..9).map(|n| format!("s{n}")).collect();
        let prompt = Prompt::Infill { prefix: "a".into(), suffix: "b".into(), files: Vec::new() };
        let ask = Generation {
            prompt,
            max_tokens: 500,
            choices: 9,
            stops,
            stream: true,
            logprobs: true,
            ..Generation::default()
        };
        let cut = abilities.fit(&ask).unwrap();
        assert_eq!((cut.max_tokens, cut.choices, cut.stream, cut.logprobs), (64, 4, false, false));
        assert_eq!(cut.stops, ["s0", "s1", "s2", "s3", "s4"], "the first ones, which are the most useful");
        let chat = Generation { prompt: Prompt::Chat(Vec::new()), ..Generation::default() };
        assert_eq!(abilities.fit(&chat), Err(Unsupported("a conversation")));
        let suffix = Generation { prompt: ask.prompt.clone(), ..Generation::default() };
        assert_eq!(Abilities::of(&Dialect::OpenAi).fit(&suffix), Err(Unsupported("a suffix")));
    }
}
