//! How much of a prompt a keystroke leaves as it was: the correct completions are typed, character by character, into a
//! long file made of the other problems.

use super::Sample;
use crate::family::FAMILIES;
use crate::prompt::stability::{Stability, simulate};
use crate::prompt::{BackendTraits, Settings};
use crate::syntax::Caps;
use crate::tokens::Bound;

/// Tokens of the model's context: small, so that the file does not fit.
const WINDOW: usize = 2048;
/// Bytes of the file before the cursor and after it.
const BEFORE: usize = 48 * 1024;
const AFTER: usize = 8 * 1024;
/// Characters typed of one completion.
const TYPED: usize = 80;

/// Types `count` completions, spread over the samples, for a family that has the prefix first and one that has it last.
#[must_use]
pub fn typing(samples: &[Sample], count: usize, file_name: &str) -> Stability {
    let mut found = Stability::default();
    let every = (samples.len() / count.max(1)).max(1);
    let caps = Caps { time: std::time::Duration::from_secs(5), ..Caps::default() };
    let settings = Settings { caps, ..Settings::default() };
    for (number, sample) in samples.iter().enumerate().step_by(every).take(count) {
        let others = |most: usize| {
            let mut text = String::new();
            let rest = samples.iter().cycle().skip(number + 1).step_by(37).take(samples.len());
            for other in rest {
                if text.len() >= most {
                    break;
                }
                text.push_str(&format!("{}{}{}\n\n", other.prefix, other.canonical, other.suffix));
            }
            text
        };
        let prefix = format!("{}{}", others(BEFORE), sample.prefix);
        let suffix = format!("{}\n\n{}", sample.suffix, others(AFTER));
        let typed: String = sample.canonical.chars().take(TYPED).collect();
        for name in ["Qwen", "Codestral"] {
            let family = FAMILIES.iter().find(|family| family.name == name);
            let backend =
                BackendTraits { family, infill: false, files: false, window: WINDOW, counter: &Bound };
            // A window that holds no prompt has nothing to keep.
            let typed = simulate((&prefix, &typed, &suffix), file_name, &[], &backend, &settings);
            found = found.plus(typed.unwrap_or_default());
        }
    }
    found
}
