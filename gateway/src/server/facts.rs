//! What is noted of a request while it is served, for logs, usage records, traces and `/debug/requests`. No text of a
//! prompt or an answer, no key and no token is among it, and each list is bounded.

use std::fmt::Write;
use std::time::{Duration, Instant};

use http::HeaderValue;
use serde::Serialize;

/// Candidates that are kept.
const CANDIDATES: usize = 16;
/// Attempts that are kept.
const ATTEMPTS: usize = 8;
/// Bytes of a name that are kept.
const NAME_BYTES: usize = 128;

/// Parts of a request's time, in their order. A phase may come more than once; its times are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Head, token, key.
    Auth,
    /// The body arrives and is understood.
    Read,
    /// A route and a backend are chosen.
    Route,
    /// Waiting for a place, a limit or a waking model.
    Queue,
    /// The prompt is built.
    Prompt,
    /// From sending to the first byte of the backend's answer.
    FirstByte,
    /// From there to the end of the backend's answer; for one that passes, at the client's pace.
    Answer,
    /// The answer is made fit for an editor.
    Postprocess,
}

impl Phase {
    /// Every phase, in the order of their times.
    pub const ALL: [Self; 8] = [
        Self::Auth,
        Self::Read,
        Self::Route,
        Self::Queue,
        Self::Prompt,
        Self::FirstByte,
        Self::Answer,
        Self::Postprocess,
    ];

    /// Its name in `Server-Timing`, traces and `/debug/requests`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Read => "read",
            Self::Route => "route",
            Self::Queue => "queue",
            Self::Prompt => "prompt",
            Self::FirstByte => "first_byte",
            Self::Answer => "answer",
            Self::Postprocess => "postprocess",
        }
    }

    /// Its name in the access log.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Auth => "auth_s",
            Self::Read => "read_s",
            Self::Route => "route_s",
            Self::Queue => "queue_s",
            Self::Prompt => "prompt_s",
            Self::FirstByte => "first_byte_s",
            Self::Answer => "answer_s",
            Self::Postprocess => "postprocess_s",
        }
    }
}

/// Times of the phases.
#[derive(Clone, Debug)]
pub struct Phases {
    spent: [Duration; Phase::ALL.len()],
    last: Instant,
}

impl Phases {
    /// Begins now.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        Self { spent: Default::default(), last: began }
    }

    /// What passed since the last call was this phase.
    pub fn end(&mut self, phase: Phase) {
        let now = Instant::now();
        if let Some(spent) = self.spent.get_mut(phase as usize) {
            *spent += now - self.last;
        }
        self.last = now;
    }

    /// Adds the times of work that was done aside; the next phase begins now.
    pub fn join(&mut self, other: &Self) {
        for (spent, more) in self.spent.iter_mut().zip(other.spent) {
            *spent += more;
        }
        self.last = Instant::now();
    }

    /// Time of a phase; zero when it never came.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Duration {
        self.spent.get(phase as usize).copied().unwrap_or_default()
    }

    /// Value of `Server-Timing`: milliseconds of each phase so far.
    #[must_use]
    pub fn server_timing(&self) -> Option<HeaderValue> {
        let mut text = String::with_capacity(96);
        for (phase, spent) in self.iter() {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{comma}{};dur={:.3}", phase.as_str(), spent.as_secs_f64() * 1e3);
        }
        HeaderValue::from_str(&text).ok().filter(|_| !text.is_empty())
    }

    /// Phases that took time.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().map(|phase| (phase, self.of(phase))).filter(|(_, spent)| !spent.is_zero())
    }
}

/// A backend that could have answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its name.
    pub backend: String,
    /// `chosen`, or why not.
    pub verdict: &'static str,
    /// What it was weighed by; more is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// One sending to a backend.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The backend.
    pub backend: String,
    /// Its address, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `ok`, or the reason why it failed.
    pub result: &'static str,
    /// When it began, in milliseconds after the request.
    pub began_ms: f64,
    /// How long it took to the backend's head or its failure.
    pub took_ms: f64,
}

/// A limit that refused or delayed the request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limited {
    /// Its name in the configuration, or the gateway's own.
    pub limit: String,
    /// What it counts.
    pub by: &'static str,
    /// When there is room again, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_in_s: Option<f64>,
}

/// What is known besides times.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The route that took it.
    pub route: Option<String>,
    /// The model that was asked for.
    pub model_asked: Option<String>,
    /// Language of the file, as GitLab's label has it.
    pub language: Option<&'static str>,
    /// Code points before the cursor, or of the prompt, as sent by the client and without white space around them.
    pub prompt_length: Option<(usize, usize)>,
    /// Code points after the cursor.
    pub suffix_length: Option<usize>,
    /// Code points of the completion, as the model gave it and as the client got it.
    pub output_length: Option<(usize, usize)>,
    /// Score of the completion, where the model gives one.
    pub output_score: Option<f64>,
    /// Bytes that were sent to a backend.
    pub request_bytes: u64,
    /// Bytes of the answer, and pieces it came in.
    pub answer: (u64, u64),
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Symbols that went into the prompt.
    pub symbols: Option<usize>,
    /// Experiments and their variants.
    pub experiments: Vec<(String, i64)>,
    /// GitLab's id of the project.
    pub project_id: Option<i64>,
    /// Status that a backend failed with.
    pub model_status: Option<u16>,
    /// Where the answer came from besides a backend.
    pub cache: Option<&'static str>,
    /// Backends that could have answered.
    pub candidates: Vec<Candidate>,
    /// Why this one.
    pub because: Option<&'static str>,
    /// Sendings.
    pub attempts: Vec<Attempt>,
    /// The limit that stood in the way.
    pub limited: Option<Limited>,
}

impl Facts {
    /// Takes over what is known of backends.
    pub fn join(&mut self, other: &Self) {
        self.candidates.clone_from(&other.candidates);
        self.attempts.clone_from(&other.attempts);
        self.because = other.because.or(self.because);
        self.model_status = other.model_status.or(self.model_status);
        self.answer = other.answer;
    }

    /// Adds a candidate while there is room.
    pub fn add_candidate(&mut self, backend: &str, verdict: &'static str, score: Option<f64>) {
        if self.candidates.len() < CANDIDATES {
            self.candidates.push(Candidate { backend: short(backend), verdict, score });
        }
    }

    /// Adds an attempt while there is room.
    pub fn add_attempt(&mut self, attempt: Attempt) {
        if self.attempts.len() < ATTEMPTS {
            self.attempts.push(attempt);
        }
    }
}

/// A text cut to what a name may need.
#[must_use]
pub fn short(text: &str) -> String {
    let mut end = text.len().min(NAME_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
