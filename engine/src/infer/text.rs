//! Bytes of tokens to text that may be sent: whole characters only, and never a piece of a stop string.

/// Collects the bytes of one answer.
#[derive(Debug)]
pub struct TextAssembler {
    stops: Vec<String>,
    /// Bytes that are not yet a whole character.
    partial: Vec<u8>,
    /// Text that may be the beginning of a stop string.
    held: String,
    stopped: bool,
}

impl TextAssembler {
    /// An answer that ends before the first of `stops`.
    #[must_use]
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            partial: Vec::new(),
            held: String::new(),
            stopped: false,
        }
    }

    /// Adds the bytes of a token and returns the text that is now certain.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.stopped {
            return String::new();
        }
        self.partial.extend_from_slice(bytes);
        let text = take_characters(&mut self.partial);
        self.held.push_str(&text);
        self.release()
    }

    /// Whether a stop string was found: nothing more will come.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The text still held back, when the answer ends for another reason.
    pub fn finish(&mut self) -> String {
        if self.stopped {
            return String::new();
        }
        // A character that the model began and did not end becomes U+FFFD.
        let rest = std::mem::take(&mut self.partial);
        self.held.push_str(&String::from_utf8_lossy(&rest));
        let certain = self.release();
        if self.stopped { certain } else { certain + &std::mem::take(&mut self.held) }
    }

    /// Cuts at a stop string, or else lets go of what cannot become one any more.
    fn release(&mut self) -> String {
        if let Some(at) = first_stop(&self.held, &self.stops) {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }
}

/// Where the stop string begins that is complete first; so the cut does not depend on how the text arrived.
fn first_stop(text: &str, stops: &[String]) -> Option<usize> {
    let matches = stops.iter().filter_map(|stop| text.find(stop.as_str()).map(|at| (at + stop.len(), at)));
    matches.min().map(|(_, at)| at)
}

/// Length of the longest end of `text` that is a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(at, character)| at + character.len_utf8())
        .filter(|&length| length < stop.len() && text.ends_with(&stop[..length]))
        .max()
        .unwrap_or(0)
}

/// Takes all whole characters; bytes that can never become one are replaced by U+FFFD.
fn take_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        rest += chunk.valid().len();
        let invalid = chunk.invalid();
        let at_end = rest + invalid.len() == bytes.len();
        let waits = at_end && may_continue(invalid);
        if !invalid.is_empty() && !waits {
            text.push(char::REPLACEMENT_CHARACTER);
            rest += invalid.len();
        }
    }
    bytes.drain(..rest);
    text
}

/// Whether the bytes are the beginning of a character that more bytes could complete.
fn may_continue(bytes: &[u8]) -> bool {
    // The standard library tells the two cases apart: an unexpected end has no error length.
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{TextAssembler, first_stop};

    fn run(pieces: &[&[u8]], stops: &[&str]) -> (Vec<String>, bool) {
        let mut assembler = TextAssembler::new(stops.iter().map(ToString::to_string).collect());
        let mut out: Vec<String> = pieces.iter().map(|piece| assembler.push(piece)).collect();
        out.push(assembler.finish());
        (out, assembler.stopped())
    }

    #[test]
    fn a_character_split_across_tokens_is_sent_once_and_whole() {
        let (out, stopped) = run(&[b"a\xe2", b"\x82", b"\xacb"], &[]);
        assert_eq!(out, ["a", "", "€b", ""]);
        assert!(!stopped);
    }

    #[test]
    fn bytes_that_are_no_character_become_one_replacement_and_do_not_hold_the_rest() {
        assert_eq!(run(&[b"a\xffb"], &[]).0, ["a\u{fffd}b", ""]);
        assert_eq!(run(&[b"a\xe2\x82"], &[]).0, ["a", "\u{fffd}"]);
    }

    #[test]
    fn a_stop_string_split_across_tokens_never_leaks_its_beginning() {
        let (out, stopped) = run(&[b"one\n", b"\n", b"two"], &["\n\n"]);
        assert_eq!(out, ["one", "", "", ""]);
        assert!(stopped);
    }

    #[test]
    fn what_only_looked_like_a_stop_string_is_sent_later() {
        let (out, stopped) = run(&[b"x<", b"en", b"t>"], &["<end>"]);
        assert_eq!(out.concat(), "x<ent>");
        assert_eq!(out[0], "x");
        assert!(!stopped);
    }

    #[test]
    fn the_stop_string_that_is_complete_first_wins() {
        assert_eq!(run(&[b"ab STOP cd END"], &["END", "STOP"]).0.concat(), "ab ");
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_text_is_the_same_and_ends_before_the_first_stop(
            text in "[ab€\n<>]{0,40}", stops in prop::collection::vec("[ab€\n<>]{1,4}", 0..3), cuts in prop::collection::vec(0usize..60, 0..8),
        ) {
            let expected = first_stop(&text, &stops).map_or(&text[..], |at| &text[..at]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut assembler = TextAssembler::new(stops);
            let mut out = String::new();
            for pair in cuts.windows(2) {
                out.push_str(&assembler.push(&text.as_bytes()[pair[0]..pair[1]]));
                prop_assert!(expected.starts_with(out.as_str()), "leaked {out:?} of {expected:?}");
            }
            out.push_str(&assembler.finish());
            prop_assert_eq!(out, expected);
        }
    }
}
