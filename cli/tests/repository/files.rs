//! Rules about files: their length, words that must not stand in them, examples that are named.

use crate::{none, sources, texts};

/// Lines a source file may have before its tests.
const MAX_LINES: usize = 400;

#[test]
fn no_source_file_is_longer_than_its_budget() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(path, text)| (path, lines_before_tests(text)))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    none(&long, "files over 400 lines before their tests; split them by what they do");
}

/// Lines up to the first `#[cfg(test)]` that stands at the left margin.
fn lines_before_tests(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

#[test]
fn lines_are_counted_up_to_the_tests() {
    assert_eq!(lines_before_tests("a\nb\n#[cfg(test)]\nmod tests {}\n"), 2);
    assert_eq!(lines_before_tests("a\n    #[cfg(test)]\nb\n"), 3);
}

#[test]
fn no_file_holds_a_path_of_somebodys_machine() {
    // Spelled in two pieces, so that this file passes its own test.
    let forbidden = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut findings = Vec::new();
    for (path, text) in texts(".") {
        for (number, line) in text.lines().enumerate() {
            for word in forbidden.iter().filter(|word| starts_a_path(line, word)) {
                findings.push(format!("{path}:{}: {word}", number + 1));
            }
        }
    }
    none(&findings, "absolute paths of one machine; use a relative path or a variable");
}

/// Whether `word` stands in the line as the beginning of an absolute path, and not within a longer one or a URL.
fn starts_a_path(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|character| !(character.is_alphanumeric() || "._-}/)".contains(character)))
    })
}

#[test]
fn only_the_beginning_of_a_path_counts() {
    let word = concat!("/wo", "rk/");
    assert!(starts_a_path(&format!("cd {word}main"), word));
    assert!(starts_a_path(&format!("{word}main"), word));
    assert!(!starts_a_path(&format!("/opt{word}main"), word));
    assert!(!starts_a_path(&format!("https://example.com{word}x"), word));
}

#[test]
fn every_example_is_named_in_the_documentation() {
    let pages = crate::documentation::pages();
    let unnamed: Vec<String> = texts("examples")
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.ends_with(".yaml"))
        .filter(|path| !pages.iter().any(|(_, page)| page.contains(path.as_str())))
        .collect();
    none(&unnamed, "examples that neither README.md nor a page of docs/ names");
}
