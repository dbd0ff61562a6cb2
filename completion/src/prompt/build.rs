//! A document, the client's other files and a backend → the prompt.

use std::cell::OnceCell;

use super::{BackendTraits, ContextItem, Prompt, PromptError, PromptKind, Section, Settings, Shape, cut};
use crate::context::{self, Item};
use crate::family::{self, Order, OtherFile, Pieces};
use crate::text::Document;
use crate::tokens::Estimate;

/// Tokens of the text after the cursor at most where it stands behind the text before it: what follows the cursor is
/// computed anew for each keystroke, so it is kept short of the last 512 tokens, which nothing can save.
const SUFFIX_AFTER: usize = 384;
/// Tokens by which the room for other files changes, so that it does not with each keystroke.
const FILES_STEP: usize = 512;
/// Tokens by which the room for imports and the like changes.
const HEADER_STEP: usize = 128;
/// The longest of what servers put round another file where they do that themselves.
const SNIPPET: &str = "\n\n--- snippet ---\n\n";
/// Rounds in which a prompt that counts more than the sum of its pieces is made smaller.
const ROUNDS: usize = 6;

/// Makes the prompt. It never has more tokens, by the backend's counter, than the window leaves beside the answer.
///
/// # Errors
/// When the window is too small for the template alone.
pub fn build(
    document: &Document,
    files: &[ContextItem],
    backend: &BackendTraits<'_>,
    settings: &Settings,
) -> Result<Prompt, PromptError> {
    let shape = Shape::of(document);
    let max_tokens = shape.max_tokens(settings.max_tokens).min(backend.window / 2).max(1);
    let maker = Maker { document, files, backend, settings, total: OnceCell::new() };
    let empty = Cut { prefix: document.prefix().len(), suffix: 0, header: String::new(), files: Vec::new() };
    let reserved = max_tokens + backend.counter.count(&maker.rendered(&empty));
    let Some(room) = backend.window.checked_sub(reserved) else {
        return Err(PromptError::Window { window: backend.window, reserved });
    };
    let room = room.min(settings.max_prompt);
    let limit = backend.window - max_tokens;
    let mut target = room;
    let mut items = Vec::new();
    let mut cut = maker.cut(&items, target);
    // What is shown whole has nothing to be told about it, and need not be parsed.
    if maker.takes_header() && (cut.prefix > 0 || cut.suffix < document.suffix().len()) {
        items = context::items(document, settings.caps);
        cut = maker.cut(&items, target);
    }
    for _ in 0..ROUNDS {
        let over = backend.counter.count(&maker.rendered(&cut)).saturating_sub(limit);
        if over == 0 {
            return Ok(maker.prompt(&cut, shape, max_tokens));
        }
        target = target.saturating_sub(over + over / 4 + 8);
        cut = maker.cut(&items, target);
    }
    Ok(maker.prompt(&empty, shape, max_tokens))
}

/// What is shown.
struct Cut {
    /// Offset at which the shown part of the text before the cursor begins.
    prefix: usize,
    /// Offset at which the shown part of the text after it ends.
    suffix: usize,
    header: String,
    files: Vec<OtherFile>,
}

struct Maker<'a> {
    document: &'a Document,
    files: &'a [ContextItem],
    backend: &'a BackendTraits<'a>,
    settings: &'a Settings,
    /// Tokens of all the text before the cursor.
    total: OnceCell<usize>,
}

