//! How much of a prompt stays the same from one keystroke to the next. What stays, the engine need not compute again.

use super::{BackendTraits, ContextItem, PromptError, PromptKind, Settings, build};
use crate::text::Document;

/// Tokens at the end of a prompt that may differ.
pub const TAIL: usize = 512;

/// What simulated typing showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stability {
    /// Keystrokes.
    pub keystrokes: usize,
    /// Of them, those whose prompt shares all but its last [`TAIL`] tokens with the one before.
    pub stable: usize,
}

impl Stability {
    /// The share, 0 to 1.
    #[must_use]
    pub fn share(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "keystrokes are few")]
        let share = self.stable as f64 / self.keystrokes.max(1) as f64;
        share
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { keystrokes: self.keystrokes + other.keystrokes, stable: self.stable + other.stable }
    }
}

/// Types `typed` character by character between two texts and compares each prompt with the one before.
///
/// # Errors
/// When the window is too small for a prompt.
pub fn simulate(
    (prefix, typed, suffix): (&str, &str, &str),
    file_name: &str,
    files: &[ContextItem],
    backend: &BackendTraits<'_>,
    settings: &Settings,
) -> Result<Stability, PromptError> {
    let mut before: Option<String> = None;
    let mut found = Stability::default();
    let mut text = prefix.to_owned();
    for character in typed.chars() {
        text.push(character);
        let document = Document::new(&text, suffix, file_name, None);
        let prompt = match build(&document, files, backend, settings)?.kind {
            PromptKind::Raw { text } => text,
            // Where the backend puts the texts together, the one after the cursor can only be first.
            PromptKind::Infill { prefix, suffix, .. } => suffix + &prefix,
            PromptKind::Chat { messages } => messages.into_iter().map(|message| message.content).collect(),
        };
        if let Some(before) = &before {
            let shared = shared(before, &prompt);
            let rest = prompt.get(shared..).unwrap_or_default();
            found.keystrokes += 1;
            found.stable += usize::from(backend.counter.count(rest) <= TAIL);
        }
        before = Some(prompt);
    }
    Ok(found)
}

/// Bytes that two texts begin with in common, down to a character boundary.
fn shared(one: &str, other: &str) -> usize {
    let mut at = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    while !other.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::FAMILIES;
    use crate::syntax::Caps;
    use crate::tokens::Bound;
    use std::time::Duration;

    #[test]
    fn typing_keeps_the_head_of_the_prompt_in_every_family() {
        let lines = |from: usize, to: usize| -> String {
            (from..to)
                .map(|line| format!("    total_{line} = first({line}) + second\n    log(total_{line})\n\n"))
                .collect()
        };
        let (prefix, typed, suffix) = (lines(0, 150), lines(150, 152), lines(160, 260));
        let files = [ContextItem { name: "other.py".into(), content: lines(300, 400) }];
        let class = format!("import os\n\nclass Account:\n    def fill(self):\n{prefix}");
        let patient = Caps { bytes: 1 << 20, time: Duration::from_secs(60) };
        for (family, header_percent) in FAMILIES.iter().map(|family| (family, 0)).chain([(&FAMILIES[0], 15)])
        {
            let backend = BackendTraits {
                family: Some(family),
                infill: false,
                files: false,
                window: 2048,
                counter: &Bound,
            };
            let settings = Settings { header_percent, caps: patient, ..Settings::default() };
            let found = simulate((&class, &typed, &suffix), "main.py", &files, &backend, &settings).unwrap();
            assert!(found.keystrokes > 80, "{found:?}");
            assert!(found.share() >= 0.9, "{}: {found:?}", family.name);
        }
    }
}
