//! Step g: closing brackets that the file behind the cursor already has. The rule is relative: what is out of balance
//! without the completion is left alone.

use super::{Change, Context, Guard, newline};

/// Cuts at the first closing bracket too many.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<Change> {
    let allowed = context.fit("").excess;
    let fit = context.fit(text);
    let surplus = fit.excess.checked_sub(allowed).filter(|surplus| *surplus > 0)?;
    let at = *fit.unmatched.get(fit.unmatched.len().checked_sub(surplus)?)?;
    let kept = text.get(..at)?;
    let line = kept.rfind('\n').map_or(0, |at| at + 1);
    let alone = line > 0 && kept.get(line..)?.trim().is_empty();
    let kept = if alone { newline::settle(kept.get(..line)?, context, guard) } else { kept.to_owned() };
    let better = context.fit(&kept).excess < fit.excess && guard.is_no_worse(&kept, text);
    better.then(|| Change::cut(&kept))
}
