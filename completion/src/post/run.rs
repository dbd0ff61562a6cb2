//! The twelve steps one after the other.

use super::lexis::Lexis;
use super::policy::{Policy, Step};
use super::{
    Context, Guard, Mode, Place, brackets, filter, indent, overlap, reflection, repetition, rewrite, scope,
    special, stops, truncation, whitespace,
};
use crate::language::Language;
use crate::text::Document;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// At its end, or where a step cut it.
    Stop,
    /// Its tokens or its time were used up, or the backend broke off.
    Length,
}

/// An answer and the place it is for.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The file with the cursor in it.
    pub document: &'a Document,
    /// Special tokens of the model's family.
    pub specials: &'a [String],
    /// Stop words of this request.
    pub stops: &'a [String],
    /// What the model answered.
    pub raw: &'a str,
    /// Why the answer ended.
    pub finish: Finish,
    /// How much was wanted.
    pub mode: Mode,
    /// What the user wants done.
    pub policy: &'a Policy,
    /// What earlier looks at answers for this document found out, and later ones will use.
    pub place: Option<&'a Place>,
}

/// An answer ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// The text, with the file's line ends.
    pub text: String,
    /// Why it ends: a cut by a rule is an end.
    pub finish: Finish,
    /// Each step that ran, in order, and whether it changed anything.
    pub steps: Vec<(Step, bool)>,
    /// What each step that changed something made of the text, in LF form.
    pub texts: Vec<(Step, String)>,
    /// The step that decided where the text ends; otherwise it ends where the model's answer does.
    pub cut_by: Option<Step>,
}

/// What a step made of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The text now.
    pub text: String,
    /// The step decided where the text ends.
    pub cut: bool,
}

impl Change {
    pub(super) fn new(text: &str, cut: bool) -> Change {
        Change { text: text.to_owned(), cut }
    }

    pub(super) fn cut(text: &str) -> Change {
        Change::new(text, true)
    }
}

impl<'a> Input<'a> {
    /// What the steps know of the place.
    #[must_use]
    pub fn context(&self) -> Context<'a> {
        let lexis = Lexis::of(self.document.language().map_or("", Language::id));
        let mut context = Context::new(self.document.prefix(), self.document.suffix(), lexis);
        context.specials = self.specials;
        context.stops = self.stops;
        context.mode = self.mode;
        context.place = self.place;
        context
    }

    /// The parser for the place.
    #[must_use]
    pub fn guard(&self) -> Guard<'a> {
        let name = self.document.file_name();
        let grammar = self.document.language().and_then(|language| crate::syntax::grammar(language, name));
        let (prefix, suffix) = (self.document.prefix(), self.document.suffix());
        Guard::new(grammar.as_ref(), prefix, suffix, self.policy.caps).at(self.place)
    }
}

/// Runs all steps that the policy has.
#[must_use]
pub fn run(input: &Input<'_>) -> Processed {
    run_watched(input, |_, _| {})
}

/// As [`run`]; `watch` is told of each step before it runs (`None`) and of its outcome.
pub fn run_watched(input: &Input<'_>, mut watch: impl FnMut(Step, Option<&str>)) -> Processed {
    let context = input.context();
    let mut guard = input.guard();
    let mut text = lf(input.raw);
    let mut steps = Vec::with_capacity(Step::ALL.len());
    let (mut texts, mut cut_by) = (Vec::new(), None);
    for step in Step::ALL.into_iter().filter(|step| input.policy.has(*step)) {
        watch(step, None);
        let ends_broken = input.finish == Finish::Length && cut_by.is_none();
        let change = one(step, &text, &context, &mut guard, input, ends_broken);
        let changed = change.is_some();
        if let Some(change) = change {
            text = change.text;
            texts.push((step, text.clone()));
            cut_by = Some(step).filter(|_| change.cut).or(cut_by);
        }
        watch(step, Some(&text));
        steps.push((step, changed));
    }
    let text = input.document.restore().apply(&text).into_owned();
    // What was mended at its broken end is still short of an end.
    let finish =
        if cut_by.is_some_and(|step| step != Step::Truncation) { Finish::Stop } else { input.finish };
    Processed { text, finish, steps, texts, cut_by }
}

fn one(
    step: Step,
    text: &str,
    context: &Context<'_>,
    guard: &mut Guard<'_>,
    input: &Input<'_>,
    ends_broken: bool,
) -> Option<Change> {
    match step {
        Step::SpecialTokens => special::apply(text, context),
        Step::StopWords => stops::apply(text, context),
        Step::Rewrite => rewrite::apply(text, context, guard),
        Step::Repetition => repetition::apply(text, context, guard),
        Step::Reflection => reflection::apply(text, context),
        Step::SuffixOverlap => overlap::apply(text, context, guard),
        Step::Brackets => brackets::apply(text, context, guard),
        Step::Scope => scope::apply(text, context, guard),
        Step::Truncation if ends_broken => truncation::apply(text, context, guard),
        Step::Truncation => None,
        Step::Indentation => indent::apply(text, context, guard),
        Step::Filter => filter::apply(text, context, guard, input.policy),
        Step::WhiteSpace => whitespace::apply(text, context),
    }
}

/// Models answer with any line end.
fn lf(raw: &str) -> String {
    let raw = raw.strip_prefix('\u{feff}').unwrap_or(raw);
    if raw.contains('\r') { raw.replace("\r\n", "\n").replace('\r', "\n") } else { raw.to_owned() }
}
