//! A document with the cursor in it, as a completion request brings it.

use super::eol::{Counts, Restore};
use super::{Eol, SourceText};
use crate::language::{Language, detect};

/// What stands before and after the cursor, as LF text, and what is known of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    before: SourceText,
    after: SourceText,
    file_name: String,
    language_identifier: Option<String>,
    language: Option<Language>,
}

impl Document {
    /// Normalises both parts with the line ending that most lines of the whole have, and finds out the language.
    #[must_use]
    pub fn new(prefix: &str, suffix: &str, file_name: &str, language_identifier: Option<&str>) -> Self {
        // A cursor within a CRLF stands before it: half a line end belongs to neither side.
        let split = prefix.ends_with('\r') && suffix.starts_with('\n');
        let prefix = if split { prefix.get(..prefix.len() - 1).unwrap_or_default() } else { prefix };
        let lines_after = if split { suffix.get(1..).unwrap_or_default() } else { suffix };
        let mut counts = Counts::of(prefix).plus(Counts::of(lines_after));
        if split {
            counts = counts.plus(Counts::of("\r\n"));
        }
        let eol = counts.majority();
        let before = SourceText::with_eol(prefix, eol);
        // A mark at the cursor is no mark of the file, but it is not text that a model should see either.
        let after = SourceText::with_eol(suffix, eol);
        let language = detect(file_name, language_identifier, before.text());
        Self {
            before,
            after,
            file_name: file_name.to_owned(),
            language_identifier: language_identifier.map(str::to_owned),
            language,
        }
    }

    /// Text before the cursor.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.before.text()
    }

    /// Text after the cursor.
    #[must_use]
    pub fn suffix(&self) -> &str {
        self.after.text()
    }

    /// Text before the cursor, with the map back to the original's offsets.
    #[must_use]
    pub const fn before(&self) -> &SourceText {
        &self.before
    }

    /// Text after the cursor, with the map back to the original's offsets.
    #[must_use]
    pub const fn after(&self) -> &SourceText {
        &self.after
    }

    /// Name of the file, as the editor gave it: empty, a base name or a relative path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// What the editor calls the language.
    #[must_use]
    pub fn language_identifier(&self) -> Option<&str> {
        self.language_identifier.as_deref()
    }

    /// The language, where known.
    #[must_use]
    pub const fn language(&self) -> Option<Language> {
        self.language
    }

    /// The line ending of most of its lines.
    #[must_use]
    pub const fn eol(&self) -> Eol {
        self.before.eol()
    }

    /// The way back to the document's own line endings, for an answer.
    #[must_use]
    pub const fn restore(&self) -> Restore {
        self.before.restore()
    }

    /// Both parts as one text; the cursor is at the length of [`Document::prefix`].
    #[must_use]
    pub fn whole(&self) -> String {
        [self.prefix(), self.suffix()].concat()
    }

    /// The cursor's line up to the cursor.
    #[must_use]
    pub fn line_before(&self) -> &str {
        self.prefix().rsplit('\n').next().unwrap_or_default()
    }

    /// The cursor's line from the cursor on.
    #[must_use]
    pub fn line_after(&self) -> &str {
        self.suffix().split('\n').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_majority_of_the_whole_decides_for_both_parts() {
        let document = Document::new("\u{feff}a\r\nb\r", "\nc\n", "x.py", None);
        assert_eq!((document.prefix(), document.suffix()), ("a\nb", "\nc\n"));
        assert_eq!(document.eol(), Eol::Crlf);
        assert_eq!(document.language(), Some(Language::Python));
        assert_eq!((document.line_before(), document.line_after()), ("b", ""));
    }

    proptest! {
        #[test]
        fn any_text_cut_anywhere_makes_a_document(text in "[a{}\r\n\u{feff}äé😀 ]{0,60}", cut in any::<proptest::sample::Index>()) {
            let mut at = cut.index(text.len() + 1);
            while !text.is_char_boundary(at) { at -= 1; }
            let (prefix, suffix) = text.split_at(at);
            let document = Document::new(prefix, suffix, "f", None);
            let eol = document.eol();
            prop_assert!(!document.prefix().contains("\r\n") && !document.suffix().contains("\r\n"));
            if eol == Eol::Crlf && !text.replace("\r\n", "").contains(['\r', '\n', '\u{feff}']) {
                prop_assert_eq!(document.restore().apply(&document.whole()).into_owned(), text);
            }
        }
    }
}
