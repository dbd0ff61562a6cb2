//! Source text as the engine handles it: UTF-8 with LF alone and no byte-order mark, and the way back to what the file has.
//!
//! Editors send files as they are. A model, a syntax tree and a line-wise rule must all see the same lines, so text is
//! normalised once, here, and every answer goes back through [`Restore`]. All offsets are bytes on character boundaries.

mod document;
mod eol;

pub use document::Document;
pub use eol::{Eol, Restore};

use eol::Counts;

/// The byte-order mark that some editors put in front of a file.
const BOM: char = '\u{feff}';

/// A text as LF text, with the map back to the original's offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    text: String,
    eol: Eol,
    bom: bool,
    /// Offsets in `text` before which a CR was left out, ascending.
    removed: Vec<usize>,
}

impl SourceText {
    /// Normalises a text; the line ending that most of its lines have is the one to restore.
    #[must_use]
    pub fn new(original: &str) -> Self {
        let eol = Counts::of(original).majority();
        Self::with_eol(original, eol)
    }

    /// Normalises a part of a file that has this line ending.
    #[must_use]
    pub fn with_eol(original: &str, eol: Eol) -> Self {
        let bom = original.starts_with(BOM);
        let body = original.strip_prefix(BOM).unwrap_or(original);
        let (text, removed) =
            if body.contains('\r') { normalise(body, eol) } else { (body.to_owned(), Vec::new()) };
        Self { text, eol, bom, removed }
    }

    /// The text, with LF and without a byte-order mark.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line ending that its lines had for the most part.
    #[must_use]
    pub const fn eol(&self) -> Eol {
        self.eol
    }

    /// Whether it began with a byte-order mark.
    #[must_use]
    pub const fn has_bom(&self) -> bool {
        self.bom
    }

    /// The way back to the file's own line endings.
    #[must_use]
    pub const fn restore(&self) -> Restore {
        Restore::new(self.eol)
    }

    /// The whole text as the file would have it; the original again, if all its lines ended alike.
    #[must_use]
    pub fn restored(&self) -> String {
        let mark = if self.bom { "\u{feff}" } else { "" };
        format!("{mark}{}", self.restore().apply(&self.text))
    }

    /// Where an offset of the normalised text is in the original. The beginning of a line's end maps to that of its CRLF.
    #[must_use]
    pub fn original_offset(&self, offset: usize) -> usize {
        let left_out = self.removed.partition_point(|removed| *removed < offset);
        offset + left_out + self.mark()
    }

    /// Where an offset of the original is in the normalised text; within a CRLF or a byte-order mark, where that begins.
    #[must_use]
    pub fn normalised_offset(&self, offset: usize) -> usize {
        let offset = offset.saturating_sub(self.mark());
        // The n-th CR left out stood n bytes further on in the original.
        let mut low = 0;
        let mut high = self.removed.len();
        while low < high {
            let middle = low + (high - low) / 2;
            if self.removed.get(middle).is_some_and(|removed| removed + middle < offset) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (offset - low).min(self.text.len())
    }

    fn mark(&self) -> usize {
        if self.bom { BOM.len_utf8() } else { 0 }
    }
}

/// CRLF becomes LF (and CR CR LF too, which comes of converting twice), and so does a lone CR where that is how lines end.
/// Returns where CRs were left out.
fn normalise(text: &str, eol: Eol) -> (String, Vec<usize>) {
    let mut normal = String::with_capacity(text.len());
    let mut removed = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\r') {
        let (before, from) = rest.split_at(at);
        normal.push_str(before);
        let after = from.trim_start_matches('\r');
        let run = from.len() - after.len();
        if after.starts_with('\n') {
            removed.resize(removed.len() + run, normal.len());
        } else {
            normal.push_str(&(if eol == Eol::Cr { "\n" } else { "\r" }).repeat(run));
        }
        rest = after;
    }
    normal.push_str(rest);
    (normal, removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_become_lf_and_offsets_are_kept() {
        let text = SourceText::new("\u{feff}a\r\nä\r\n\r\nb");
        assert_eq!((text.text(), text.eol(), text.has_bom()), ("a\nä\n\nb", Eol::Crlf, true));
        assert_eq!(text.original_offset(0), 3);
        assert_eq!(text.original_offset(1), 4);
        assert_eq!(text.original_offset(2), 6);
        assert_eq!(text.normalised_offset(5), 1, "within a CRLF");
        assert_eq!(text.normalised_offset(1), 0, "within a byte-order mark");
        assert_eq!(text.restored(), "\u{feff}a\r\nä\r\n\r\nb");
    }

    #[test]
    fn a_stray_cr_in_a_file_of_lf_is_text() {
        assert_eq!(SourceText::new("a\rb\nc\n").text(), "a\rb\nc\n");
        assert_eq!(SourceText::new("a\rb\rc\r").text(), "a\nb\nc\n");
    }

    /// Lines of any characters but line ends, and which of the three ends they all have.
    fn uniform() -> impl Strategy<Value = (String, Eol)> {
        let eol = prop_oneof![Just(Eol::Lf), Just(Eol::Crlf), Just(Eol::Cr)];
        (proptest::collection::vec("[^\r\n]{0,12}", 1..12), eol, any::<bool>()).prop_map(
            |(lines, eol, bom)| {
                let mark = if bom { "\u{feff}" } else { "" };
                (format!("{mark}{}", lines.join(eol.as_str())), eol)
            },
        )
    }

    proptest! {
        #[test]
        fn a_file_whose_lines_end_alike_comes_back_as_it_was((original, _) in uniform()) {
            prop_assert_eq!(SourceText::new(&original).restored(), original);
        }

        #[test]
        fn offsets_go_there_and_back(original in "[a\r\n\u{feff}äé😀]{0,40}") {
            let text = SourceText::new(&original);
            for (offset, _) in text.text().char_indices().chain([(text.text().len(), ' ')]) {
                let there = text.original_offset(offset);
                prop_assert!(original.is_char_boundary(there));
                prop_assert_eq!(text.normalised_offset(there), offset);
            }
            for offset in 0..=original.len() {
                prop_assert!(text.normalised_offset(offset) <= text.text().len());
            }
        }

        #[test]
        fn characters_stay_those_of_the_original(original in any::<String>()) {
            let text = SourceText::new(&original);
            let kept: String = text.text().chars().filter(|c| !"\r\n".contains(*c)).collect();
            let body = original.strip_prefix(BOM).unwrap_or(&original);
            let expected: String = body.chars().filter(|c| !"\r\n".contains(*c)).collect();
            prop_assert_eq!(kept, expected);
        }
    }
}
