//! The status table of both resources as one pure function, and the making of conditions from it.

use k8s_openapi::jiff::{Timestamp, fmt::strtime};
use modelgate_api::conditions as types;
use modelgate_api::v1alpha1::Condition;

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl Truth {
    /// As Kubernetes spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Rows of the status table: what is known of the object, put in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Nobody has seen it: the schema's default.
    Unseen,
    /// It does what its spec says.
    Serving,
    /// It serves, but not all of it does.
    PartlyServing,
    /// It serves while pods are replaced or added.
    ServingWhileChanging,
    /// It does not serve yet, and something is under way.
    UnderWay,
    /// Whether it serves cannot be told now.
    Unclear,
    /// Nothing changes until a person acts.
    Stuck,
}

/// One row's conditions. `degraded` is absent where the question makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Ready
    pub ready: Truth,
    /// Reconciling
    pub reconciling: Truth,
    /// Stalled
    pub stalled: Truth,
    /// Degraded
    pub degraded: Option<Truth>,
}

/// The table.
#[must_use]
pub fn verdict(row: Row) -> Verdict {
    let of = |ready, reconciling, stalled, degraded| Verdict { ready, reconciling, stalled, degraded };
    match row {
        Row::Unseen | Row::Unclear => of(Truth::Unknown, Truth::True, Truth::False, None),
        Row::Serving => of(Truth::True, Truth::False, Truth::False, Some(Truth::False)),
        Row::PartlyServing => of(Truth::True, Truth::False, Truth::False, Some(Truth::True)),
        Row::ServingWhileChanging => of(Truth::True, Truth::True, Truth::False, None),
        Row::UnderWay => of(Truth::False, Truth::True, Truth::False, None),
        Row::Stuck => of(Truth::False, Truth::False, Truth::True, None),
    }
}

/// Conditions in the making; those whose status is as before keep their time.
pub struct Conditions<'a> {
    before: &'a [Condition],
    generation: i64,
    list: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Conditions for `generation`, with those there were.
    #[must_use]
    pub fn new(before: &'a [Condition], generation: i64) -> Self {
        Self { before, generation, list: Vec::new() }
    }

    /// The conditions of a row, all with the same reason.
    #[must_use]
    pub fn row(mut self, row: Row, reason: &str, message: &str) -> Self {
        let verdict = verdict(row);
        self.add(types::READY, verdict.ready, reason, message);
        self.add(types::RECONCILING, verdict.reconciling, reason, message);
        self.add(types::STALLED, verdict.stalled, reason, message);
        if let Some(degraded) = verdict.degraded {
            self.add(types::DEGRADED, degraded, reason, message);
        }
        self
    }

    /// One more condition.
    #[must_use]
    pub fn with(mut self, kind: &str, status: Truth, reason: &str, message: &str) -> Self {
        self.add(kind, status, reason, message);
        self
    }

    fn add(&mut self, kind: &str, status: Truth, reason: &str, message: &str) {
        let before =
            self.before.iter().find(|before| before.kind == kind && before.status == status.as_str());
        let since = before.map(|before| before.last_transition_time.clone()).filter(|time| !time.is_empty());
        self.list.push(Condition {
            kind: kind.into(),
            status: status.as_str().into(),
            reason: reason.into(),
            message: shorten(message),
            observed_generation: self.generation,
            last_transition_time: since.unwrap_or_else(now),
        });
    }

    /// The list.
    #[must_use]
    pub fn finish(self) -> Vec<Condition> {
        self.list
    }
}

/// What an absent Prometheus Operator costs: one condition. `made` is whether the ServiceMonitor stands, absent where none
/// is wanted; where it stands, nothing is said here.
#[must_use]
pub fn monitor_api(conditions: Conditions<'_>, made: Option<bool>) -> Conditions<'_> {
    if made != Some(false) {
        return conditions;
    }
    let message = "the Prometheus Operator (monitoring.coreos.com/v1) is not served, so no ServiceMonitor is made; install it, or set spec.monitoring.mode: Disabled";
    conditions.with(types::SCRAPED, Truth::False, types::reasons::API_NOT_SERVED, message)
}

/// A message of a size that fits a status: 32 KiB is the API's limit, and nobody reads as much.
fn shorten(message: &str) -> String {
    const LONGEST: usize = 2000;
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let end = (0..=LONGEST).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", message.get(..end).unwrap_or_default())
}

pub(crate) fn now() -> String {
    strtime::format("%Y-%m-%dT%H:%M:%SZ", Timestamp::now()).unwrap_or_default()
}

/// Whole seconds since an RFC 3339 time; `None` when the text is none.
pub(crate) fn seconds_since(time: &str) -> Option<i64> {
    let then: Timestamp = time.parse().ok()?;
    Some(Timestamp::now().as_second().saturating_sub(then.as_second()).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kstatus of a resource of any kind, by the rules of cli-utils.
    fn kstatus(generation: i64, observed: Option<i64>, conditions: &[Condition]) -> &'static str {
        let status = |kind: &str| {
            conditions.iter().find(|found| found.kind == kind).map(|found| found.status.as_str())
        };
        if observed.is_some_and(|observed| observed != generation) {
            return "InProgress";
        }
        match (status("Stalled"), status("Reconciling"), status("Ready")) {
            (Some("True"), ..) => "Failed",
            (_, Some("True"), _) | (.., Some("False" | "Unknown")) => "InProgress",
            _ => "Current",
        }
    }

    #[test]
    fn kstatus_of_every_row_is_what_the_table_means() {
        let rows = [
            (Row::Unseen, "InProgress"),
            (Row::Serving, "Current"),
            (Row::PartlyServing, "Current"),
            (Row::ServingWhileChanging, "InProgress"),
            (Row::UnderWay, "InProgress"),
            (Row::Unclear, "InProgress"),
            (Row::Stuck, "Failed"),
        ];
        for (row, expected) in rows {
            let conditions = Conditions::new(&[], 3).row(row, "Reason", "message").finish();
            assert_eq!(kstatus(3, Some(3), &conditions), expected, "{row:?}");
            assert_eq!(kstatus(4, Some(3), &conditions), "InProgress", "{row:?}: the spec changed since");
            let (ready, stalled) = (verdict(row).ready, verdict(row).stalled);
            assert!(!(ready == Truth::True && stalled == Truth::True), "{row:?}");
        }
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let mut before = Conditions::new(&[], 1).row(Row::UnderWay, "Loading", "x").finish();
        for condition in &mut before {
            condition.last_transition_time = "2020-01-01T00:00:00Z".into();
        }
        let after = Conditions::new(&before, 2).row(Row::ServingWhileChanging, "Rolling", "y").finish();
        let time =
            |kind: &str| after.iter().find(|found| found.kind == kind).unwrap().last_transition_time.clone();
        assert_eq!(time("Reconciling"), "2020-01-01T00:00:00Z");
        assert_ne!(time("Ready"), "2020-01-01T00:00:00Z");
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        assert!(shorten(&"é".repeat(5000)).len() <= 2003);
    }
}
