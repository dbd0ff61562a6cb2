//! A small lexer that knows strings, comments and brackets of the common language shapes: what the bracket and
//! indentation rules need to tell code from text, in linear time and for files that no parser accepts.

/// How a language writes comments and strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lexis {
    /// Marks that begin a comment up to the end of the line.
    pub line: &'static [&'static str],
    /// Begin and end of comments that span lines.
    pub block: &'static [(&'static str, &'static str)],
    /// `"""` and `'''` hold text over several lines.
    pub triple: bool,
    /// `'` encloses a string; otherwise only a character literal such as `'x'` (so that `'a` may be a lifetime).
    pub single: bool,
    /// A back-quoted string spans lines.
    pub backtick: bool,
    /// Blocks follow from indentation, not from brackets.
    pub offside: bool,
}

const C_LIKE: Lexis = Lexis {
    line: &["//"],
    block: &[("/*", "*/")],
    triple: false,
    single: false,
    backtick: false,
    offside: false,
};
const HASH: Lexis =
    Lexis { line: &["#"], block: &[], triple: false, single: true, backtick: false, offside: false };

impl Lexis {
    /// The lexis of a language by its name as in GitLab's `lang` label; the C shape without comments for unknown ones.
    #[must_use]
    pub fn of(language: &str) -> Lexis {
        match language {
            "python" | "starlark" | "mojo" | "gdscript" => Lexis { triple: true, offside: true, ..HASH },
            "yaml" | "nim" => Lexis { offside: true, ..HASH },
            "ruby" | "bash" | "shell" | "sh" | "zsh" | "fish" | "perl" | "r" | "julia" | "elixir"
            | "crystal" | "toml" | "make" | "makefile" | "cmake" | "dockerfile" | "powershell" | "nix"
            | "awk" => HASH,
            "js" | "ts" | "javascript" | "typescript" | "tsx" | "jsx" | "vue" | "svelte" => {
                Lexis { single: true, backtick: true, ..C_LIKE }
            }
            "go" => Lexis { backtick: true, ..C_LIKE },
            "php" => Lexis { line: &["//", "#"], single: true, ..C_LIKE },
            "dart" | "groovy" => Lexis { single: true, triple: true, ..C_LIKE },
            "hcl" | "terraform" => Lexis { line: &["#", "//"], ..C_LIKE },
            "css" | "scss" => Lexis { line: &[], single: true, ..C_LIKE },
            "java" | "kotlin" | "scala" | "swift" | "csharp" => Lexis { triple: true, ..C_LIKE },
            "lua" | "luau" => Lexis { line: &["--"], block: &[("--[[", "]]")], single: true, ..C_LIKE },
            "sql" => Lexis { line: &["--"], single: true, ..C_LIKE },
            "haskell" | "elm" | "purescript" => {
                Lexis { line: &["--"], block: &[("{-", "-}")], offside: true, ..C_LIKE }
            }
            "ocaml" => Lexis { line: &[], block: &[("(*", "*)")], ..C_LIKE },
            "clojure" | "scheme" | "racket" | "commonlisp" | "elisp" => {
                Lexis { line: &[";"], block: &[], ..C_LIKE }
            }
            "erlang" | "matlab" | "prolog" => Lexis { line: &["%"], block: &[], ..C_LIKE },
            "html" | "xml" => Lexis { line: &[], block: &[("<!--", "-->")], ..C_LIKE },
            "markdown" | "text" => Lexis { line: &[], block: &[], ..C_LIKE },
            _ => C_LIKE,
        }
    }

    /// Does the line hold nothing but a comment?
    #[must_use]
    pub fn is_comment(&self, line: &str) -> bool {
        let line = line.trim();
        self.line.iter().any(|mark| line.starts_with(mark))
            || self.block.iter().any(|(open, _)| line.starts_with(open))
            || (!self.block.is_empty()
                && self.block[0].0 == "/*"
                && (line.starts_with("* ") || line == "*" || line == "*/"))
    }
}

/// Where the lexer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Outside strings and comments.
    Code,
    /// In a comment that ends with the line.
    Line,
    /// In a comment that ends with this mark.
    Block(&'static str),
    /// In a string closed by this byte, once or three times.
    Text {
        /// The quote.
        quote: u8,
        /// Closed by three of them.
        triple: bool,
    },
}

/// One thing the bracket rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An opening bracket.
    Open(u8),
    /// A closing bracket.
    Close(u8),
    /// The first byte after a line feed, with the state there.
    LineStart(State),
}

/// Walks over text, keeping its state from one piece to the next. A piece must not begin within a token.
#[derive(Debug, Clone)]
pub struct Lexer {
    lexis: Lexis,
    state: State,
}

impl Lexer {
    /// At the beginning of a file.
    #[must_use]
    pub fn new(lexis: Lexis) -> Lexer {
        Lexer { lexis, state: State::Code }
    }

