//! How models spoil an answer, done to the correct one.

use super::Sample;
use crate::post::Finish;

/// A way in which an answer is spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// It runs on into the text after the cursor.
    SuffixRepeated,
    /// It goes on with another function.
    NextBlock,
    /// It stands in a code fence, with or without a sentence behind.
    Fences,
    /// Special tokens of a model's family reach the text, with what models write behind them.
    SpecialTokens,
    /// Its last line comes again and again.
    RepeatedLines,
    /// It ends within a word, because its tokens were used up.
    CutMidToken,
}

impl Mutation {
    /// All mutations.
    pub const ALL: [Mutation; 6] = [
        Mutation::SuffixRepeated,
        Mutation::NextBlock,
        Mutation::Fences,
        Mutation::SpecialTokens,
        Mutation::RepeatedLines,
        Mutation::CutMidToken,
    ];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mutation::SuffixRepeated => "suffix repeated",
            Mutation::NextBlock => "next block appended",
            Mutation::Fences => "fences",
            Mutation::SpecialTokens => "leaked FIM tokens",
            Mutation::RepeatedLines => "repeated lines",
            Mutation::CutMidToken => "cut mid-token",
        }
    }

    /// The spoilt answer to a sample in LF form and why it ended; nothing where there is nothing to repeat or to cut.
    /// `next` is another function of the file's kind, `number` chooses between the variants of a mutation.
    #[must_use]
    pub fn of(self, sample: &Sample, next: &str, number: usize) -> Option<(String, Finish)> {
        let right = sample.canonical.as_str();
        match self {
            Mutation::SuffixRepeated => suffix_repeated(sample, number),
            Mutation::NextBlock => {
                let gap = if right.ends_with('\n') { "\n\n" } else { "\n\n\n" };
                Some((format!("{right}{gap}{next}"), Finish::Length))
            }
            Mutation::Fences => Some((fenced(right, number), Finish::Stop)),
            Mutation::SpecialTokens => Some((with_tokens(sample, next, number), Finish::Length)),
            Mutation::RepeatedLines => repeated_lines(sample, number),
            Mutation::CutMidToken => cut(right, number).map(|text| (text.to_owned(), Finish::Length)),
        }
    }
}

/// One line, two lines, up to 200 bytes, or a line and a half of the suffix; half of them behind a further line feed
/// where the answer has none at its end.
fn suffix_repeated(sample: &Sample, number: usize) -> Option<(String, Finish)> {
    let (right, suffix) = (sample.canonical.as_str(), sample.suffix.as_str());
    if suffix.trim().is_empty() {
        return None;
    }
    let mut ends = Vec::new();
    let mut at = 0;
    for line in suffix.split_inclusive('\n') {
        at += line.len();
        if !line.trim().is_empty() {
            ends.push((at, line.len()));
        }
    }
    let (first, _) = *ends.first()?;
    let second = ends.get(1).copied();
    let (length, finish) = match number % 4 {
        0 => (first, Finish::Stop),
        1 => (second.map_or(first, |(end, _)| end), Finish::Stop),
        2 => (200, Finish::Length),
        _ => (second.map_or(first, |(end, line)| end - line / 2), Finish::Length),
    };
    let mut length = length.min(suffix.len());
    while !suffix.is_char_boundary(length) {
        length -= 1;
    }
    let apart = number / 4 % 2 == 1
        && !right.ends_with('\n')
        && !suffix.starts_with('\n')
        && !right.trim().is_empty();
    let gap = if apart { "\n" } else { "" };
    Some((format!("{right}{gap}{}", suffix.get(..length)?), finish))
}

fn fenced(right: &str, number: usize) -> String {
    let before = ["", "Here is the missing code:\n\n"][usize::from(number % 4 == 3)];
    let tag = ["python", ""][usize::from(number % 3 == 2)];
    let behind = ["", "\n", "\n\nThis fills in the missing part of the function.\n"][number % 3];
    let feed = if right.ends_with('\n') { "" } else { "\n" };
    format!("{before}```{tag}\n{right}{feed}```{behind}")
}

fn with_tokens(sample: &Sample, next: &str, number: usize) -> String {
    let (right, suffix) = (sample.canonical.as_str(), sample.suffix.as_str());
    match number % 6 {
        0 => format!("{right}<|fim_middle|>{suffix}"),
        1 => format!("{right}<|endoftext|>{next}"),
        2 => format!("<|fim_middle|>{right}<|file_sep|>tests.py\nimport os\n"),
        3 => format!("{right}<fim_suffix>{suffix}<fim_middle>{right}"),
        4 => format!("{right}<｜fim▁end｜>\n{next}"),
        _ => format!("{right}<|im_end|>\n<|im_start|>user\n"),
    }
}

fn repeated_lines(sample: &Sample, number: usize) -> Option<(String, Finish)> {
    let right = sample.canonical.as_str();
    let line = format!("{}{right}", sample.prefix.rsplit('\n').next()?);
    let line = line.strip_suffix('\n').unwrap_or(&line).rsplit('\n').next()?;
    if line.trim().is_empty() || right.is_empty() {
        return None;
    }
    let copies = 3 + number % 10;
    let more = if right.ends_with('\n') { format!("{line}\n") } else { format!("\n{line}") };
    Some((format!("{right}{}", more.repeat(copies)), Finish::Length))
}

/// Cuts within a word of at least three letters.
fn cut(right: &str, number: usize) -> Option<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut inner = Vec::new();
    let mut before = [false; 2];
    for (at, c) in right.char_indices() {
        if is_word(c) && before.iter().any(|word| *word) && before[1] {
            inner.push(at);
        }
        before = [before[1], is_word(c)];
    }
    let at = *inner.get((number * 7 + right.len()) % inner.len().max(1))?;
    right.get(..at)
}
