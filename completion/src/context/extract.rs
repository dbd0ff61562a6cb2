//! Context items of a document, by its syntax tree.

use std::ops::Range;

use super::heads;
use super::kinds::{self, Kinds};
use crate::syntax::{self, Caps, Node, Parsed};
use crate::text::Document;

/// Items of a document that are kept.
const MAX_ITEMS: usize = 400;
/// Levels below a node at which its body is looked for.
const BODY_DEPTH: usize = 4;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An import.
    Import,
    /// The head of a class or function round the cursor.
    Head,
    /// The head of a function after the cursor.
    Signature,
}

/// A piece of the document that tells of the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub part: Part,
    /// Where in the whole document.
    pub range: Range<usize>,
    /// Its text, from the beginning of its line where only blanks stand before it.
    pub text: String,
}

/// Bytes at the file's beginning in which imports are looked for, when it is not parsed whole.
const TOP: usize = 4 * 1024;

/// The document's items in its own order. Of a long document only the beginning is parsed, for its imports, and what is
/// round the cursor; heads of what begins before that, or in a language without a grammar, are found by indentation.
#[must_use]
pub fn items(document: &Document, caps: Caps) -> Vec<Item> {
    let Some(language) = document.language() else { return Vec::new() };
    let kinds = kinds::of(language);
    let text = document.whole();
    let cursor = document.prefix().len();
    let parse = |text: &str, caps| match kinds.functions.is_empty() && kinds.imports.is_empty() {
        true => None,
        false => syntax::parse(language, document.file_name(), text, cursor.min(text.len()), caps),
    };
    let Some(near) = parse(&text, caps) else { return heads::above(document.prefix(), cursor) };
    let found = |parsed: &Parsed| {
        let mut found = Finder { text: &text, cursor, kinds, parsed, items: Vec::new() };
        syntax::walk(parsed.root(), |node| found.visit(node));
        found.items
    };
    let start = near.window.start;
    if start == 0 {
        return found(&near);
    }
    let top = text.get(..start).map(|before| lines_within(before, TOP)).unwrap_or_default();
    let top = parse(top, Caps { bytes: TOP, ..caps }).map(|top| found(&top)).unwrap_or_default();
    let imports = top.into_iter().filter(|item| item.part == Part::Import);
    let far = heads::above(document.prefix(), start);
    imports.chain(far).chain(found(&near)).collect()
}

/// The whole lines within so many bytes.
fn lines_within(text: &str, bytes: usize) -> &str {
    match text.as_bytes().get(..bytes) {
        None => text,
        Some(head) => {
            let end = head.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            text.get(..end).unwrap_or_default()
        }
    }
}

struct Finder<'tree> {
    text: &'tree str,
    cursor: usize,
    kinds: Kinds,
    parsed: &'tree Parsed,
    items: Vec<Item>,
}

impl Finder<'_> {
    /// Takes what the node is, and says whether something may stand below it.
    fn visit(&mut self, node: Node<'_>) -> bool {
        if self.items.len() >= MAX_ITEMS {
            return false;
        }
        if !node.is_named() {
            return false;
        }
        let range = self.parsed.range(node);
        let around = range.start < self.cursor && self.cursor <= range.end;
        let is = |rules: &[(&str, &str)]| {
            rules.iter().any(|(kind, word)| *kind == node.kind() && self.first_line(&range).contains(word))
        };
        if is(self.kinds.imports) {
            self.push(Part::Import, range.clone(), range.end);
            return false;
        }
        let (container, function) = (is(self.kinds.containers), is(self.kinds.functions));
        if !(container || function) {
            return true;
        }
        if around {
            if let Some(body) = body(node) {
                self.push(Part::Head, range, self.parsed.window.start + body);
            }
            return true;
        }
        if function && range.start >= self.cursor {
            let end = body(node).map_or(range.end, |body| self.parsed.window.start + body);
            self.push(Part::Signature, range, end);
        }
        container
    }

    fn first_line(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).and_then(|text| text.lines().next()).unwrap_or_default()
    }

    fn push(&mut self, part: Part, range: Range<usize>, end: usize) {
        let line = self.text.get(..range.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let blank = self.text.get(line..range.start).is_some_and(|before| before.trim().is_empty());
        let start = if blank { line } else { range.start };
        if let Some(text) = self.text.get(start..end) {
            self.items.push(Item { part, range, text: text.trim_end().to_owned() });
        }
    }
}