    /// Where it stands after what it has read.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Reads a piece and hands each event on with its byte offset in the piece.
    pub fn feed(&mut self, text: &str, mut on: impl FnMut(usize, Event)) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let rest = bytes.get(at..).unwrap_or_default();
            at += match self.state {
                State::Code => self.code(byte, rest, at, &mut on),
                State::Line => {
                    if byte == b'\n' {
                        self.state = State::Code;
                    }
                    1
                }
                State::Block(end) => {
                    if rest.starts_with(end.as_bytes()) {
                        self.state = State::Code;
                        end.len()
                    } else {
                        1
                    }
                }
                State::Text { quote, triple } => self.text(byte, rest, quote, triple),
            };
            if byte == b'\n' {
                on(at, Event::LineStart(self.state));
            }
        }
    }

    fn code(&mut self, byte: u8, rest: &[u8], at: usize, on: &mut impl FnMut(usize, Event)) -> usize {
        match byte {
            b'(' | b'[' | b'{' => on(at, Event::Open(byte)),
            b')' | b']' | b'}' => on(at, Event::Close(byte)),
            _ => {}
        }
        for (open, end) in self.lexis.block {
            if rest.starts_with(open.as_bytes()) {
                self.state = State::Block(end);
                return open.len();
            }
        }
        if self.lexis.line.iter().any(|mark| rest.starts_with(mark.as_bytes())) {
            self.state = State::Line;
            return 1;
        }
        match byte {
            b'"' => self.open_text(byte, rest),
            b'\'' if self.lexis.single => self.open_text(byte, rest),
            b'\'' => character(rest),
            b'`' if self.lexis.backtick => {
                self.state = State::Text { quote: byte, triple: false };
                1
            }
            _ => 1,
        }
    }

    fn open_text(&mut self, quote: u8, rest: &[u8]) -> usize {
        let triple = self.lexis.triple && rest.starts_with(&[quote; 3]);
        self.state = State::Text { quote, triple };
        if triple { 3 } else { 1 }
    }

    fn text(&mut self, byte: u8, rest: &[u8], quote: u8, triple: bool) -> usize {
        if byte == b'\\' {
            // A line feed is never skipped: the caller must see it.
            return if rest.get(1).is_some_and(|next| *next != b'\n') { 2 } else { 1 };
        }
        if triple {
            if rest.starts_with(&[quote; 3]) {
                self.state = State::Code;
                return 3;
            }
        } else if byte == quote || (byte == b'\n' && quote != b'`') {
            // A string that its line does not close is taken as ended there, so that one slip does not swallow the file.
            self.state = State::Code;
        }
        1
    }
}

/// The length of a character literal at the start of `rest`, or 1 when the quote is something else.
fn character(rest: &[u8]) -> usize {
    let end = if rest.get(1) == Some(&b'\\') { 3 } else { 2 };
    rest.iter()
        .enumerate()
        .skip(end)
        .take(9)
        .take_while(|(_, byte)| **byte != b'\n')
        .find(|(at, byte)| {
            **byte == b'\'' && (end == 3 || *at == 2 || rest.get(1).is_some_and(|b| !b.is_ascii()))
        })
        .map_or(1, |(at, _)| at + 1)
}

/// The bracket that closes `open`.
#[must_use]
pub fn closer(open: u8) -> u8 {
    match open {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brackets(language: &str, text: &str) -> String {
        let mut found = String::new();
        Lexer::new(Lexis::of(language)).feed(text, |_, event| match event {
            Event::Open(byte) | Event::Close(byte) => found.push(char::from(byte)),
            Event::LineStart(_) => {}
        });
        found
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let cases = [
            ("python", "f('(', \"[\") # {", "()"),
            ("python", "\"\"\"(\n(\"\"\" [", "["),
            ("python", "'it\\'s (' ]", "]"),
            ("rust", "fn f<'a>(x: &'a str) { '(' ; '\\'' ; b'}' } // (", "(){}"),
            ("js", "`(\n(` + '[' /* { */ }", "}"),
            ("c", "printf(\"%d)\\\")\"); /* ( \n ( */ }", "()}"),
            ("lua", "--[[ ( \n ( ]] f() -- )", "()"),
            ("python", "x = 'unclosed (\n(", "("),
            ("rust", "'é' (", "("),
        ];
        for (language, text, expected) in cases {
            assert_eq!(brackets(language, text), expected, "{language}: {text}");
        }
    }

    #[test]
    fn the_state_goes_on_from_piece_to_piece() {
        let mut lexer = Lexer::new(Lexis::of("python"));
        lexer.feed("x = \"\"\"one\n", |_, _| {});
        assert_eq!(lexer.state(), State::Text { quote: b'"', triple: true });
        lexer.feed("two\"\"\"\n", |_, _| {});
        assert_eq!(lexer.state(), State::Code);
    }
}
