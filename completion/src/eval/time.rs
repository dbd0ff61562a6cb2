//! What the engine itself costs a completion from a long file: the prompt, the question after each piece of the answer
//! whether its end is decided, and the cleaning. No model and no network is in it.

use std::time::{Duration, Instant};

use crate::family::Family;
use crate::post::{Finish, Input, Mode, Place, Policy, Progress, Watch, run};
use crate::prompt::{BackendTraits, Settings, build};
use crate::text::Document;
use crate::tokens::Bound;

use super::Sample;
use super::report::micros;

/// Lines of an answer.
const LINES: usize = 12;
/// Bytes of a piece of an answer, about those of a token.
const PIECE: usize = 4;
/// Tokens of prompt and answer.
const WINDOW: usize = 8192;
/// How often each place is timed; the fastest counts, so that what else runs on the machine is left out.
const ROUNDS: usize = 5;

/// Times of completions from one file.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// Making the prompt.
    pub prompt: Vec<Duration>,
    /// Asking whether the end is decided, all pieces of an answer together.
    pub decide: Vec<Duration>,
    /// Cleaning the whole answer.
    pub clean: Vec<Duration>,
    /// All of it.
    pub total: Vec<Duration>,
}

impl Times {
    /// A Markdown table.
    #[must_use]
    pub fn markdown(&self, file_name: &str, bytes: usize) -> String {
        let mut text =
            format!("| Engine time, {file_name}, {bytes} bytes | p50 ms | p99 ms |\n|---|---|---|\n");
        for (name, times) in [
            ("prompt", &self.prompt),
            ("asking whether the end is decided, all pieces of an answer", &self.decide),
            ("cleaning", &self.clean),
            ("all", &self.total),
        ] {
            let milliseconds = |percentile| micros(times, percentile) / 1e3;
            text.push_str(&format!("| {name} | {:.2} | {:.2} |\n", milliseconds(50), milliseconds(99)));
        }
        text
    }
}

/// A long file made of problems.
#[must_use]
pub fn long_file(samples: &[Sample], bytes: usize) -> String {
    let mut text = String::new();
    let every = (samples.len() / 200).max(1);
    for sample in samples.iter().step_by(every).cycle().take(samples.len() * 4) {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("{}{}{}\n\n\n", sample.prefix, sample.canonical, sample.suffix));
    }
    text
}

/// Completes at so many places spread over a file: the lines that stand there are taken out and come as the model's answer,
/// which then runs on into what follows.
#[must_use]
pub fn time(text: &str, file_name: &str, places: usize) -> Times {
    let mut times = Times::default();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let offsets: Vec<usize> = lines
        .iter()
        .scan(0, |end, line| {
            *end += line.len();
            Some(*end - line.len())
        })
        .collect();
    for place in 0..places {
        let at = lines.len().saturating_sub(2 * LINES) * place / places.max(1);
        let offset = |line: usize| offsets.get(line).copied().unwrap_or(text.len());
        let line = lines.get(at).copied().unwrap_or_default();
        // Within a line as often as at its beginning.
        let indented = line.len() - line.trim_start().len();
        let cursor = offset(at) + if place % 2 == 0 { 0 } else { indented };
        let (from, to) = (offset(at + LINES), offset(at + 2 * LINES));
        let piece = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let answer = piece(cursor, to);
        let parts = (piece(0, cursor), answer, piece(from, text.len()));
        let Some([prompt, decide, clean, total]) =
            (0..ROUNDS).map(|_| one(parts, file_name)).min_by_key(|[.., total]| *total)
        else {
            continue;
        };
        times.prompt.push(prompt);
        times.decide.push(decide);
        times.clean.push(clean);
        times.total.push(total);
    }
    times
}

/// Prompt, decisions, cleaning, all of it.
fn one((prefix, answer, suffix): (&str, &str, &str), file_name: &str) -> [Duration; 4] {
    let begun = Instant::now();
    let document = Document::new(prefix, suffix, file_name, None);
    let family = Family::of_name("Qwen");
    let backend = BackendTraits { family, infill: false, files: false, window: WINDOW, counter: &Bound };
    let prompt = build(&document, &[], &backend, &Settings::default()).ok();
    let prompted = begun.elapsed();
    let specials: Vec<String> = family.into_iter().flat_map(Family::specials).map(str::to_owned).collect();
    let stops = prompt.map(|prompt| prompt.stops).unwrap_or_default();
    let policy = Policy::default();
    let place = Place::default();
    let input = Input {
        document: &document,
        specials: &specials,
        stops: &stops,
        raw: "",
        finish: Finish::Stop,
        mode: Mode::Multi,
        policy: &policy,
        place: Some(&place),
    };
    let asked = Instant::now();
    let mut watch = Watch::default();
    let mut end = 0;
    while end < answer.len() {
        end = (end + PIECE).min(answer.len());
        while !answer.is_char_boundary(end) {
            end += 1;
        }
        if watch.look(&Input { raw: answer.get(..end).unwrap_or_default(), ..input }) == Progress::Cut {
            break;
        }
    }
    let decided = asked.elapsed();
    let cleaning = Instant::now();
    let _shown = run(&Input { raw: answer.get(..end).unwrap_or_default(), ..input });
    [prompted, decided, cleaning.elapsed(), begun.elapsed()]
}
