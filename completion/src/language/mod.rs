//! Which language a document is in, and what the engine must know of it: comments, what opens a block, what begins a
//! top-level statement. The facts stand in `table.rs`; grammars are the business of [`crate::syntax`].

mod detect;
mod table;

pub use detect::detect;
pub use table::Language;

/// How comments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comments {
    /// What makes the rest of a line a comment.
    pub line: Option<&'static str>,
    /// What opens and closes a comment within lines.
    pub block: Option<(&'static str, &'static str)>,
}

impl Comments {
    const APOSTROPHE: Self = Self { line: Some("'"), block: None };
    const BANG: Self = Self { line: Some("!"), block: None };
    const CBLOCK: Self = Self { line: None, block: Some(("/*", "*/")) };
    const DASH: Self = Self { line: Some("--"), block: None };
    const HASH: Self = Self { line: Some("#"), block: None };
    const HTML: Self = Self { line: None, block: Some(("<!--", "-->")) };
    const ML: Self = Self { line: None, block: Some(("(*", "*)")) };
    const NONE: Self = Self { line: None, block: None };
    const PERCENT: Self = Self { line: Some("%"), block: None };
    const QUOTE: Self = Self { line: Some("\""), block: None };
    const REM: Self = Self { line: Some("REM"), block: None };
    const SEMICOLON: Self = Self { line: Some(";"), block: None };
    const SLASH: Self = Self { line: Some("//"), block: Some(("/*", "*/")) };
    const STAR: Self = Self { line: Some("*>"), block: None };
    const TLA: Self = Self { line: Some("\\*"), block: Some(("(*", "*)")) };
}

/// What opens a block at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// `{`.
    Braces,
    /// A colon; the block is what is indented further.
    Colon,
    /// A word such as `do`, `then` or `def`; the block ends with another word.
    Keywords,
    /// `->`.
    Arrow,
    /// Tags.
    Markup,
    /// Nothing that could be told from a line's end.
    Plain,
}

/// Words that open a block when a line ends with them, in languages of [`Blocks::Keywords`].
const OPENING_ENDS: [&str; 8] = ["do", "then", "begin", "else", "is", "begin:", "loop", "in"];
/// Words that open a block when a line begins with them, in languages of [`Blocks::Keywords`].
const OPENING_STARTS: [&str; 15] = [
    "def", "class", "module", "function", "if", "unless", "while", "until", "for", "case", "begin", "local",
    "sub", "struct", "macro",
];

impl Language {
    /// Lower-case label, as GitLab's gateways write it in `lang`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.info().id
    }

    /// The name that people use.
    #[must_use]
    pub const fn human(self) -> &'static str {
        self.info().human
    }

    /// How comments are written.
    #[must_use]
    pub const fn comments(self) -> Comments {
        self.info().comments
    }

    /// What opens a block.
    #[must_use]
    pub const fn blocks(self) -> Blocks {
        self.info().blocks
    }

    /// Extensions, without the dot.
    pub fn extensions(self) -> impl Iterator<Item = &'static str> {
        words(self.info().extensions)
    }

    /// Base names of files that are in it whatever their extension.
    pub fn base_names(self) -> impl Iterator<Item = &'static str> {
        words(self.info().base_names)
    }

    /// Words that begin a statement at the top level of a file.
    pub fn top_level_keywords(self) -> impl Iterator<Item = &'static str> {
        words(self.info().top_level)
    }

    /// Whether the thirteen languages of GitLab's gateway of 2023 have it.
    #[must_use]
    pub fn is_seed(self) -> bool {
        self <= Self::Kotlin
    }

    /// The language of a label, as [`Language::id`] writes it.
    #[must_use]
    pub fn of_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|language| language.id() == id)
    }

    /// `text` as a comment: every line is marked. `None` where the language has no comments.
    #[must_use]
    pub fn comment(self, text: &str) -> Option<String> {
        let comments = self.comments();
        if let Some(mark) = comments.line {
            let lines: Vec<String> =
                text.split('\n').map(|line| format!("{mark} {line}").trim_end().to_owned()).collect();
            return Some(lines.join("\n"));
        }
        let (open, close) = comments.block?;
        // What closes a comment must not stand in one.
        let lines: Vec<String> = text
            .split('\n')
            .map(|line| format!("{open} {} {close}", line.replace(close, "").replace(open, "")))
            .collect();
        Some(lines.join("\n"))
    }

    /// Whether a line opens a block that the next line stands in.
    #[must_use]
    pub fn opens_block(self, line: &str) -> bool {
        let line = line.trim();
        let last = line.rsplit(char::is_whitespace).next().unwrap_or_default();
        let first = line.split(|character: char| !character.is_alphanumeric()).next().unwrap_or_default();
        match self.blocks() {
            Blocks::Braces => line.ends_with('{'),
            Blocks::Colon => line.ends_with(':'),
            Blocks::Keywords => {
                OPENING_ENDS.contains(&last)
                    || (OPENING_STARTS.contains(&first) && !line.ends_with("end") && last != ";")
                    || line.ends_with('{')
            }
            Blocks::Arrow => line.ends_with("->"),
            Blocks::Markup => line.ends_with('>') && !line.ends_with("/>") && !line.contains("</"),
            Blocks::Plain => false,
        }
    }
}

fn words(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split(' ').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_label_an_extension_and_a_base_name_belong_to_one_language() {
        let mut seen = BTreeMap::new();
        for language in Language::ALL {
            let info = language.info();
            let all = std::iter::once(format!("id {}", info.id))
                .chain(words(info.extensions).map(|extension| format!("extension {extension}")))
                .chain(words(info.base_names).map(|name| format!("base name {name}")))
                .chain(
                    words(info.aliases)
                        .filter(|alias| *alias != info.id)
                        .map(|alias| format!("alias {alias}")),
                );
            for name in all {
                let before = seen.insert(name.clone(), *language);
                assert!(before.is_none(), "{name}: {before:?} and {language:?}");
            }
            assert_eq!(Language::of_id(info.id), Some(*language));
        }
        assert_eq!(Language::ALL.iter().filter(|language| language.is_seed()).count(), 13);
    }

    #[test]
    fn every_line_of_a_comment_is_marked() {
        assert_eq!(Language::Python.comment("a\nb").unwrap(), "# a\n# b");
        assert_eq!(Language::Css.comment("a */ b").unwrap(), "/* a  b */");
        assert_eq!(Language::Json.comment("a"), None);
    }

    #[test]
    fn lines_that_open_blocks() {
        let table = [
            (Language::Python, "def f(x):", true),
            (Language::Python, "x = {", false),
            (Language::Rust, "fn f() {", true),
            (Language::Rust, "let a = 1;", false),
            (Language::Ruby, "def call(env)", true),
            (Language::Ruby, "items.each do", true),
            (Language::Ruby, "puts 1", false),
            (Language::Lua, "if a then", true),
            (Language::Erlang, "loop(S) ->", true),
            (Language::Html, "<div>", true),
            (Language::Html, "<br/>", false),
        ];
        for (language, line, opens) in table {
            assert_eq!(language.opens_block(line), opens, "{language:?} {line}");
        }
    }
}