impl Maker<'_> {
    fn count(&self, text: &str) -> usize {
        self.backend.counter.count(text)
    }

    /// Whether imports and the like are put in front; a backend that knows no comment-free way gets them too.
    fn takes_header(&self) -> bool {
        self.settings.header_percent > 0
    }

    /// Whether the backend gets what follows the cursor.
    fn takes_suffix(&self) -> bool {
        self.backend.infill || self.backend.family.is_some()
    }

    fn cut(&self, items: &[Item], room: usize) -> Cut {
        let (prefix, suffix) = (self.document.prefix(), self.document.suffix());
        let share = |percent: usize| room.saturating_mul(percent.min(90)) / 100;
        let after = if self.takes_suffix() { self.suffix_end(room) } else { 0 };
        let left = room.saturating_sub(self.count(suffix.get(..after).unwrap_or_default()));
        let total = *self.total.get_or_init(|| self.count(prefix));
        let most_files = share(self.settings.files_percent);
        // Files take what is left over, and a share of a prompt that is full.
        let files_room = step(left.saturating_sub(total), FILES_STEP).max(most_files.min(left / 2));
        let (shown, used) = self.other_files(files_room);
        let left = left - used.min(left);
        let most_header = share(self.settings.header_percent);
        let header_room = if total > left {
            most_header.min(left / 2)
        } else {
            step(left - total, HEADER_STEP).min(most_header)
        };
        let header_room = if items.is_empty() { 0 } else { header_room };
        let from = cut::prefix(prefix, left - header_room, self.backend.counter);
        let visible = from..prefix.len() + after;
        let header = context::header(self.document, items, &visible, header_room, self.backend.counter);
        Cut { prefix: from, suffix: after, header, files: shown }
    }

    fn suffix_end(&self, room: usize) -> usize {
        let percent = room.saturating_mul(self.settings.suffix_percent.min(90)) / 100;
        let last =
            self.backend.family.is_some_and(|family| family.order == Order::Spm) || self.backend.infill;
        let budget = if last { percent } else { percent.min(SUFFIX_AFTER) };
        cut::suffix(self.document.suffix(), budget, budget.max(room / 4).min(room), self.backend.counter)
    }

    /// What stands round each other file, apart from its name; absent where the backend takes none.
    fn file_form(&self) -> Option<String> {
        if self.backend.infill {
            return self.backend.files.then(|| SNIPPET.to_owned());
        }
        let files = self.backend.family?.files?;
        Some([files.file.0, files.file.1, files.file.2].concat())
    }

    /// Other files that fit, the client's first ones nearest to the cursor, and their tokens.
    fn other_files(&self, room: usize) -> (Vec<OtherFile>, usize) {
        let Some(form) = self.file_form() else { return (Vec::new(), 0) };
        let (mut shown, mut used) = (Vec::new(), 0);
        for item in self.files {
            // A file that speaks the model's own language is left out whole.
            let speaks = |family| family::contains_special(family, &item.content);
            if item.content.trim().is_empty() || self.backend.family.is_some_and(speaks) {
                continue;
            }
            let overhead = self.count(&form) + self.count(&item.name);
            let Some(left) = room.checked_sub(used + overhead) else { continue };
            let end = cut::suffix(&item.content, left, left, self.backend.counter);
            let text = item.content.get(..end).unwrap_or_default();
            if text.trim().is_empty() {
                continue;
            }
            used += overhead + self.count(text);
            shown.push(OtherFile { path: item.name.clone(), text: text.to_owned() });
        }
        shown.reverse();
        (shown, used)
    }

    fn pieces<'b>(&'b self, cut: &'b Cut) -> Pieces<'b> {
        Pieces {
            repository: None,
            files: &cut.files,
            path: self.document.file_name(),
            header: &cut.header,
            prefix: self.document.prefix().get(cut.prefix..).unwrap_or_default(),
            suffix: self.document.suffix().get(..cut.suffix).unwrap_or_default(),
        }
    }

    /// All that the backend will compute, as one text.
    fn rendered(&self, cut: &Cut) -> String {
        match self.kind(cut) {
            PromptKind::Raw { text } => text,
            PromptKind::Infill { prefix, suffix, files } => {
                // The backend puts a template round the two; of the longest kind, where the family is not known.
                let template = self
                    .backend
                    .family
                    .map_or("<|fim_prefix|><|fim_suffix|><|fim_middle|>".to_owned(), |family| {
                        [family.prefix, family.suffix, family.middle].concat()
                    });
                let mut text = [prefix, suffix, template].concat();
                for file in files {
                    text.extend([SNIPPET, &file.path, &file.text]);
                }
                text
            }
            PromptKind::Chat { messages } => messages.into_iter().map(|message| message.content).collect(),
        }
    }

    fn kind(&self, cut: &Cut) -> PromptKind {
        let pieces = self.pieces(cut);
        match self.backend.family {
            _ if self.backend.infill => PromptKind::Infill {
                prefix: [pieces.header, pieces.prefix].concat(),
                suffix: pieces.suffix.to_owned(),
                files: cut.files.clone(),
            },
            Some(family) => PromptKind::Raw { text: family::render(family, &pieces) },
            None => PromptKind::Raw { text: [pieces.header, pieces.prefix].concat() },
        }
    }

    fn prompt(&self, cut: &Cut, shape: Shape, max_tokens: usize) -> Prompt {
        let pieces = self.pieces(cut);
        let files = cut.files.iter().map(|file| self.count(&file.text)).sum();
        let sections = [
            ("files", files),
            ("header", self.count(pieces.header)),
            ("prefix", self.count(pieces.prefix)),
            ("suffix", self.count(pieces.suffix)),
        ];
        let tokens =
            Estimate { tokens: self.count(&self.rendered(cut)), exact: self.backend.counter.is_exact() };
        Prompt {
            kind: self.kind(cut),
            stops: self.stops(shape),
            max_tokens,
            tokens,
            sections: sections.map(|(name, tokens)| Section { name, tokens }).to_vec(),
            shape,
            shown_from: cut.prefix,
        }
    }

    /// A line's end is needed most, then the token that ends an answer, then the block's ends, then the other tokens.
    fn stops(&self, shape: Shape) -> Vec<String> {
        let of_family: &[&str] = self.backend.family.map_or(&[], |family| family.stops);
        let (first, rest) = of_family.split_at(of_family.len().min(2));
        let of_shape = shape.stops(self.document, self.backend.family.is_some_and(|family| family.endless));
        let owned = |list: &[&str]| list.iter().map(|stop| (*stop).to_owned()).collect::<Vec<_>>();
        match shape {
            Shape::Line => [of_shape, owned(first), owned(rest)].concat(),
            Shape::Block => [owned(first), of_shape, owned(rest)].concat(),
        }
    }
}

/// The multiple of `size` below a number.
const fn step(number: usize, size: usize) -> usize {
    number / size * size
}
