//! What of a partial answer may be shown: at a deadline, and when the backend broke off.

use super::policy::Step;
use super::run::{Finish, Input, Processed, run};

/// All of a partial answer if a rule found its end, else its whole lines; nothing if it has no clean end yet or if the
/// file would parse worse with it than without.
#[must_use]
pub fn clean_end(input: &Input<'_>) -> Option<Processed> {
    let partial = Input { finish: Finish::Length, ..*input };
    let whole = run(&partial);
    let processed = if whole.cut_by.is_some_and(|step| step != Step::Truncation) {
        whole
    } else {
        run(&Input { raw: input.raw.get(..=input.raw.rfind('\n')?)?, ..partial })
    };
    let text = processed.text.replace(input.document.eol().as_str(), "\n");
    let is_clean = !text.trim().is_empty() && input.guard().is_no_worse(&text, "");
    is_clean.then_some(processed)
}
