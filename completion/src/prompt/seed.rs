//! The prompt of GitLab's gateway of 2023, for the model it was made for: code-gecko, which takes prefix and suffix and has
//! a window of 2048 tokens. Its shares of the window and its order are kept. What it got wrong is not: the file's name is
//! within the budget, every line of a signature is a comment, and a cut never falls into a character.

use super::{Prompt, PromptKind, Section, Shape, cut};
use crate::context::{self, Item, Part};
use crate::language::Language;
use crate::syntax::{self, Caps, Node};
use crate::text::Document;
use crate::tokens::{Counter, Estimate};

/// Tokens of the prompt.
pub const SEED_WINDOW: usize = 2048;
/// Tokens of an answer.
const MAX_TOKENS: usize = 64;
/// Percent of the window for imports.
const IMPORTS: usize = 12;
/// Tokens for signatures.
const SIGNATURES: usize = 1024;
/// Percent of the rest for the text after the cursor.
const SUFFIX: usize = 7;

/// The experiment `exp_truncate_suffix`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeedExperiment {
    /// Variant 0: the suffix as it is.
    #[default]
    Control,
    /// Variant 1: only what remains of the outermost node of the best kind round the cursor.
    TruncatedSuffix,
}

/// Kinds round the cursor, the best first.
const fn priorities(language: Language) -> &'static [&'static str] {
    match language {
        Language::Python => &["class_definition", "function_definition", "module"],
        Language::Js => &[
            "class_declaration",
            "lexical_declaration",
            "function_declaration",
            "generator_function_declaration",
        ],
        Language::Ts => &[
            "class_declaration",
            "interface_declaration",
            "function_declaration",
            "generator_function_declaration",
            "call_expression",
            "program",
        ],
        _ => &[],
    }
}

/// Makes the prompt: imports of what precedes the cursor, signatures of what follows it, then the text.
#[must_use]
pub fn seed(document: &Document, experiment: SeedExperiment, counter: &dyn Counter, caps: Caps) -> Prompt {
    let items = context::items(document, caps);
    let title = title(document);
    let cursor = document.prefix().len();
    let of = |part: Part| items.iter().filter(move |item| item.part == part);
    let imports: Vec<String> = of(Part::Import)
        .filter(|item| item.range.end <= cursor)
        .map(|item| format!("{}\n", item.text))
        .collect();
    let signatures: Vec<String> =
        of(Part::Signature).filter_map(|item| commented(document.language(), item)).collect();
    let total = |list: &[String]| list.iter().map(|text| counter.count(text)).sum::<usize>();
    let imports_room = total(&imports).min(SEED_WINDOW * IMPORTS / 100);
    let signatures_room = total(&signatures).min(SIGNATURES);
    let body = SEED_WINDOW.saturating_sub(imports_room + signatures_room + counter.count(&title));
    let whole_suffix = match experiment {
        SeedExperiment::Control => document.suffix(),
        SeedExperiment::TruncatedSuffix => enclosing(document, caps).unwrap_or(document.suffix()),
    };
    let share = body * SUFFIX / 100;
    let suffix = whole_suffix.get(..cut::suffix(whole_suffix, share, share, counter)).unwrap_or_default();
    let from = cut::prefix(document.prefix(), body.saturating_sub(counter.count(suffix)), counter);
    let shown = document.prefix().get(from..).unwrap_or_default();
    let fill = |list: &[String], room: usize| {
        let mut left = room;
        let fits = |text: &&String| {
            let tokens = counter.count(text);
            let line = text.trim();
            let said = shown.contains(line) || suffix.contains(line);
            let fits = tokens <= left && !said;
            left -= if fits { tokens } else { 0 };
            fits
        };
        list.iter().filter(fits).cloned().collect::<String>()
    };
    let prefix =
        [title, fill(&imports, imports_room), fill(&signatures, signatures_room), shown.to_owned()].concat();
    let tokens = counter.count(&prefix) + counter.count(suffix);
    Prompt {
        sections: vec![
            Section { name: "prefix", tokens: counter.count(&prefix) },
            Section { name: "suffix", tokens: counter.count(suffix) },
        ],
        kind: PromptKind::Infill { prefix, suffix: suffix.to_owned(), files: Vec::new() },
        stops: Vec::new(),
        max_tokens: MAX_TOKENS,
        tokens: Estimate { tokens, exact: counter.is_exact() },
        shape: Shape::Block,
        shown_from: from,
    }
}

