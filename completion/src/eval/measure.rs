//! Runs the rules over all samples and counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Form, Mutation, Sample, Set};
use crate::post::{Context, Finish, Guard, Input, Lexis, Mode, Policy, State, Step, run, run_watched};
use crate::syntax::Caps;
use crate::text::Document;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file name that the samples get; it tells their language.
    pub file_name: String,
    /// Forms in which each sample is taken.
    pub forms: Vec<Form>,
    /// Only each so many-th sample is taken; 1 takes all.
    pub every: usize,
    /// Which part of the samples is taken, of how many: for several threads.
    pub part: (usize, usize),
    /// The policy in force.
    pub policy: Policy,
    /// How many failures are kept to be looked at.
    pub failures: usize,
}

impl Default for Options {
    fn default() -> Self {
        let patient = Caps { time: Duration::from_secs(5), ..Policy::default().caps };
        Options {
            file_name: "solution.py".to_owned(),
            forms: Form::ALL.to_vec(),
            every: 1,
            part: (0, 1),
            policy: Policy { caps: patient, ..Policy::default() },
            failures: 0,
        }
    }
}

/// How many of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// Samples of the kind.
    pub of: usize,
    /// Those that are counted.
    pub count: usize,
}

impl Cell {
    fn add(&mut self, counted: bool) {
        self.of += 1;
        self.count += usize::from(counted);
    }

    fn join(&mut self, other: Cell) {
        self.of += other.of;
        self.count += other.count;
    }

    /// Counted ones per hundred; none of none is 0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of samples are far below 2^52")]
    pub fn percent(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.count as f64 * 100.0 / self.of as f64 }
    }
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Correct completions that were changed. The flag: only the cursor's line was asked for.
    pub harm: BTreeMap<(Set, bool, Form), Cell>,
    /// Spoilt completions that came back exactly; of those cut within a word, those that end with no broken token.
    pub recovery: BTreeMap<(Mutation, Set, Form), Cell>,
    /// Completions cut within a word that are worse than the cut input.
    pub worse: BTreeMap<(Set, Form), Cell>,
    /// Characters kept of those that a cut within a word left.
    pub kept: Cell,
    /// Keystrokes of simulated typing, and those that leave the prompt as it was but for its end.
    pub typing: Cell,
    /// The time of each step.
    pub times: BTreeMap<Step, Vec<Duration>>,
    /// The time of all steps of an answer.
    pub total: Vec<Duration>,
    /// Failures, as many as were asked for of each kind: what failed, the sample, what went in, what came out.
    pub failures: Vec<(String, Sample, String, String)>,
}

/// Measures.
#[must_use]
pub fn measure(samples: &[Sample], options: &Options) -> Outcome {
    let mut outcome = Outcome::default();
    let (part, parts) = options.part;
    let taken = samples.iter().enumerate().step_by(options.every.max(1));
    for (number, sample) in taken.skip(part).step_by(parts.max(1)) {
        let next = next_function(samples, number);
        for form in &options.forms {
            let formed = form.of(sample);
            let document = Document::new(&formed.prefix, &formed.suffix, &options.file_name, None);
            let bench = Bench { number, form: *form, formed: &formed, document: &document, options };
            bench.harm(&mut outcome);
            for mutation in Mutation::ALL {
                let Some((raw, finish)) =
                    mutation.of(&in_lf(&formed), &form.text(&next).replace("\r\n", "\n"), number)
                else {
                    continue;
                };
                bench.recovery(mutation, &raw, finish, &mut outcome);
            }
        }
    }
    outcome
}

impl Outcome {
    /// Both outcomes as one.
    #[must_use]
    pub fn with(mut self, other: Outcome) -> Outcome {
        other.harm.into_iter().for_each(|(key, cell)| self.harm.entry(key).or_default().join(cell));
        other.recovery.into_iter().for_each(|(key, cell)| self.recovery.entry(key).or_default().join(cell));
        other.worse.into_iter().for_each(|(key, cell)| self.worse.entry(key).or_default().join(cell));
        self.kept.join(other.kept);
        self.typing.join(other.typing);
        other.times.into_iter().for_each(|(step, times)| self.times.entry(step).or_default().extend(times));
        self.total.extend(other.total);
        self.failures.extend(other.failures);
        self
    }
}

struct Bench<'a> {
    number: usize,
    form: Form,
    formed: &'a Sample,
    document: &'a Document,
    options: &'a Options,
}

