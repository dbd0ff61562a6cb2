//! An order → the prompt for each kind of backend that may answer it, by `modelgate_completion`. It parses, so it is work
//! for the pool.

use std::sync::Arc;

use modelgate_api::contract::BackendConfig;
use modelgate_api::v1alpha1::{FimFamily, SuffixScope};
use modelgate_completion::family::{Family, OtherFile, by_model_name};
use modelgate_completion::prompt::{BackendTraits, ContextItem, Settings, Shape, enclosing};
use modelgate_completion::syntax::Caps;
use modelgate_completion::tokens::Bound;
use modelgate_completion::{Document, PromptKind, build};
use serde_json::Value;

use super::order::Order;
use crate::backend::Backend;
use crate::dialect::{Dialect, File, Message, Prompt};

/// Window of a model whose `contextLength` is not given: that of the model of 2023.
pub(crate) const DEFAULT_WINDOW: u32 = 2048;

/// What backends are asked, by what their models take.
#[derive(Default)]
pub(crate) struct Made {
    kinds: Vec<(Kind, Arc<Asked>)>,
}

/// What tells backends apart here.
#[derive(Clone, Copy, PartialEq)]
struct Kind {
    family: Option<&'static Family>,
    /// The server puts the two texts together by itself.
    infill: bool,
    /// And takes other files beside them.
    files: bool,
    window: u32,
}

/// What one kind of backend is asked.
pub(crate) struct Asked {
    pub prompt: Prompt,
    /// What ends the answer, most needed first.
    pub stops: Vec<String>,
    /// Tokens of the answer at most.
    pub max_tokens: u32,
    /// Whether one line is wanted.
    pub is_line: bool,
    /// Special tokens that an answer must not hold.
    pub specials: Vec<String>,
}

impl Made {
    /// What has to be made for an order; empty when no backend of its route takes the text after the cursor, or the
    /// client made its prompt itself.
    fn kinds(order: &Order) -> Vec<Kind> {
        let mut kinds = Vec::new();
        if order.task.prompt.is_some() {
            return kinds;
        }
        let route = &order.route;
        let all = route.backends.iter().chain(&route.fallbacks).chain(&route.shadows);
        for kind in all.filter_map(|(backend, _)| Kind::of(backend)) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Whether there is anything to make.
    pub(super) fn is_wanted(order: &Order) -> bool {
        !Self::kinds(order).is_empty()
    }

    /// Makes the prompts.
    pub(super) fn new(order: &Order) -> Self {
        let source = &order.task.document;
        let identifier = source.language_identifier.as_deref();
        let whole = Document::new(&source.prefix, &source.suffix, &source.file_name, identifier);
        let document = match order.suffix {
            SuffixScope::Whole => whole,
            SuffixScope::Enclosing => match enclosing(&whole, Caps::default()) {
                Some(rest) => Document::new(whole.prefix(), rest, &source.file_name, identifier),
                None => whole,
            },
        };
        let item = |item: &super::ContextItem| ContextItem {
            name: item.name.clone(),
            content: item.content.clone(),
        };
        let files: Vec<ContextItem> = order.task.context.iter().map(item).collect();
        let one = |kind: Kind| Some((kind, Arc::new(kind.asked(order, &document, &files)?)));
        Self { kinds: Self::kinds(order).into_iter().filter_map(one).collect() }
    }

    /// What this backend is asked; absent when its model only goes on from a text, or its window holds no template.
    pub(crate) fn of(&self, backend: &Backend) -> Option<&Arc<Asked>> {
        let wanted = Kind::of(backend)?;
        self.kinds.iter().find(|(kind, _)| *kind == wanted).map(|(_, asked)| asked)
    }
}

impl Kind {
    /// A server that takes both texts knows its model's template best. A family that is named by hand goes before that,
    /// and `None` shows the model nothing of what follows the cursor.
    fn of(backend: &Backend) -> Option<Self> {
        let (config, abilities) = (&backend.config, backend.abilities());
        if config.fim_family == FimFamily::None {
            return None;
        }
        let family = family_of(config).filter(|_| abilities.family);
        let infill = abilities.infill && (config.fim_family == FimFamily::Auto || !abilities.raw);
        let takes_suffix = infill || family.is_some() && abilities.raw;
        let window = config.context_length.unwrap_or(DEFAULT_WINDOW);
        takes_suffix.then_some(Self { family, infill, files: abilities.files, window })
    }

    fn asked(self, order: &Order, document: &Document, files: &[ContextItem]) -> Option<Asked> {
        let Self { family, infill, files: takes_files, window } = self;
        let backend =
            BackendTraits { family, infill, files: takes_files, window: tokens(window), counter: &Bound };
        let settings = Settings {
            max_tokens: tokens(order.max_tokens),
            max_prompt: tokens(order.prompt_budget.unwrap_or(window)),
            ..Settings::default()
        };
        let built = build(document, files, &backend, &settings).ok()?;
        let prompt = match built.kind {
            PromptKind::Raw { text } => Prompt::Raw(text),
            PromptKind::Infill { prefix, suffix, files } => {
                let file = |file: OtherFile| File { name: file.path, text: file.text };
                Prompt::Infill { prefix, suffix, files: files.into_iter().map(file).collect() }
            }
            PromptKind::Chat { messages } => Prompt::Chat(
                messages
                    .into_iter()
                    .map(|message| Message { role: message.role, content: message.content })
                    .collect(),
            ),
        };
        let specials = family.into_iter().flat_map(Family::specials).map(str::to_owned).collect();
        let stops = order.task.stops.iter().cloned().chain(built.stops).collect();
        let max_tokens = u32::try_from(built.max_tokens).unwrap_or(order.max_tokens);
        Some(Asked { prompt, stops, max_tokens, is_line: built.shape == Shape::Line, specials })
    }
}

/// The family whose template puts two texts together for this backend's model; `None` where its server does that by itself,
/// or where nothing is known of the model.
pub(crate) fn template_of(backend: &Backend) -> Option<&'static Family> {
    let kind = Kind::of(backend)?;
    // llama.cpp takes two texts at a path of its own, and reads no suffix at OpenAI's.
    let takes_suffix = kind.infill && !matches!(*backend.dialect(), Dialect::LlamaCpp);
    kind.family.filter(|_| !takes_suffix && backend.abilities().raw)
}

/// The family that the configuration names, or the model's own name.
pub(crate) fn family_of(config: &BackendConfig) -> Option<&'static Family> {
    match config.fim_family {
        FimFamily::None => None,
        FimFamily::Auto => by_model_name(&config.model),
        named => named_family(named),
    }
}

/// The family of this name in the resources.
fn named_family(family: FimFamily) -> Option<&'static Family> {
    match serde_json::to_value(family) {
        Ok(Value::String(name)) => Family::of_name(&name),
        _ => None,
    }
}

fn tokens(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