/// `// This code has a filename of a.ts and is written in TypeScript.`
fn title(document: &Document) -> String {
    let name: String = document.file_name().chars().filter(|character| !character.is_control()).collect();
    let known = document.language().filter(|language| language.is_seed());
    let Some(language) = known else { return format!("This code has a filename of {name}\n") };
    let text = format!("This code has a filename of {name} and is written in {}.", language.human());
    match language {
        Language::C => format!("/* {text} */\n"),
        Language::Python | Language::Ruby => format!("# {text}\n"),
        _ => format!("// {text}\n"),
    }
}

fn commented(language: Option<Language>, item: &Item) -> Option<String> {
    Some(format!("{}\n", language?.comment(&item.text)?))
}

/// What follows the cursor within the outermost node of the best kind among those whose lines hold the cursor's: the rest
/// of its class or function. Absent when there is none, or the language has no grammar here.
#[must_use]
pub fn enclosing(document: &Document, caps: Caps) -> Option<&str> {
    let language = document.language()?;
    let priorities = priorities(language);
    if document.prefix().is_empty() || priorities.is_empty() {
        return None;
    }
    let (whole, cursor) = (document.whole(), document.prefix().len());
    let parsed = syntax::parse(language, document.file_name(), &whole, cursor, caps)?;
    let before = whole.get(parsed.window.start..cursor)?;
    let row = before.matches('\n').count();
    let mut best: Option<(usize, usize)> = None;
    syntax::walk(parsed.root(), |node: Node<'_>| {
        let holds = node.start_position().row <= row && row <= node.end_position().row;
        if let Some(at) = priorities.iter().position(|kind| *kind == node.kind() && holds)
            && best.is_none_or(|(better, _)| at < better)
        {
            best = Some((at, parsed.range(node).end));
        }
        holds
    });
    let (_, end) = best?;
    document.suffix().get(..end.checked_sub(cursor)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Bound;
    use std::time::Duration;

    const PATIENT: Caps = Caps { bytes: 1 << 20, time: Duration::from_secs(60) };

    fn made(prefix: &str, suffix: &str, name: &str, experiment: SeedExperiment) -> (String, String) {
        let document = Document::new(prefix, suffix, name, None);
        let prompt = seed(&document, experiment, &Bound, PATIENT);
        assert!(prompt.tokens.tokens <= SEED_WINDOW, "{:?}", prompt.tokens);
        match prompt.kind {
            PromptKind::Infill { prefix, suffix, .. } => (prefix, suffix),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_name_comes_first_then_imports_then_signatures_then_the_text() {
        let body = "    x = compute(x)\n".repeat(400);
        let suffix = format!("    pass\n\n{body}\ndef g(a,\n      b):\n    return a\n");
        let (prefix, after) =
            made(&format!("import os\n\ndef f(x):\n{body}    "), &suffix, "a.py", SeedExperiment::Control);
        assert!(
            prefix.starts_with(
                "# This code has a filename of a.py and is written in Python.\nimport os\n# def g(a,\n#       b):\n    x = compute"
            ),
            "{prefix}"
        );
        assert!(after.starts_with("    pass\n") && after.len() < suffix.len());
    }

    #[test]
    fn a_file_of_no_known_language_says_its_name_without_a_comment() {
        let (prefix, _) = made("hello ", "", "notes", SeedExperiment::Control);
        assert_eq!(prefix, "This code has a filename of notes\nhello ");
    }

    #[test]
    fn the_experiment_ends_the_suffix_with_the_node_round_the_cursor() {
        let text = ("class A:\n    def f(self):\n        ", "pass\n\n\nclass B:\n    pass\n");
        let (_, control) = made(text.0, text.1, "a.py", SeedExperiment::Control);
        assert_eq!(control, text.1);
        let (_, cut) = made(text.0, text.1, "a.py", SeedExperiment::TruncatedSuffix);
        assert_eq!(cut, "pass");
        let (_, other) = made("fn f() {", "}\nfn g() {}\n", "a.rs", SeedExperiment::TruncatedSuffix);
        assert_eq!(other, "}\nfn g() {}\n");
    }
}
