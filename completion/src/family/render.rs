//! A family's template, filled in.

use super::{Family, Order, Place, broken};

/// Another file that is shown to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherFile {
    /// Its path.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What a template is filled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces<'text> {
    /// Name of the repository.
    pub repository: Option<&'text str>,
    /// Other files, the least important first.
    pub files: &'text [OtherFile],
    /// Path of the current file; empty when unknown.
    pub path: &'text str,
    /// What is shown at the top of the text before the cursor: whole lines.
    pub header: &'text str,
    /// The text before the cursor.
    pub prefix: &'text str,
    /// The text after the cursor.
    pub suffix: &'text str,
}

/// The prompt: one text with the family's tokens in it, and none that came from the pieces.
#[must_use]
pub fn render(family: &Family, pieces: &Pieces<'_>) -> String {
    let (first, in_prefix) = files(family, pieces);
    let suffix = [family.suffix, &broken(family, pieces.suffix)].concat();
    let header = broken(family, pieces.header);
    // Broken as one text: a token must not come about where two pieces meet.
    let before = broken(family, pieces.prefix);
    let prefix = [family.prefix, &in_prefix, &header, &before].concat();
    match family.order {
        Order::Psm => [first.as_str(), &prefix, &suffix, family.middle].concat(),
        Order::Spm => [first.as_str(), &suffix, &prefix, family.middle].concat(),
    }
}

/// Other files and the current one's name: what stands in front of everything, and what within the prefix.
fn files(family: &Family, pieces: &Pieces<'_>) -> (String, String) {
    let Some(form) = family.files else { return Default::default() };
    let path = clean_path(family, pieces.path);
    let mut first = String::new();
    if let (Some((before, after)), Some(name)) = (form.repository, pieces.repository) {
        first.push_str(&[before, &clean_path(family, name), after].concat());
    }
    let mut shown = String::new();
    for file in pieces.files {
        let (before, between, after) = form.file;
        let text = broken(family, &file.text);
        shown.push_str(&[before, &clean_path(family, &file.path), between, &text, after].concat());
    }
    let named = !path.is_empty() && (!pieces.files.is_empty() || form.place == Place::First);
    if let (Some((before, after)), true) = (form.current, named) {
        let path_here = if form.path_in_prefix { "" } else { path.as_str() };
        shown.push_str(&[before, path_here, after].concat());
    }
    let in_prefix = if form.path_in_prefix && named { format!("{path}\n") } else { String::new() };
    match form.place {
        Place::First => (first + &shown, in_prefix),
        Place::InPrefix => (first, shown + &in_prefix),
    }
}

/// A path or name as one line without special tokens.
fn clean_path(family: &Family, path: &str) -> String {
    let line: String = path.chars().filter(|character| !character.is_control()).collect();
    broken(family, line.trim()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::FAMILIES;
    use super::*;
    use proptest::prelude::*;

    fn shown(name: &str, files: &[OtherFile]) -> String {
        let family = Family::of_name(name).unwrap();
        render(
            family,
            &Pieces { repository: Some("R"), files, path: "b.py", header: "", prefix: "P", suffix: "S" },
        )
    }

    #[test]
    fn templates_are_those_of_the_families() {
        let other = [OtherFile { path: "a.py".into(), text: "A".into() }];
        let table = [
            ("StarCoder", &[][..], "<fim_prefix>P<fim_suffix>S<fim_middle>"),
            (
                "StarCoder2",
                &other[..],
                "<repo_name>R<file_sep>a.py\nA<file_sep><fim_prefix>b.py\nP<fim_suffix>S<fim_middle>",
            ),
            ("SantaCoder", &[], "<fim-prefix>P<fim-suffix>S<fim-middle>"),
            ("Granite", &[], "<fim_prefix>P<fim_suffix>S<fim_middle>"),
            ("Granite4", &[], "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>"),
            ("CodeLlama", &[], "<PRE> P <SUF>S <MID>"),
            ("DeepSeek", &other[..], "#a.py\nA\n#b.py\n<｜fim▁begin｜>P<｜fim▁hole｜>S<｜fim▁end｜>"),
            (
                "Qwen",
                &other[..],
                "<|repo_name|>R\n<|file_sep|>a.py\nA\n<|file_sep|>b.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
            ),
            (
                "CodeGemma",
                &other[..],
                "a.py\nA<|file_separator|>b.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
            ),
            ("Codestral", &[], "[SUFFIX]S[PREFIX]P"),
            ("Codestral", &other[..], "[SUFFIX]S[PREFIX]+++++ a.py\nA\n\n+++++ b.py\nP"),
            (
                "Mellum",
                &other[..],
                "<filename>a.py\nA\n<filename>b.py\n<fim_suffix>S<fim_prefix>P<fim_middle>",
            ),
            ("SeedCoder", &[], "<[fim-suffix]>S<[fim-prefix]>P<[fim-middle]>"),
            ("GLM", &[], "<|code_prefix|>P<|code_suffix|>S<|code_middle|>"),
            ("FalconCoder", &[], "<|prefix|>P<|suffix|>S<|middle|>"),
            ("CodeGen2", &[], "P<mask_1>S<|endoftext|><sep><mask_1>"),
        ];
        for (name, files, expected) in table {
            assert_eq!(shown(name, files), expected, "{name}");
        }
        for family in FAMILIES {
            assert!(table.iter().any(|(name, _, _)| *name == family.name), "{} has a row", family.name);
        }
    }

    proptest! {
        #[test]
        fn source_never_brings_a_special_token(
            index in 0..FAMILIES.len(),
            parts in proptest::collection::vec(any::<proptest::sample::Index>(), 6),
            noise in "[<>|\\[\\]A-Z_fim▁｜ \n]{0,12}",
        ) {
            let family = &FAMILIES[index];
            let tokens: Vec<&str> = family.specials().collect();
            let text = |at: usize| format!("{noise}{}{noise}", tokens[parts[at].index(tokens.len())]);
            let files = [OtherFile { path: text(0), text: text(1) }];
            let (path, header, prefix, suffix, name) = (text(2), text(3), text(4), text(5), text(0));
            let pieces = Pieces { repository: Some(&name), files: &files, path: &path, header: &header, prefix: &prefix, suffix: &suffix };
            let filled = render(family, &pieces);
            let plain = [OtherFile { path: "x".into(), text: "x".into() }];
            let bare = render(family, &Pieces { repository: Some("x"), files: &plain, path: "x", header: "x", prefix: "x", suffix: "x" });
            for token in tokens {
                prop_assert_eq!(filled.matches(token).count(), bare.matches(token).count(), "{} in {}", token, filled);
            }
        }
    }
}