impl Bench<'_> {
    fn input<'i>(&'i self, raw: &'i str, finish: Finish, mode: Mode) -> Input<'i> {
        Input {
            document: self.document,
            specials: &[],
            stops: &[],
            raw,
            finish,
            mode,
            policy: &self.options.policy,
            place: None,
        }
    }

    fn harm(&self, outcome: &mut Outcome) {
        let set = self.formed.set;
        let right = &self.formed.canonical;
        // Models see LF text and mostly answer so; some do not.
        let raw = if self.number.is_multiple_of(2) { right.replace("\r\n", "\n") } else { right.clone() };
        let modes = if set == Set::Single { vec![Mode::Multi, Mode::Single] } else { vec![Mode::Multi] };
        for mode in modes {
            let text = timed(&self.input(&raw, Finish::Stop, mode), outcome);
            let harmed = text != *right;
            outcome.harm.entry((set, mode == Mode::Single, self.form)).or_default().add(harmed);
            if harmed {
                self.failed("harm", raw.clone(), text, outcome);
            }
        }
    }

    fn recovery(&self, mutation: Mutation, raw: &str, finish: Finish, outcome: &mut Outcome) {
        let given = if self.form == Form::Crlf && self.number % 2 == 1 {
            raw.replace('\n', "\r\n")
        } else {
            raw.to_owned()
        };
        let text = run(&self.input(&given, finish, Mode::Multi)).text;
        let recovered = if mutation == Mutation::CutMidToken {
            let worse = !self.is_no_worse(&text, raw);
            outcome.worse.entry((self.formed.set, self.form)).or_default().add(worse);
            outcome.kept.of += raw.len();
            outcome.kept.count += text.replace("\r\n", "\n").len().min(raw.len());
            if worse {
                self.failed("worse than cut", given.clone(), text.clone(), outcome);
            }
            self.ends_whole(&text)
        } else {
            text == self.formed.canonical
        };
        outcome.recovery.entry((mutation, self.formed.set, self.form)).or_default().add(recovered);
        if !recovered {
            self.failed(mutation.name(), given, text, outcome);
        }
    }

    /// It is a beginning of what was cut, keeps its whole lines' worth unless that parses worse, and parses no worse.
    fn is_no_worse(&self, text: &str, raw: &str) -> bool {
        let text = text.replace("\r\n", "\n");
        let Some(language) = self.document.language() else { return raw.starts_with(&text) };
        let grammar = crate::syntax::grammar(language, self.document.file_name());
        let caps = Caps { bytes: 1 << 20, time: Duration::from_secs(5) };
        let mut guard = Guard::new(grammar.as_ref(), self.document.prefix(), self.document.suffix(), caps);
        raw.starts_with(&text) && guard.is_no_worse(&text, raw)
    }

    /// Does it end at an end of a word of the correct completion, and in no string that began in it?
    fn ends_whole(&self, text: &str) -> bool {
        let (text, right) = (text.replace("\r\n", "\n"), self.formed.canonical.replace("\r\n", "\n"));
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let Some(rest) = right.strip_prefix(&text) else { return false };
        let within_word = is_word(text.chars().next_back()) && is_word(rest.chars().next());
        let lexis = Lexis::of(self.document.language().map_or("", crate::Language::id));
        let context = Context::new(self.document.prefix(), self.document.suffix(), lexis);
        let within_text = !context.is_in_text() && matches!(context.state_after(&text), State::Text { .. });
        text.is_empty() || !(within_word || within_text)
    }

    fn failed(&self, what: &str, raw: String, text: String, outcome: &mut Outcome) {
        let known = outcome.failures.iter().filter(|(kind, ..)| kind == what).count();
        if known < self.options.failures {
            outcome.failures.push((what.to_owned(), self.formed.clone(), raw, text));
        }
    }
}

fn timed(input: &Input<'_>, outcome: &mut Outcome) -> String {
    let begun = Instant::now();
    let mut step_begun = begun;
    let times = &mut outcome.times;
    let processed = run_watched(input, |step, done| match done {
        None => step_begun = Instant::now(),
        Some(_) => times.entry(step).or_default().push(step_begun.elapsed()),
    });
    outcome.total.push(begun.elapsed());
    processed.text
}

/// The function of the next problem but one's own.
fn next_function(samples: &[Sample], number: usize) -> String {
    let own = samples.get(number).map(|sample| sample.problem.as_str());
    let others = samples.iter().cycle().skip(number + 1).take(samples.len());
    let Some(next) = others.into_iter().find(|sample| Some(sample.problem.as_str()) != own) else {
        return "def main():\n    return None\n".to_owned();
    };
    let whole = format!("{}{}{}", next.prefix, next.canonical, next.suffix);
    let at = if whole.starts_with("def ") { Some(0) } else { whole.find("\ndef ").map(|at| at + 1) };
    at.and_then(|at| whole.get(at..)).unwrap_or(&whole).to_owned()
}

fn in_lf(sample: &Sample) -> Sample {
    let lf = |text: &str| text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    Sample {
        prefix: lf(&sample.prefix),
        canonical: lf(&sample.canonical),
        suffix: lf(&sample.suffix),
        ..sample.clone()
    }
}