/// Where a node's body begins: after the opening brace or what else belongs to the head's line.
fn body(node: Node<'_>) -> Option<usize> {
    let mut level = vec![node];
    for _ in 0..BODY_DEPTH {
        let mut next = Vec::new();
        for node in level {
            let named = |node: Node<'_>| {
                let kind = node.kind();
                kind.ends_with("body") || kind.ends_with("block") || kind == "compound_statement"
            };
            if let Some(body) = node.child_by_field_name("body") {
                return Some(after_opener(body));
            }
            let mut cursor = node.walk();
            for child in node.named_children(&mut cursor).take(16) {
                if named(child) || child.kind() == "do_block" {
                    return Some(after_opener(child));
                }
                next.push(child);
            }
        }
        level = next.into_iter().take(64).collect();
    }
    None
}

/// A brace, `do` or an arrow belongs to the head; anything else of the body does not.
fn after_opener(body: Node<'_>) -> usize {
    let mut first = body;
    for _ in 0..BODY_DEPTH {
        match first.child(0) {
            Some(child) if matches!(child.kind(), "{" | "do" | "->") => return child.end_byte(),
            Some(child) => first = child,
            None => break,
        }
    }
    body.start_byte()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PATIENT: Caps = Caps { bytes: 1 << 20, time: Duration::from_secs(60) };

    /// File, text with the cursor at `|`, imports, heads, signatures.
    type Case = (
        &'static str,
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );

    /// A document with the cursor at `|`: its imports, heads and signatures.
    fn of(file_name: &str, text: &str) -> [Vec<String>; 3] {
        let (prefix, suffix) = text.split_once('|').unwrap();
        let document = Document::new(prefix, suffix, file_name, None);
        let items = items(&document, PATIENT);
        [Part::Import, Part::Head, Part::Signature].map(|part| {
            items.iter().filter(|item| item.part == part).map(|item| item.text.trim().to_owned()).collect()
        })
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn items_of_the_seed_s_languages() {
        let table: &[Case] = &[
            (
                "a.c",
                "#include <a.h>\nint f(void) {\n  |\n}\nint g(int a) { return a; }\n",
                &["#include <a.h>"],
                &["int f(void) {"],
                &["int g(int a) {"],
            ),
            (
                "a.cpp",
                "#include <a>\nclass A {\n  int f() {\n    |\n  }\n  int g(int a) { return a; }\n};\n",
                &["#include <a>"],
                &["class A {", "int f() {"],
                &["int g(int a) {"],
            ),
            (
                "a.cs",
                "using A;\nclass B {\n  int F() {\n    |\n  }\n  int G(int a) { return a; }\n}\n",
                &["using A;"],
                &["class B {", "int F() {"],
                &["int G(int a) {"],
            ),
            (
                "a.go",
                "package a\n\nimport \"fmt\"\n\nfunc f() {\n\t|\n}\n\nfunc (t *T) g(a int) int { return a }\n",
                &["import \"fmt\""],
                &["func f() {"],
                &["func (t *T) g(a int) int {"],
            ),
            (
                "a.java",
                "import a.B;\nclass C {\n  void f() {\n    |\n  }\n  int g(int a) { return a; }\n}\n",
                &["import a.B;"],
                &["class C {", "void f() {"],
                &["int g(int a) {"],
            ),
            (
                "a.js",
                "import a from 'a';\nclass C {\n  f() {\n    |\n  }\n  g(a) { return a; }\n}\nconst h = (a) => { return a; };\n",
                &["import a from 'a';"],
                &["class C {", "f() {"],
                &["g(a) {", "const h = (a) => {"],
            ),
            (
                "a.php",
                "<?php\nuse A\\B;\nclass C {\n  function f() {\n    |\n  }\n  function g($a) { return $a; }\n}\n",
                &["use A\\B;"],
                &["class C {", "function f() {"],
                &["function g($a) {"],
            ),
            (
                "a.py",
                "import a\nfrom b import c\n\nclass C:\n    def f(self):\n        |pass\n\n    def g(self, a):\n        return a\n",
                &["import a", "from b import c"],
                &["class C:", "def f(self):"],
                &["def g(self, a):"],
            ),
            (
                "a.rb",
                "require 'a'\nclass C\n  def f\n    |x\n  end\n\n  def g(a)\n    a\n  end\nend\n",
                &["require 'a'"],
                &["class C", "def f"],
                &["def g(a)"],
            ),
            (
                "a.rs",
                "use a::B;\nimpl C {\n    fn f() {\n        |\n    }\n    fn g(a: u8) -> u8 { a }\n}\n",
                &["use a::B;"],
                &["impl C {", "fn f() {"],
                &["fn g(a: u8) -> u8 {"],
            ),
            (
                "a.scala",
                "import a.B\nobject C {\n  def f(): Int = {\n    |1\n  }\n  def g(a: Int): Int = { a }\n}\n",
                &["import a.B"],
                &["object C {", "def f(): Int = {"],
                &["def g(a: Int): Int = {"],
            ),
            (
                "a.ts",
                "import a from 'a';\nclass C {\n  f(): void {\n    |\n  }\n  g(a: number): number { return a; }\n}\n",
                &["import a from 'a';"],
                &["class C {", "f(): void {"],
                &["g(a: number): number {"],
            ),
            (
                "a.kt",
                "import a.B\n\nclass C {\n  fun f() {\n    |\n  }\n  fun g(a: Int): Int { return a }\n}\n",
                &["import a.B"],
                &["class C {", "fun f() {"],
                &["fun g(a: Int): Int {"],
            ),
        ];
        check(table);
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn items_of_further_languages() {
        let table: &[Case] = &[
            (
                "a.sh",
                "source a.sh\nf() {\n  |echo\n}\ng() {\n  echo\n}\n",
                &["source a.sh"],
                &["f() {"],
                &["g() {"],
            ),
            (
                "a.lua",
                "local a = require('a')\nfunction f()\n  |x()\nend\nfunction g(a)\n  return a\nend\n",
                &["local a = require('a')"],
                &["function f()"],
                &["function g(a)"],
            ),
            (
                "a.ex",
                "defmodule A do\n  import B\n  def f(a) do\n    |a\n  end\n\n  def g(a) do\n    a\n  end\nend\n",
                &["import B"],
                &["defmodule A do", "def f(a) do"],
                &["def g(a) do"],
            ),
            (
                "a.swift",
                "import A\nclass C {\n  func f() {\n    |\n  }\n  func g(a: Int) -> Int { return a }\n}\n",
                &["import A"],
                &["class C {", "func f() {"],
                &["func g(a: Int) -> Int {"],
            ),
            (
                "a.zig",
                "const std = @import(\"std\");\nfn f() void {\n    |\n}\nfn g(a: u8) u8 {\n    return a;\n}\n",
                &["const std = @import(\"std\");"],
                &["fn f() void {"],
                &["fn g(a: u8) u8 {"],
            ),
            (
                "a.R",
                "library(a)\nf <- function(x) {\n  |x\n}\ng <- function(y) {\n  y\n}\n",
                &["library(a)"],
                &["f <- function(x) {"],
                &["g <- function(y) {"],
            ),
            (
                "a.sol",
                "import \"a.sol\";\ncontract C {\n  function f() public {\n    |\n  }\n  function g(uint a) public { a; }\n}\n",
                &["import \"a.sol\";"],
                &["contract C {", "function f() public {"],
                &["function g(uint a) public {"],
            ),
            (
                "a.groovy",
                "import a.B\nclass C {\n  int f() {\n    |return 1\n  }\n  int g(int a) {\n    return a\n  }\n}\n",
                &["import a.B"],
                &["class C {", "int f() {"],
                &["int g(int a) {"],
            ),
            (
                "a.ps1",
                "Import-Module A\nfunction f {\n  |1\n}\nfunction g {\n  2\n}\n",
                &["Import-Module A"],
                &["function f {"],
                &["function g {"],
            ),
            (
                "a.hs",
                "import A\n\nf x = |x\n\ng :: Int -> Int\ng x = x\n",
                &["import A"],
                &[],
                &["g :: Int -> Int"],
            ),
            (
                "a.erl",
                "-include(\"a.hrl\").\nf(X) -> |X.\ng(Y) -> Y.\n",
                &["-include(\"a.hrl\")."],
                &["f(X) ->"],
                &["g(Y) ->"],
            ),
            (
                "a.proto",
                "syntax = \"proto3\";\nimport \"a.proto\";\nmessage A {\n  |\n}\nmessage B {\n  int32 c = 1;\n}\n",
                &["import \"a.proto\";"],
                &["message A {"],
                &["message B {"],
            ),
            (
                "a.dart",
                "import 'a.dart';\nclass C {\n  void f() {\n    |\n  }\n  int g(int a) { return a; }\n}\n",
                &["import 'a.dart';"],
                &["class C {"],
                &["int g(int a)"],
            ),
        ];
        check(table);
    }

    fn check(table: &[Case]) {
        let mut wrong = Vec::new();
        for (file, text, imports, heads, signatures) in table {
            let found = of(file, text);
            let wanted = [imports, heads, signatures]
                .map(|list| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
            if found != wanted {
                let language = crate::detect(file, None, "").unwrap();
                let tree = syntax::parse(language, file, &text.replace('|', ""), 0, PATIENT).unwrap();
                wrong.push(format!("{file}: {found:?}\n  {}", tree.root().to_sexp()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
