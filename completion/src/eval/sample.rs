//! Infilling problems as the HumanEval-Infilling benchmark writes them: JSON lines with what stands before the gap, in
//! it and after it.

use std::collections::BTreeSet;

use serde_json::Value;

/// A set of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Set {
    /// One line is missing.
    Single,
    /// Some lines are missing.
    Multi,
    /// A span from anywhere to anywhere is missing.
    RandomSpan,
    /// One random span for each problem.
    Light,
}

impl Set {
    /// All sets.
    pub const ALL: [Set; 4] = [Set::Single, Set::Multi, Set::RandomSpan, Set::Light];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Set::Single => "Single",
            Set::Multi => "Multi",
            Set::RandomSpan => "RandomSpan",
            Set::Light => "Light",
        }
    }
}

/// A file with a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Where it comes from.
    pub set: Set,
    /// The problem; samples of one problem share it.
    pub problem: String,
    /// Text before the gap.
    pub prefix: String,
    /// Text in the gap: the correct completion.
    pub canonical: String,
    /// Text after the gap.
    pub suffix: String,
}

/// Reads JSON lines with `task_id`, `prompt`, `canonical_solution` and `suffix`. The set is told by the task's name:
/// `SingleLineInfilling/…`, `MultiLineInfilling/…`, `RandomSpanInfilling/…`, `RandomSpanInfillingLight/…`.
///
/// # Errors
/// The first line that is no such object, with its number.
pub fn read(lines: &str) -> Result<Vec<Sample>, String> {
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| one(line).map_err(|why| format!("line {}: {why}", at + 1))).collect()
}

/// The light set, one random span for each problem: the first of each, for folders without a file of its own.
#[must_use]
pub fn light(samples: &[Sample]) -> Vec<Sample> {
    let mut seen = BTreeSet::new();
    let spans = samples.iter().filter(|sample| sample.set == Set::RandomSpan);
    let first = spans.filter(|sample| seen.insert(sample.problem.as_str()));
    first.map(|sample| Sample { set: Set::Light, ..sample.clone() }).collect()
}

fn one(line: &str) -> Result<Sample, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = |field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| format!("no text in `{field}`"))
    };
    let task = text("task_id")?;
    let (kind, problem) = task.split_once('/').unwrap_or(("", &task));
    let set = match kind {
        "SingleLineInfilling" => Set::Single,
        "RandomSpanInfilling" => Set::RandomSpan,
        "RandomSpanInfillingLight" => Set::Light,
        _ => Set::Multi,
    };
    let problem = problem.rsplit_once('/').map_or(problem, |(problem, _)| problem).to_owned();
    Ok(Sample {
        set,
        problem,
        prefix: text("prompt")?,
        canonical: text("canonical_solution")?,
        suffix: text("suffix")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_sample_is_named() {
        let good = r#"{"task_id":"RandomSpanInfilling/HumanEval/0/1","prompt":"a","canonical_solution":"b","suffix":"c"}"#;
        let samples = read(&format!("{good}\n\n")).expect("good");
        assert_eq!((samples[0].set, samples[0].problem.as_str()), (Set::RandomSpan, "HumanEval/0"));
        assert_eq!(light(&[samples[0].clone(), samples[0].clone()]).len(), 1);
        assert_eq!(read(&format!("{good}\n{{}}")).unwrap_err(), "line 2: no text in `task_id`");
    }
}
