//! Line endings: which a file has, and putting them back into an answer.

use std::borrow::Cow;

/// How lines end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eol {
    /// `\n`.
    #[default]
    Lf,
    /// `\r\n`.
    Crlf,
    /// `\r`.
    Cr,
}

impl Eol {
    /// The characters of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::Crlf => "\r\n",
            Self::Cr => "\r",
        }
    }
}

/// How many lines of a text end in which way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    lf: usize,
    crlf: usize,
    cr: usize,
}

impl Counts {
    pub(super) fn of(text: &str) -> Self {
        let newlines = text.bytes().filter(|byte| *byte == b'\n').count();
        let returns = text.bytes().filter(|byte| *byte == b'\r').count();
        let crlf = if returns == 0 { 0 } else { text.matches("\r\n").count() };
        Self { lf: newlines - crlf, crlf, cr: returns - crlf }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self { lf: self.lf + other.lf, crlf: self.crlf + other.crlf, cr: self.cr + other.cr }
    }

    /// The ending that most lines have; LF where none has more than it.
    pub(super) fn majority(self) -> Eol {
        if self.crlf > self.lf && self.crlf >= self.cr {
            Eol::Crlf
        } else if self.cr > self.lf && self.cr > self.crlf {
            Eol::Cr
        } else {
            Eol::Lf
        }
    }
}

/// Puts a file's line endings into text that has LF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    eol: Eol,
}

impl Restore {
    /// Restores this ending.
    #[must_use]
    pub const fn new(eol: Eol) -> Self {
        Self { eol }
    }

    /// The ending it restores.
    #[must_use]
    pub const fn eol(self) -> Eol {
        self.eol
    }

    /// `text` with the file's line endings. A CRLF that is already there stays one line end.
    #[must_use]
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        if self.eol == Eol::Lf && !text.contains("\r\n") {
            return Cow::Borrowed(text);
        }
        let lf = text.replace("\r\n", "\n");
        Cow::Owned(if self.eol == Eol::Lf { lf } else { lf.replace('\n', self.eol.as_str()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_decides() {
        let table = [("", Eol::Lf), ("a\nb\r\nc\r\n", Eol::Crlf), ("a\nb\r\n", Eol::Lf), ("a\rb\r", Eol::Cr)];
        for (text, eol) in table {
            assert_eq!(Counts::of(text).majority(), eol, "{text:?}");
        }
    }

    #[test]
    fn an_answer_gets_the_file_s_line_endings_once() {
        assert_eq!(Restore::new(Eol::Crlf).apply("a\nb\r\nc"), "a\r\nb\r\nc");
        assert_eq!(Restore::new(Eol::Lf).apply("a\r\nb"), "a\nb");
        assert_eq!(Restore::new(Eol::Cr).apply("a\nb"), "a\rb");
    }
}
