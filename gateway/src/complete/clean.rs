//! The model's answers → what an editor shows, by the steps of `modelgate_completion::post`. All of it parses, so it is work
//! for the pool, never for the threads that serve connections.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use modelgate_api::contract::PostProcessConfig;
use modelgate_api::v1alpha1::{CommentOnly, PostProcessStep};
use modelgate_completion::Document;
use modelgate_completion::post::{
    self, Candidate, Incremental, Input, Mode, Place, Policy, Processed, Progress as Decided, Step, Watch,
    clean_end, rank,
};

use super::making::Asked;
use super::order::Order;
use super::progress::Raw;
use super::{Choice, Finish};

/// The place that answers are for.
pub(super) struct Cleaner {
    document: Document,
    specials: Vec<String>,
    stops: Vec<String>,
    mode: Mode,
    policy: Policy,
    /// What one look at an answer found out for the next.
    place: Place,
    watches: Mutex<BTreeMap<usize, Watch>>,
}

/// Answers worth showing, and the steps that changed any of them.
pub(super) struct Cleaned {
    /// Best first.
    pub choices: Vec<Choice>,
    /// One entry for each time.
    pub steps: Vec<Step>,
    /// Of each answer every step that ran, and what it made of the text where it changed it.
    pub traces: Vec<Vec<(Step, Option<String>)>>,
}

impl Cleaner {
    /// `asked` is absent where the backend got the text before the cursor, or the client's own prompt.
    pub(super) fn new(order: &Order, asked: Option<&Asked>) -> Self {
        let source = &order.task.document;
        let identifier = source.language_identifier.as_deref();
        let mut policy = policy(&order.post_process);
        if order.task.prompt.is_some() {
            // A prompt of the client's own: its answer need not fit the file. Only what is never wanted goes.
            let kept = [Step::SpecialTokens, Step::StopWords, Step::Rewrite, Step::WhiteSpace];
            policy.off.extend(Step::ALL.into_iter().filter(|step| !kept.contains(step)));
        }
        let is_line = asked.is_some_and(|asked| asked.is_line);
        let mut stops = asked.map_or_else(|| order.task.stops.clone(), |asked| asked.stops.clone());
        // The mode knows better than a stop word where a line ends: one that is put in whole keeps its line feed.
        stops.retain(|stop| !(is_line && stop == "\n"));
        Self {
            document: Document::new(&source.prefix, &source.suffix, &source.file_name, identifier),
            specials: asked.map(|asked| asked.specials.clone()).unwrap_or_default(),
            stops,
            mode: if is_line { Mode::Single } else { Mode::Multi },
            policy,
            place: Place::default(),
            watches: Mutex::default(),
        }
    }

    fn input<'a>(&'a self, raw: &'a str, finish: Finish) -> Input<'a> {
        Input {
            document: &self.document,
            specials: &self.specials,
            stops: &self.stops,
            raw,
            finish: match finish {
                Finish::Stop => post::Finish::Stop,
                Finish::Length => post::Finish::Length,
            },
            mode: self.mode,
            policy: &self.policy,
            place: Some(&self.place),
        }
    }

    /// Whether no further piece changes what is shown of this answer.
    pub(super) fn is_decided(&self, answer: usize, raw: &str) -> bool {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.entry(answer).or_default().look(&self.input(raw, Finish::Stop)) == Decided::Cut
    }

    /// What of an answer that is still coming no later piece changes.
    pub(super) fn ready(&self, raw: &str) -> String {
        let mut so_far = Incremental::new(self.input("", Finish::Stop));
        so_far.push(raw);
        so_far.ready()
    }

    /// Cleans and ranks the answers. Of those that are not whole, because time was up or the backend broke off, only what
    /// has a clean end.
    pub(super) fn clean(&self, raws: &[Raw]) -> Cleaned {
        let mut steps = Vec::new();
        let mut candidates = Vec::new();
        let mut traces = Vec::new();
        for raw in raws {
            let mut done = self.one(raw);
            traces.push(done.as_mut().map(trace).unwrap_or_default());
            let Some(done) = done else { continue };
            steps.extend(done.steps.iter().filter(|(_, changed)| *changed).map(|(step, _)| *step));
            candidates.push((done, raw.logprob));
        }
        let one = candidates.len() == 1;
        let compared: Vec<Candidate> = candidates
            .iter()
            .map(|(done, logprob)| Candidate {
                text: done.text.clone(),
                errors: if one { None } else { self.input("", Finish::Stop).guard().errors(&lf(&done.text)) },
                mean_logprob: *logprob,
            })
            .collect();
        let choices = rank(&compared).into_iter().filter_map(|at| candidates.get(at)).map(choice).collect();
        Cleaned { choices, steps, traces }
    }

    fn one(&self, raw: &Raw) -> Option<Processed> {
        if raw.text.is_empty() {
            return None;
        }
        match raw.finish {
            _ if raw.is_cut => Some(post::run(&self.input(&raw.text, Finish::Stop))),
            Some(finish) => Some(post::run(&self.input(&raw.text, finish))),
            None => {
                let mut done = clean_end(&self.input(&raw.text, Finish::Length))?;
                // The end of its last line is no part of what was whole.
                done.text.truncate(done.text.trim_end().len());
                Some(done)
            }
        }
    }
}

/// The steps that ran with what they made of the text.
fn trace(done: &mut Processed) -> Vec<(Step, Option<String>)> {
    let mut texts = std::mem::take(&mut done.texts).into_iter().peekable();
    let made = |(step, _): &(Step, bool)| (*step, texts.next_if(|(by, _)| by == step).map(|(_, text)| text));
    done.steps.iter().map(made).collect()
}

/// What the configuration wants done.
fn policy(config: &PostProcessConfig) -> Policy {
    Policy {
        off: config.skip.iter().map(|step| left_out(*step)).collect(),
        min_length: usize::try_from(config.min_length).unwrap_or(usize::MAX),
        drop_comment_only: config.comment_only == CommentOnly::Drop,
        ..Policy::default()
    }
}

fn left_out(step: PostProcessStep) -> Step {
    match step {
        PostProcessStep::Rewrite => Step::Rewrite,
        PostProcessStep::Repetition => Step::Repetition,
        PostProcessStep::Reflection => Step::Reflection,
        PostProcessStep::SuffixOverlap => Step::SuffixOverlap,
        PostProcessStep::Brackets => Step::Brackets,
        PostProcessStep::Scope => Step::Scope,
        PostProcessStep::Truncation => Step::Truncation,
        PostProcessStep::Indentation => Step::Indentation,
        PostProcessStep::Filter => Step::Filter,
        PostProcessStep::WhiteSpace => Step::WhiteSpace,
    }
}

fn lf(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn choice((done, logprob): &(Processed, Option<f64>)) -> Choice {
    let finish = match done.finish {
        post::Finish::Stop => Finish::Stop,
        post::Finish::Length => Finish::Length,
    };
    Choice { text: done.text.clone(), finish, logprob: *logprob }
}
