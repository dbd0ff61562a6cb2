//! JSON as Python's `json` module reads it: `NaN` and `Infinity` are numbers, integers have any size up to 4300 digits,
//! and errors carry Python's words and positions, which clients see in a 422.

use super::python;

/// Deeper nesting is refused as Python refuses what overflows its stack.
const MAX_DEPTH: usize = 200;
/// Python refuses to convert longer integers.
const MAX_INTEGER_DIGITS: usize = 4300;

/// A value as Python holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// In canonical decimal digits.
    Integer(String),
    Float(f64),
    /// Lone surrogates are U+FFFD.
    Text(String),
    Array(Vec<Value>),
    /// In order of appearance, repetitions included; the last one of a name counts.
    Object(Vec<(String, Value)>),
}

/// Why a text is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    /// Python's `JSONDecodeError`.
    Syntax {
        /// Python's words.
        message: &'static str,
        /// Where, in bytes, at the start of a character.
        at: usize,
    },
    /// Too deep, or an integer too long: other exceptions in Python.
    Limit,
}

type Parsed<T> = Result<T, JsonError>;

/// Reads a whole document.
pub(super) fn parse(text: &str) -> Parsed<Value> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0 };
    parser.skip_space();
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at == text.len() { Ok(value) } else { parser.fail("Extra data") }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, message: &'static str) -> Parsed<T> {
        Err(JsonError::Syntax { message, at: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn rest_starts_with(&self, word: &str) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()))
    }

    fn value(&mut self, depth: usize) -> Parsed<Value> {
        if depth > MAX_DEPTH {
            return Err(JsonError::Limit);
        }
        const WORDS: [(&str, Value); 6] = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ];
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            _ => {
                for (word, value) in WORDS {
                    if self.rest_starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                self.number()
            }
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Value> {
        let mut members = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail("Expecting property name enclosed in double quotes");
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return self.fail("Expecting ':' delimiter");
            }
            self.skip_space();
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return self.fail("Expecting ',' delimiter");
            }
            self.skip_space();
        }
    }

    fn array(&mut self, depth: usize) -> Parsed<Value> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return self.fail("Expecting ',' delimiter");
            }
            self.skip_space();
        }
    }

    /// The string whose opening quote is next.
    fn string(&mut self) -> Parsed<String> {
        let begin = self.at;
        let unterminated = JsonError::Syntax { message: "Unterminated string starting at", at: begin };
        let mut out = String::new();
        self.at += 1;
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte > 0x1f && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            out.push_str(self.text.get(start..self.at).unwrap_or_default());
            match self.peek() {
                None => return Err(unterminated),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') if self.at + 1 == self.bytes.len() => return Err(unterminated),
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return self.fail("Invalid control character at"),
            }
        }
    }

    /// The escape whose backslash is next.
    fn escape(&mut self) -> Parsed<char> {
        let plain = match self.bytes.get(self.at + 1) {
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return self.fail("Invalid \\escape"),
        };
        self.at += 2;
        Ok(plain)
    }

    /// The escape whose `u` is next; two that are a surrogate pair are one character.
    fn unicode_escape(&mut self) -> Parsed<char> {
        let first = self.four_digits()?;
        if (0xd800..0xdc00).contains(&first) && self.rest_starts_with("\\u") {
            let after_first = self.at;
            self.at += 1;
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = after_first;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Four digits after the `u` that is next. Python also asks for one more character, whatever it is.
    fn four_digits(&mut self) -> Parsed<u32> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).filter(|_| self.at + 5 < self.bytes.len());
        let read = digits.and_then(|digits| {
            digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
        });
        let Some(code) = read else { return self.fail("Invalid \\uXXXX escape") };
        self.at += 5;
        Ok(code)
    }

    fn number(&mut self) -> Parsed<Value> {
        let start = self.at;
        let sign = usize::from(self.take(b'-'));
        if self.take(b'0') {
            // No digit may follow; one that does is an error of whatever comes next.
        } else if self.skip_digits() == 0 {
            self.at = start;
            return self.fail("Expecting value");
        }
        let whole = self.at;
        if self.take(b'.') && self.skip_digits() == 0 {
            self.at = whole;
        }
        let mantissa = self.at;
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            if self.skip_digits() == 0 {
                self.at = mantissa;
            }
        }
        let number = self.text.get(start..self.at).unwrap_or_default();
        if self.at > whole {
            return Ok(Value::Float(number.parse().unwrap_or(f64::NAN)));
        }
        if number.len() - sign > MAX_INTEGER_DIGITS {
            return Err(JsonError::Limit);
        }
        Ok(Value::Integer(python::canonical(number)))
    }

    fn skip_digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }
}
