//! A document's language, from the surest sign to the weakest: base name, extension (as written, then in lower case), what
//! the editor calls it, a shebang or modeline in its first lines.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Language, words};

/// Bytes of a document's beginning in which a shebang or modeline is looked for.
const HEAD: usize = 1024;
/// Lines of it.
const HEAD_LINES: usize = 5;

/// Every way to name a language, once.
struct Names {
    base_names: HashMap<&'static str, Language>,
    extensions: HashMap<&'static str, Language>,
    /// Labels and aliases.
    ids: HashMap<&'static str, Language>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names { base_names: HashMap::new(), extensions: HashMap::new(), ids: HashMap::new() };
    for language in Language::ALL {
        let info = language.info();
        names.base_names.extend(words(info.base_names).map(|name| (name, *language)));
        names.extensions.extend(words(info.extensions).map(|extension| (extension, *language)));
        names.ids.extend(words(info.aliases).map(|alias| (alias, *language)));
        names.ids.insert(info.id, *language);
    }
    names
});

/// The language of a document with this name, which the editor calls `language_identifier` and which begins with `text`.
#[must_use]
pub fn detect(file_name: &str, language_identifier: Option<&str>, text: &str) -> Option<Language> {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    by_base_name(base)
        .or_else(|| by_extension(base))
        .or_else(|| language_identifier.and_then(by_identifier))
        .or_else(|| by_content(text))
}

fn by_base_name(base: &str) -> Option<Language> {
    let names = &NAMES.base_names;
    // `Dockerfile.dev` is as much a Dockerfile as `Dockerfile`.
    let stem = base
        .split_once('.')
        .map(|(stem, _)| stem)
        .filter(|stem| *stem == "Dockerfile" || *stem == "Makefile");
    names.get(base).or_else(|| names.get(stem?)).copied()
}

fn by_extension(base: &str) -> Option<Language> {
    let (stem, extension) = base.rsplit_once('.')?;
    // A name that only begins with a dot has no extension.
    if stem.trim_start_matches('.').is_empty() {
        return None;
    }
    let names = &NAMES.extensions;
    names.get(extension).or_else(|| names.get(extension.to_lowercase().as_str())).copied()
}

fn by_identifier(identifier: &str) -> Option<Language> {
    let lower = identifier.trim().to_lowercase();
    NAMES.ids.get(lower.as_str()).copied().or_else(|| by_extension(&format!("x.{lower}")))
}

fn by_content(text: &str) -> Option<Language> {
    let mut end = text.len().min(HEAD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = text.get(..end).unwrap_or_default();
    let shebang = head.lines().next().and_then(shebang);
    shebang.or_else(|| head.lines().take(HEAD_LINES).find_map(modeline)).or_else(|| by_opening(head))
}

/// `#!/usr/bin/env -S python3.12 -u` → Python.
fn shebang(line: &str) -> Option<Language> {
    let command = line.strip_prefix("#!")?;
    let mut parts = command.split_whitespace().map(|part| part.rsplit('/').next().unwrap_or_default());
    let mut program = parts.next()?;
    if program == "env" {
        program = parts.find(|part| !part.starts_with('-') && !part.contains('='))?;
    }
    by_identifier(program)
        .or_else(|| by_identifier(program.trim_end_matches(|end: char| end.is_ascii_digit() || end == '.')))
}

/// `vim: set ft=ruby :` and `-*- mode: ruby -*-`.
fn modeline(line: &str) -> Option<Language> {
    let emacs = || {
        let inner = line.split("-*-").nth(1)?.trim();
        let mode = inner.split(';').find_map(|part| part.trim().strip_prefix("mode:")).unwrap_or(inner);
        by_identifier(mode)
    };
    let vim = || {
        let rest = line.split_once("vim:").or_else(|| line.split_once("vi:"))?.1;
        rest.split([' ', ':', '\t'])
            .find_map(|part| part.strip_prefix("ft=").or_else(|| part.strip_prefix("filetype=")))
            .and_then(by_identifier)
    };
    emacs().or_else(vim)
}

/// Openings that say the language by themselves.
fn by_opening(head: &str) -> Option<Language> {
    let start = head.trim_start();
    let table = [
        ("<?php", Language::Php),
        ("<?xml", Language::Xml),
        ("<!DOCTYPE html", Language::Html),
        ("<!doctype html", Language::Html),
    ];
    table.into_iter().find(|(opening, _)| start.starts_with(opening)).map(|(_, language)| language)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_surest_sign_decides() {
        let table = [
            ("src/main.rs", None, "", Some(Language::Rust)),
            ("a/Dockerfile", None, "", Some(Language::Dockerfile)),
            ("Dockerfile.dev", None, "", Some(Language::Dockerfile)),
            ("lib/Rakefile", Some("python"), "", Some(Language::Ruby)),
            ("x.C", None, "", Some(Language::Cpp)),
            ("x.c", None, "", Some(Language::C)),
            ("MAIN.PY", None, "", Some(Language::Python)),
            ("a\\b\\c.tsx", None, "", Some(Language::Ts)),
            (".py", None, "", None),
            ("untitled", Some("javascriptreact"), "", Some(Language::Js)),
            ("Untitled-1", Some("C++"), "", Some(Language::Cpp)),
            ("run", None, "#!/usr/bin/env -S A=b python3.12 -u\n", Some(Language::Python)),
            ("run", None, "#!/bin/sh\n", Some(Language::Bash)),
            ("run", None, "# -*- mode: ruby -*-\n", Some(Language::Ruby)),
            ("run", None, "\n# vim: set ft=lua :\n", Some(Language::Lua)),
            ("page", None, "<?php echo 1;", Some(Language::Php)),
            ("notes", None, "hello", None),
            ("x.unknown", Some("rust"), "", Some(Language::Rust)),
            ("", None, "", None),
        ];
        for (name, editor, text, expected) in table {
            assert_eq!(detect(name, editor, text), expected, "{name} {editor:?} {text}");
        }
    }

    #[test]
    fn the_extensions_of_the_original_keep_their_language() {
        let table = [
            ("c", "c h"),
            ("cpp", "cpp hpp c++ h++ cc hh C H"),
            ("csharp", "cs"),
            ("go", "go"),
            ("java", "java"),
            ("js", "js jsx"),
            ("php", "php php3 php4 php5 phps phpt"),
            ("python", "py"),
            ("ruby", "rb"),
            ("rust", "rs"),
            ("scala", "scala"),
            ("ts", "ts tsx"),
            ("kotlin", "kt kts"),
        ];
        for (id, extensions) in table {
            for extension in extensions.split(' ') {
                let found = detect(&format!("f.{extension}"), None, "").map(Language::id);
                assert_eq!(found, Some(id), "{extension}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_name_and_no_text_makes_it_fail(name in any::<String>(), editor in any::<Option<String>>(), text in any::<String>()) {
            let _ = detect(&name, editor.as_deref(), &text);
            let _ = detect("x", None, &format!("#!{text}"));
            let _ = detect("x", None, &format!("-*-{text}-*- vim:{text}"));
        }
    }
}
