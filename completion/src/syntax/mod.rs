//! Syntax trees, under a cap of bytes and of time. What parses nothing, or not in time, yields `None`, and the caller falls
//! back to lines and indentation.

mod grammars;
mod window;

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

pub use tree_sitter::{Node, Tree, TreeCursor};
use tree_sitter::{ParseOptions, Parser};

use crate::language::Language;

/// How much a parse may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Bytes parsed at most: a window of whole lines round the cursor.
    pub bytes: usize,
    /// Time after which the parse is given up.
    pub time: Duration,
}

impl Default for Caps {
    fn default() -> Self {
        Self { bytes: 128 * 1024, time: Duration::from_millis(20) }
    }
}

/// A tree, and which part of the text it is of.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree. Its offsets count from the window's beginning.
    pub tree: Tree,
    /// The part of the text that was parsed.
    pub window: Range<usize>,
}

impl Parsed {
    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        self.tree.root_node()
    }

    /// A node's bytes in the whole text.
    #[must_use]
    pub fn range(&self, node: Node<'_>) -> Range<usize> {
        self.window.start + node.start_byte()..self.window.start + node.end_byte()
    }

    /// Errors and missing nodes of the tree.
    #[must_use]
    pub fn errors(&self) -> usize {
        if !self.root().has_error() {
            return 0;
        }
        let mut errors = 0;
        walk(self.root(), |node| {
            errors += usize::from(node.is_error() || node.is_missing());
            node.has_error()
        });
        errors
    }
}

/// The grammar of a language, for callers that keep a parser; `file_name` tells dialects apart (TSX).
#[must_use]
pub(crate) fn grammar(language: Language, file_name: &str) -> Option<tree_sitter::Language> {
    grammars::of(language, file_name)
}

/// Whether a language has a grammar.
#[must_use]
pub fn has_grammar(language: Language) -> bool {
    grammars::of(language, "").is_some()
}

