//! Answers of the last minute, for the editor that asks again while its user types what was offered: the remainder is
//! answered at once. Found only under the same tenant, configuration, route, file and text after the cursor; of the text
//! before the cursor only a hash is kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Choice;
use super::order::{Key, digest};

/// Bytes of all answers kept.
const BYTES: usize = 8 * 1024 * 1024;
/// Places kept.
const PLACES: usize = 8 * 1024;
/// Answers kept of one place, as its user types on.
const RUNGS: usize = 8;
/// How long an answer is offered again.
const TTL: Duration = Duration::from_secs(60);
/// Bytes that one answer is counted with, besides its text.
const OVERHEAD: usize = 256;

/// The answers.
#[derive(Default)]
pub(super) struct TypedAhead {
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    places: HashMap<Key, Vec<Rung>>,
    bytes: usize,
}

struct Rung {
    prefix_length: usize,
    prefix: Key,
    choice: Choice,
    backend: String,
    model: String,
    at: Instant,
}

/// What is left of an earlier answer.
#[derive(Debug, PartialEq)]
pub(super) struct Remainder {
    pub choice: Choice,
    pub backend: String,
    pub model: String,
}

impl Rung {
    fn bytes(&self) -> usize {
        self.choice.text.len() + OVERHEAD
    }
}

impl TypedAhead {
    /// The rest of an answer of this place whose beginning `prefix` ends with.
    pub(super) fn find(&self, place: &Key, prefix: &str) -> Option<Remainder> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let rungs = shelf.places.get(place)?.iter().filter(|rung| rung.at.elapsed() < TTL);
        // The newest answer is the one on the screen.
        for rung in rungs.rev() {
            let Some(typed) = prefix.get(rung.prefix_length..) else { continue };
            let Some(rest) = rung.choice.text.strip_prefix(typed) else { continue };
            if rest.trim().is_empty() {
                continue;
            }
            let before = prefix.get(..rung.prefix_length).unwrap_or_default();
            if digest(&[before.as_bytes()]) == rung.prefix {
                let choice =
                    Choice { text: rest.into(), finish: rung.choice.finish, logprob: rung.choice.logprob };
                return Some(Remainder { choice, backend: rung.backend.clone(), model: rung.model.clone() });
            }
        }
        None
    }

    /// Keeps an answer.
    pub(super) fn keep(&self, place: Key, prefix: &str, choice: &Choice, backend: &str, model: &str) {
        if choice.text.trim().is_empty() || choice.text.len() > BYTES / 64 {
            return;
        }
        let rung = Rung {
            prefix_length: prefix.len(),
            prefix: digest(&[prefix.as_bytes()]),
            choice: choice.clone(),
            backend: backend.into(),
            model: model.into(),
            at: Instant::now(),
        };
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.make_room(rung.bytes());
        shelf.bytes += rung.bytes();
        let rungs = shelf.places.entry(place).or_default();
        rungs.push(rung);
        let excess = if rungs.len() > RUNGS { Some(rungs.remove(0)) } else { None };
        shelf.bytes -= excess.map_or(0, |rung| rung.bytes());
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

impl Shelf {
    /// Drops what is too old, and then, while there is too much, the older half.
    fn make_room(&mut self, wanted: usize) {
        if self.bytes + wanted <= BYTES && self.places.len() < PLACES {
            return;
        }
        self.retain(|rung| rung.at.elapsed() < TTL);
        while !self.places.is_empty() && (self.bytes + wanted > BYTES || self.places.len() >= PLACES) {
            let mut ages: Vec<Instant> = self.places.values().flatten().map(|rung| rung.at).collect();
            ages.sort_unstable();
            let Some(middle) = ages.get(ages.len() / 2).copied() else { return };
            self.retain(|rung| rung.at > middle);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Rung) -> bool) {
        self.places.retain(|_, rungs| {
            rungs.retain(|rung| keep(rung));
            !rungs.is_empty()
        });
        self.bytes = self.places.values().flatten().map(Rung::bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::complete::Finish;

    fn choice(text: &str) -> Choice {
        Choice { text: text.into(), finish: Finish::Stop, logprob: None }
    }

    #[test]
    fn what_is_typed_of_an_answer_is_answered_with_its_rest() {
        let shelf = TypedAhead::default();
        let place = digest(&[b"tenant a"]);
        shelf.keep(place, "x = ", &choice("foo(bar)"), "b", "m");
        let rest = |place: &Key, prefix: &str| shelf.find(place, prefix).map(|found| found.choice.text);
        assert_eq!(rest(&place, "x = ").as_deref(), Some("foo(bar)"));
        assert_eq!(rest(&place, "x = foo(").as_deref(), Some("bar)"));
        for other in ["x = fop", "y = foo(", "x = foo(bar)", "x =", ""] {
            assert_eq!(rest(&place, other), None, "{other:?}");
        }
        assert_eq!(rest(&digest(&[b"tenant b"]), "x = foo("), None);
    }

    #[test]
    fn the_newest_of_a_places_answers_is_taken() {
        let shelf = TypedAhead::default();
        let place = digest(&[b"p"]);
        shelf.keep(place, "x = ", &choice("foo(bar)"), "b", "m");
        shelf.keep(place, "x = f", &choice("oo(other)"), "b", "m");
        assert_eq!(shelf.find(&place, "x = foo(").unwrap().choice.text, "other)");
    }

    #[test]
    fn the_bytes_kept_are_bounded() {
        let shelf = TypedAhead::default();
        let text = "a".repeat(BYTES / 100);
        for at in 0..400_u32 {
            shelf.keep(digest(&[&at.to_le_bytes()]), "", &choice(&text), "b", "m");
            assert!(shelf.bytes() <= BYTES);
        }
        assert!(shelf.find(&digest(&[&399_u32.to_le_bytes()]), "").is_some());
        for at in 0..20_000_u32 {
            shelf.keep(digest(&[&at.to_le_bytes()]), "", &choice("x"), "b", "m");
        }
        assert!(shelf.shelf.lock().unwrap().places.len() <= PLACES);
    }
}
