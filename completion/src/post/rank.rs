//! Several answers to one request: equal ones once, those that parse first, then the likelier, then the longer.

use std::cmp::Ordering;

/// One answer to be compared with others.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The processed text.
    pub text: String,
    /// Syntax errors of the file with it, if known.
    pub errors: Option<usize>,
    /// Mean logarithm of its tokens' probability, if the backend tells.
    pub mean_logprob: Option<f64>,
}

/// The places of the answers to offer, best first; empty answers and repeated ones are left out.
#[must_use]
pub fn rank(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let text = candidate.text.trim();
        let is_known =
            order.iter().any(|known| candidates.get(*known).is_some_and(|other| other.text.trim() == text));
        if !text.is_empty() && !is_known {
            order.push(at);
        }
    }
    // The sort is stable: what compares equal keeps the backend's order.
    order.sort_by(|a, b| match (candidates.get(*a), candidates.get(*b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    order
}

fn compare(a: &Candidate, b: &Candidate) -> Ordering {
    let errors = |candidate: &Candidate| candidate.errors.unwrap_or(usize::MAX);
    let logprob = |candidate: &Candidate| {
        candidate.mean_logprob.filter(|value| !value.is_nan()).unwrap_or(f64::NEG_INFINITY)
    };
    errors(a)
        .cmp(&errors(b))
        .then_with(|| logprob(b).total_cmp(&logprob(a)))
        .then_with(|| b.text.trim().chars().count().cmp(&a.text.trim().chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str, errors: Option<usize>, mean_logprob: Option<f64>) -> Candidate {
        Candidate { text: text.to_owned(), errors, mean_logprob }
    }

    #[test]
    fn answers_are_offered_once_parse_clean_first_then_likelier_then_longer() {
        let cases = [
            (vec![candidate("a", Some(1), None), candidate("b", Some(0), None)], vec![1, 0]),
            (
                vec![candidate("a\n", None, None), candidate("a", None, None), candidate("  ", None, None)],
                vec![0],
            ),
            (vec![candidate("a", Some(0), Some(-2.0)), candidate("b", Some(0), Some(-0.5))], vec![1, 0]),
            (vec![candidate("a", Some(0), Some(f64::NAN)), candidate("b", Some(0), Some(-9.0))], vec![1, 0]),
            (vec![candidate("a", None, None), candidate("abc", None, None)], vec![1, 0]),
            (vec![candidate("é", None, None), candidate("a", None, None)], vec![0, 1]),
        ];
        for (candidates, expected) in cases {
            assert_eq!(rank(&candidates), expected, "{candidates:?}");
        }
    }
}