/// Parses the text, or the window of it round `cursor` that the caps allow. `file_name` tells dialects apart (TSX).
/// `None` without a grammar or when time is up.
#[must_use]
pub fn parse(language: Language, file_name: &str, text: &str, cursor: usize, caps: Caps) -> Option<Parsed> {
    let grammar = grammars::of(language, file_name)?;
    let window = window::around(text, cursor, caps.bytes);
    let part = text.get(window.clone())?.as_bytes();
    let mut parser = Parser::new();
    parser.set_language(&grammar).ok()?;
    let started = Instant::now();
    let mut in_time = |_: &tree_sitter::ParseState| {
        if started.elapsed() > caps.time { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut in_time);
    let mut read = |offset: usize, _| part.get(offset..).unwrap_or_default();
    let tree = parser.parse_with_options(&mut read, None, Some(options))?;
    Some(Parsed { tree, window })
}

/// Visits nodes from the root on, parents first, in the text's order; below a node only where `visit` says so. Without
/// recursion, for a tree may be as deep as its text is long.
pub fn walk<'tree>(root: Node<'tree>, mut visit: impl FnMut(Node<'tree>) -> bool) {
    let mut cursor = root.walk();
    loop {
        if visit(cursor.node()) && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Caps that a slow machine does not reach.
    const PATIENT: Caps = Caps { bytes: 1 << 20, time: Duration::from_secs(60) };

    #[test]
    fn a_line_of_each_grammar_parses_clean() {
        let table = [
            (Language::Bash, "f() { echo hi; }\n"),
            (Language::C, "int f(void) { return 1; }\n"),
            (Language::Cpp, "class A { int f(); };\n"),
            (Language::Csharp, "class A { int F() { return 1; } }\n"),
            (Language::Css, "a { color: red; }\n"),
            (Language::Dart, "int f() { return 1; }\n"),
            (Language::Elixir, "defmodule A do\n  def f(x), do: x\nend\n"),
            (Language::Erlang, "f(X) -> X.\n"),
            (Language::Go, "package a\n\nfunc f() int { return 1 }\n"),
            (Language::Groovy, "class A {\n  int f() {\n    return 1\n  }\n}\n"),
            (Language::Haskell, "f x = x\n"),
            (Language::Terraform, "resource \"a\" \"b\" {\n  c = 1\n}\n"),
            (Language::Html, "<p>a</p>\n"),
            (Language::Java, "class A { int f() { return 1; } }\n"),
            (Language::Js, "function f() { return 1; }\n"),
            (Language::Json, "{\"a\": 1}\n"),
            (Language::Kotlin, "fun f(): Int { return 1 }\n"),
            (Language::Lua, "function f() return 1 end\n"),
            (Language::Php, "<?php function f() { return 1; }\n"),
            (Language::Powershell, "function f { 1 }\n"),
            (Language::Proto, "syntax = \"proto3\";\nmessage A { int32 b = 1; }\n"),
            (Language::Python, "def f():\n    return 1\n"),
            (Language::R, "f <- function(x) { x }\n"),
            (Language::Ruby, "def f\n  1\nend\n"),
            (Language::Rust, "fn f() -> u8 { 1 }\n"),
            (Language::Scala, "object A { def f(): Int = 1 }\n"),
            (Language::Solidity, "contract A { function f() public {} }\n"),
            (Language::Swift, "func f() -> Int { return 1 }\n"),
            (Language::Toml, "a = 1\n"),
            (Language::Ts, "function f(): number { return 1; }\n"),
            (Language::Yaml, "a: 1\n"),
            (Language::Zig, "fn f() u8 { return 1; }\n"),
        ];
        for (language, text) in table {
            let parsed = parse(language, "", text, 0, PATIENT).unwrap_or_else(|| panic!("{language:?}"));
            assert_eq!(parsed.errors(), 0, "{language:?}: {}", parsed.root().to_sexp());
        }
        assert!(parse(Language::Ts, "a.tsx", "const a = <p>b</p>;\n", 0, PATIENT).unwrap().errors() == 0);
        assert!(parse(Language::Cobol, "", "x", 0, PATIENT).is_none());
    }

    #[test]
    fn only_a_window_round_the_cursor_is_parsed() {
        let text = "x = 1\n".repeat(10_000);
        let parsed = parse(Language::Python, "", &text, 30_000, Caps { bytes: 1000, ..PATIENT }).unwrap();
        assert!(parsed.window.len() <= 1000 && parsed.window.contains(&30_000));
        assert_eq!(text.as_bytes().get(parsed.window.start - 1), Some(&b'\n'));
        assert_eq!(parsed.range(parsed.root()), parsed.window);
    }

    #[test]
    fn a_parse_ends_when_its_time_is_up() {
        let text = "((((((((((\n".repeat(10_000);
        let caps = Caps { bytes: 1 << 20, time: Duration::ZERO };
        assert!(parse(Language::Js, "", &text, 0, caps).is_none());
    }

    #[test]
    fn a_hundred_kilobytes_of_brackets_end_neither_the_stack_nor_patience() {
        let caps = Caps { bytes: 128 * 1024, time: Duration::from_secs(2) };
        for language in [Language::Python, Language::Js, Language::Rust, Language::Json, Language::Ruby] {
            for bracket in ["(", "([{"] {
                let text = bracket.repeat(100 * 1024 / bracket.len());
                let started = Instant::now();
                if let Some(parsed) = parse(language, "", &text, text.len(), caps) {
                    assert!(parsed.errors() > 0, "{language:?}");
                }
                assert!(started.elapsed() < Duration::from_secs(60), "{language:?} {bracket}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_and_no_cursor_makes_a_parse_fail(
            text in any::<String>(),
            language in proptest::sample::select(Language::ALL),
            cursor in 0_usize..200,
            bytes in 0_usize..100,
        ) {
            for caps in [PATIENT, Caps { bytes, ..PATIENT }] {
                if let Some(parsed) = parse(language, "f", &text, cursor, caps) {
                    prop_assert!(text.get(parsed.window.clone()).is_some());
                    let _ = parsed.errors();
                }
            }
        }
    }
}
