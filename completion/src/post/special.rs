//! Step a: special tokens of the model that reached the text. What follows one is not the completion.

use super::{Change, Context};

/// Spellings that no source code holds by chance, whatever model answered: leaks of other families' tokens come with
/// mixed-up tokenizers and fine-tunes. Ambiguous ones (`</s>`, `<EOT>`, `[SUFFIX]`) count only if the family names them.
const UNMISTAKABLE: &[&str] = &[
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|file_separator|>",
    "<|code_prefix|>",
    "<|code_suffix|>",
    "<|code_middle|>",
    "<|cursor|>",
    "<|user_cursor|>",
    "<|user_cursor_is_here|>",
    "<|editable_region_start|>",
    "<|editable_region_end|>",
    "<fim_prefix>",
    "<fim_suffix>",
    "<fim_middle>",
    "<fim_pad>",
    "<fim-prefix>",
    "<fim-suffix>",
    "<fim-middle>",
    "<[fim-prefix]>",
    "<[fim-suffix]>",
    "<[fim-middle]>",
    "<[end▁of▁sentence]>",
    "<｜fim▁begin｜>",
    "<｜fim▁hole｜>",
    "<｜fim▁end｜>",
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
];

/// Drops tokens in front (an echo of the prompt's end), then cuts at the first one.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>) -> Option<Change> {
    let mut rest = text;
    while let Some((0, token)) = first(rest, context)
        && echoes_prompt(token)
    {
        rest = rest.get(token.len()..).unwrap_or_default();
    }
    if rest.len() < text.len() && rest.trim().is_empty() {
        rest = "";
    }
    let (kept, cut) = match first(rest, context) {
        Some((at, _)) => (rest.get(..at).unwrap_or_default(), true),
        None => (rest, false),
    };
    (kept.len() != text.len()).then(|| Change::new(kept, cut))
}

/// Is it a token that a prompt ends with, so that an answer beginning with it has its text behind it?
fn echoes_prompt(token: &str) -> bool {
    ["middle", "MIDDLE", "MID>", "fim▁end", "begin▁of", "<s>"].iter().any(|part| token.contains(part))
}

/// The first special token and where it stands; tokens that the user's own file spells are text.
#[must_use]
pub fn first<'t>(text: &str, context: &Context<'t>) -> Option<(usize, &'t str)> {
    let mut best: Option<(usize, &'t str)> = None;
    let own = context.specials.iter().map(String::as_str);
    for token in own.chain(UNMISTAKABLE.iter().copied()).filter(|token| !token.trim().is_empty()) {
        let Some(at) = text.find(token) else { continue };
        let sooner =
            best.is_none_or(|(found, known)| at < found || (at == found && token.len() > known.len()));
        if sooner && !context.prefix.contains(token) && !context.suffix.contains(token) {
            best = Some((at, token));
        }
    }
    best
}

/// How many bytes at the end of `text` may be the beginning of a word that the next piece completes.
#[must_use]
pub fn held_back<'t>(text: &str, words: impl Iterator<Item = &'t str>) -> usize {
    words
        .filter_map(|word| {
            (1..word.len())
                .rev()
                .find(|len| word.is_char_boundary(*len) && text.ends_with(word.get(..*len).unwrap_or("\0")))
        })
        .max()
        .unwrap_or(0)
}
