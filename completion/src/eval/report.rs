//! The outcome as tables and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::prompt::stability::TAIL;

use super::{Cell, Form, Mutation, Outcome, Set};

/// Correct completions that may be changed, in percent.
const MOST_HARM: f64 = 0.5;
/// Keystrokes that must leave the prompt as it was but for its last tokens, in percent.
const LEAST_STABLE: f64 = 90.0;
/// Spoilt completions that must come back, in percent.
const LEAST_RECOVERY: f64 = 90.0;

/// What is printed of an outcome.
#[derive(Debug)]
pub struct Report<'o>(pub &'o Outcome);

impl Report<'_> {
    /// The targets that were missed, in words.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let outcome = self.0;
        let mut missed = Vec::new();
        for ((set, single, form), cell) in &outcome.harm {
            if cell.percent() > MOST_HARM {
                missed.push(format!(
                    "harm {:.2} % in {}, {}",
                    cell.percent(),
                    row(*set, *single),
                    form.name()
                ));
            }
        }
        for (mutation, cell) in self.by_mutation() {
            if cell.percent() < LEAST_RECOVERY {
                missed.push(format!("recovery {:.1} % of {}", cell.percent(), mutation.name()));
            }
        }
        let worse = sum(outcome.worse.values());
        if worse.count > 0 {
            missed.push(format!(
                "{} of {} cut completions are worse than the cut input",
                worse.count, worse.of
            ));
        }
        if self.0.typing.of > 0 && self.0.typing.percent() < LEAST_STABLE {
            missed.push(format!("prefix stability {:.1} %", self.0.typing.percent()));
        }
        missed
    }

    fn by_mutation(&self) -> BTreeMap<Mutation, Cell> {
        let cells = |mutation| {
            self.0.recovery.iter().filter(move |((kind, ..), _)| *kind == mutation).map(|(_, cell)| cell)
        };
        Mutation::ALL
            .into_iter()
            .filter(|kind| cells(*kind).count() > 0)
            .map(|kind| (kind, sum(cells(kind))))
            .collect()
    }

    /// Markdown tables.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let forms: Vec<Form> =
            Form::ALL.into_iter().filter(|form| self.0.harm.keys().any(|(.., f)| f == form)).collect();
        let head = |first: &str| {
            let names: Vec<&str> = forms.iter().map(|form| form.name()).collect();
            format!(
                "| {first} | samples | {} |\n|---|---|{}\n",
                names.join(" | "),
                "---|".repeat(forms.len())
            )
        };
        text.push_str(&head("Harm, % of correct completions changed"));
        let mut rows: Vec<(Set, bool)> = self.0.harm.keys().map(|(set, single, _)| (*set, *single)).collect();
        rows.dedup();
        for (set, single) in rows.into_iter().collect::<std::collections::BTreeSet<_>>() {
            let cells: Vec<Cell> = forms
                .iter()
                .map(|form| self.0.harm.get(&(set, single, *form)).copied().unwrap_or_default())
                .collect();
            let _ = writeln!(text, "| {} | {} | {} |", row(set, single), most(&cells), percents(&cells, 2));
        }
        text.push('\n');
        text.push_str(&head("Recovery, % of spoilt completions restored exactly"));
        for mutation in Mutation::ALL {
            for set in Set::ALL {
                let cells: Vec<Cell> = forms
                    .iter()
                    .map(|form| self.0.recovery.get(&(mutation, set, *form)).copied().unwrap_or_default())
                    .collect();
                if most(&cells) > 0 {
                    let _ = writeln!(
                        text,
                        "| {}, {} | {} | {} |",
                        mutation.name(),
                        set.name(),
                        most(&cells),
                        percents(&cells, 1)
                    );
                }
            }
        }
        let worse = sum(self.0.worse.values());
        let _ = writeln!(
            text,
            "\nFor \"cut mid-token\" the figure is the share that ends with no broken token. Worse than the cut input: {} of {}; characters kept: {:.0} %.\n",
            worse.count,
            worse.of,
            self.0.kept.percent()
        );
        if self.0.typing.of > 0 {
            let typing = self.0.typing;
            let _ = writeln!(
                text,
                "Prefix stability: of {} keystrokes {:.1} % leave all but the last {TAIL} tokens of the prompt as they were.\n",
                typing.of,
                typing.percent()
            );
        }
        text.push_str(&self.times());
        text
    }

    fn times(&self) -> String {
        let mut text = String::new();
        text.push_str("| Step | p50 µs | p99 µs |\n|---|---|---|\n");
        for (step, times) in &self.0.times {
            let _ =
                writeln!(text, "| {} | {:.1} | {:.1} |", step.name(), micros(times, 50), micros(times, 99));
        }
        let _ =
            writeln!(text, "| all | {:.1} | {:.1} |", micros(&self.0.total, 50), micros(&self.0.total, 99));
        text
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let harm = |((set, single, form), cell): (&(Set, bool, Form), &Cell)| json!({"set": set.name(), "line_only": single, "form": form.name(), "samples": cell.of, "harmed": cell.count, "percent": cell.percent()});
        let recovery = |((mutation, set, form), cell): (&(Mutation, Set, Form), &Cell)| json!({"mutation": mutation.name(), "set": set.name(), "form": form.name(), "samples": cell.of, "recovered": cell.count, "percent": cell.percent()});
        let worse = sum(self.0.worse.values());
        json!({
            "harm": self.0.harm.iter().map(harm).collect::<Vec<_>>(),
            "recovery": self.0.recovery.iter().map(recovery).collect::<Vec<_>>(),
            "cut_mid_token": {"samples": worse.of, "worse": worse.count, "characters_kept_percent": self.0.kept.percent()},
            "prefix_stability": {"keystrokes": self.0.typing.of, "stable": self.0.typing.count, "percent": self.0.typing.percent()},
            "steps": self.0.times.iter().map(|(step, times)| json!({"step": step.name(), "p50_us": micros(times, 50), "p99_us": micros(times, 99)})).collect::<Vec<_>>(),
            "all_steps": {"p50_us": micros(&self.0.total, 50), "p99_us": micros(&self.0.total, 99)},
            "missed": self.missed(),
        })
    }
}

fn row(set: Set, single: bool) -> String {
    format!("{}{}", set.name(), if single { ", one line asked for" } else { "" })
}

fn sum<'c>(cells: impl Iterator<Item = &'c Cell>) -> Cell {
    cells.fold(Cell::default(), |sum, cell| Cell { of: sum.of + cell.of, count: sum.count + cell.count })
}

fn most(cells: &[Cell]) -> usize {
    cells.iter().map(|cell| cell.of).max().unwrap_or(0)
}

fn percents(cells: &[Cell], digits: usize) -> String {
    let percents: Vec<String> = cells.iter().map(|cell| format!("{:.digits$}", cell.percent())).collect();
    percents.join(" | ")
}

pub(super) fn micros(times: &[Duration], percentile: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percentile / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}
