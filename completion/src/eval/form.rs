//! The forms in which the same file comes: line ends, tabs, a byte-order mark, letters beyond ASCII.

use super::Sample;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// As it is.
    Lf,
    /// Lines end with CRLF.
    Crlf,
    /// Indented by tabs.
    Tabs,
    /// A byte-order mark in front.
    Bom,
    /// Names and comments in letters of two, three and four bytes.
    NonAscii,
}

impl Form {
    /// All forms.
    pub const ALL: [Form; 5] = [Form::Lf, Form::Crlf, Form::Tabs, Form::Bom, Form::NonAscii];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Form::Lf => "LF",
            Form::Crlf => "CRLF",
            Form::Tabs => "tabs",
            Form::Bom => "BOM",
            Form::NonAscii => "non-ASCII",
        }
    }

    /// The sample in this form.
    #[must_use]
    pub fn of(self, sample: &Sample) -> Sample {
        let mut formed = sample.clone();
        match self {
            Form::Lf => {}
            Form::Crlf => {
                for part in [&mut formed.prefix, &mut formed.canonical, &mut formed.suffix] {
                    *part = self.text(part);
                }
            }
            Form::Bom => formed.prefix.insert(0, '\u{feff}'),
            Form::Tabs => formed = through(sample, tabs),
            Form::NonAscii => {
                formed = through(sample, widen);
                formed.prefix.insert_str(0, "# naïve 漢字 🦀\n");
            }
        }
        formed
    }

    /// A piece of text in this form.
    #[must_use]
    pub fn text(self, text: &str) -> String {
        match self {
            Form::Lf | Form::Bom => text.to_owned(),
            Form::Crlf => text.replace('\n', "\r\n"),
            Form::Tabs => tabs(text).into_iter().map(|(piece, _)| piece).collect(),
            Form::NonAscii => widen(text).into_iter().map(|(piece, _)| piece).collect(),
        }
    }
}

/// Pieces of new text, each with the number of bytes of the old text it stands for.
type Pieces = Vec<(String, usize)>;

/// Changes the file as a whole and cuts it where the old one was cut; a cut within a piece comes behind it.
fn through(sample: &Sample, change: fn(&str) -> Pieces) -> Sample {
    let whole = format!("{}{}{}", sample.prefix, sample.canonical, sample.suffix);
    let cuts = [sample.prefix.len(), sample.prefix.len() + sample.canonical.len(), usize::MAX];
    let mut parts = [String::new(), String::new(), String::new()];
    let mut at = 0;
    for (piece, old) in change(&whole) {
        let part = cuts.iter().position(|cut| at < *cut).unwrap_or(2);
        if let Some(part) = parts.get_mut(part) {
            part.push_str(&piece);
        }
        at += old;
    }
    let [prefix, canonical, suffix] = parts;
    Sample { prefix, canonical, suffix, ..sample.clone() }
}

/// Four spaces of indentation become a tab.
fn tabs(text: &str) -> Pieces {
    let mut pieces = Vec::new();
    for line in text.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start_matches(' ').len();
        pieces.extend((0..indentation / 4).map(|_| ("\t".to_owned(), 4)));
        let rest = line.get(indentation / 4 * 4..).unwrap_or_default();
        pieces.extend(rest.chars().map(|c| (c.to_string(), c.len_utf8())));
    }
    pieces
}

/// Names that Python and its library do not know get letters of two and three bytes; strings get one of four.
fn widen(text: &str) -> Pieces {
    const NAMES: &[&str] = &[
        "i", "n", "s", "x", "numbers", "string", "text", "lst", "arr", "res", "result", "count", "ans",
        "words", "nums", "idx",
    ];
    let mut pieces: Pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word: &str = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        let taken = if word.is_empty() { first.len_utf8() } else { word.len() };
        let (head, tail) = rest.split_at(taken);
        pieces.extend(head.chars().map(|c| (c.to_string(), c.len_utf8())));
        if NAMES.contains(&word)
            && let Some((last, _)) = pieces.last_mut()
        {
            last.push_str("é漢");
        }
        rest = tail;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Set;

    fn sample(prefix: &str, canonical: &str, suffix: &str) -> Sample {
        let [prefix, canonical, suffix] = [prefix, canonical, suffix].map(str::to_owned);
        Sample { set: Set::Multi, problem: String::new(), prefix, canonical, suffix }
    }

    #[test]
    fn a_form_changes_the_file_and_keeps_the_cuts() {
        let given = sample("def f(x):\n    ret", "urn x\n", "    # x\n");
        let parts = |form: Form| {
            let sample = form.of(&given);
            [sample.prefix, sample.canonical, sample.suffix]
        };
        assert_eq!(parts(Form::Crlf), ["def f(x):\r\n    ret", "urn x\r\n", "    # x\r\n"]);
        assert_eq!(parts(Form::Tabs), ["def f(x):\n\tret", "urn x\n", "\t# x\n"]);
        assert_eq!(
            parts(Form::NonAscii),
            ["# naïve 漢字 🦀\ndef f(xé漢):\n    ret", "urn xé漢\n", "    # xé漢\n"]
        );
        assert_eq!(parts(Form::Bom), ["\u{feff}def f(x):\n    ret", "urn x\n", "    # x\n"]);
    }
}
