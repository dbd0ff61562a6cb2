//! What is known of one address from the requests it got: whether to go on, to try it once, to pass it over, or to leave it
//! alone. Only an address's own faults count: a request that was wrong says nothing about who refused it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an address that refused a connection is passed over where there is another.
const AVOID: Duration = Duration::from_secs(5);
/// Own faults in a row that open the circuit.
const FAULTS: u32 = 5;
/// How long it stays open; doubled each time a trial fails.
const OPEN: Duration = Duration::from_secs(5);
const LONGEST_OPEN: Duration = Duration::from_secs(60);
/// A trial that has not ended by then is forgotten, and another one is made.
const TRIAL: Duration = Duration::from_secs(60);

/// Whose fault a failed request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection: nothing was sent.
    Unreachable,
    /// The address failed: an error of its own, a broken or senseless answer, no answer in time.
    Own,
    /// It has too much to do, and may say for how long.
    Busy(Option<Duration>),
}

/// What to do with an address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Use it.
    Ready,
    /// One request may find out whether it works again.
    Trial,
    /// Use it only if there is no other.
    Avoid,
    /// Leave it alone for this long; `true`: it asked for that.
    Closed(Duration, bool),
}

/// What is known of one address.
#[derive(Debug, Default)]
pub struct Circuit {
    /// Whether there is anything to know; spares the lock while all is well.
    troubled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: u32,
    opened: u32,
    open_until: Option<Instant>,
    trial_since: Option<Instant>,
    avoid_until: Option<Instant>,
    hold_until: Option<Instant>,
}

impl Circuit {
    /// What to do now.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        if !self.troubled.load(Ordering::Relaxed) {
            return Standing::Ready;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |until: Option<Instant>| until.filter(|until| *until > now).map(|until| until - now);
        if let Some(left) = left(state.hold_until) {
            return Standing::Closed(left, true);
        }
        if let Some(left) = left(state.open_until) {
            return Standing::Closed(left, false);
        }
        if state.open_until.is_some() {
            return match state.trial_since.map(|since| now.saturating_duration_since(since)) {
                Some(since) if since < TRIAL => Standing::Closed(Duration::from_secs(1), false),
                _ => Standing::Trial,
            };
        }
        if left(state.avoid_until).is_some() { Standing::Avoid } else { Standing::Ready }
    }

    /// Takes the trial, if it is still to be had.
    #[must_use]
    pub fn take_trial(&self, now: Instant) -> bool {
        if self.standing(now) != Standing::Trial {
            return false;
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trial_since = Some(now);
        true
    }

    /// It answered, if only to say that the request was wrong.
    pub fn answered(&self) {
        if self.troubled.swap(false, Ordering::Relaxed) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            *state = State { hold_until: state.hold_until, ..State::default() };
            self.troubled.store(state.hold_until.is_some(), Ordering::Relaxed);
        }
    }

    /// A request to it ended without an answer that tells whether it works, as when its client left.
    pub fn forget_trial(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).trial_since = None;
        }
    }

    /// It failed. Tells whether the circuit opened by that.
    pub fn failed(&self, fault: Fault, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.troubled.store(true, Ordering::Relaxed);
        match fault {
            Fault::Unreachable => state.avoid_until = Some(now + AVOID),
            Fault::Busy(pause) => {
                state.trial_since = None;
                state.hold_until = pause.map(|pause| now + pause).or(state.hold_until);
            }
            Fault::Own => {
                state.faults += 1;
                if state.faults >= FAULTS || state.trial_since.is_some() {
                    let open = OPEN.saturating_mul(1 << state.opened.min(8)).min(LONGEST_OPEN);
                    state.open_until = Some(now + open);
                    state.opened += 1;
                    state.trial_since = None;
                    return true;
                }
            }
        }
        false
    }

    /// A probe was answered: connections stand again. Whether requests are answered, only a request tells.
    pub fn probe_passed(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).avoid_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn faults_in_a_row_open_it_and_a_trial_decides() {
        let circuit = Circuit::default();
        let now = Instant::now();
        for _ in 0..FAULTS - 1 {
            assert!(!circuit.failed(Fault::Own, now));
        }
        circuit.answered();
        for _ in 0..FAULTS - 1 {
            assert!(!circuit.failed(Fault::Own, now), "an answer in between begins the count anew");
        }
        assert!(circuit.failed(Fault::Own, now));
        assert_eq!(circuit.standing(now), Standing::Closed(OPEN, false));
        assert!(!circuit.take_trial(now));

        let later = now + OPEN;
        assert_eq!(circuit.standing(later), Standing::Trial);
        assert!(circuit.take_trial(later) && !circuit.take_trial(later), "one trial at a time");
        assert!(circuit.failed(Fault::Own, later), "a failed trial opens it at once");
        assert_eq!(circuit.standing(later), Standing::Closed(OPEN * 2, false));

        let again = later + OPEN * 2;
        assert!(circuit.take_trial(again));
        circuit.answered();
        assert_eq!(circuit.standing(again), Standing::Ready);
    }

    #[test]
    fn an_open_circuit_is_never_open_for_more_than_a_minute() {
        let circuit = Circuit::default();
        let mut now = Instant::now();
        for _ in 0..FAULTS {
            circuit.failed(Fault::Own, now);
        }
        for _ in 0..20 {
            now += LONGEST_OPEN;
            assert!(circuit.take_trial(now));
            circuit.failed(Fault::Own, now);
        }
        assert_eq!(circuit.standing(now), Standing::Closed(LONGEST_OPEN, false));
    }

    #[test]
    fn a_refused_connection_is_passed_over_until_a_probe_or_time_says_otherwise() {
        let now = Instant::now();
        let circuit = Circuit::default();
        circuit.failed(Fault::Unreachable, now);
        assert_eq!(circuit.standing(now), Standing::Avoid);
        assert_eq!(circuit.standing(now + AVOID), Standing::Ready);
        circuit.failed(Fault::Unreachable, now);
        circuit.probe_passed();
        assert_eq!(circuit.standing(now), Standing::Ready);
    }

    #[test]
    fn what_a_busy_address_asks_for_is_given_and_counts_as_no_fault() {
        let now = Instant::now();
        let circuit = Circuit::default();
        for _ in 0..FAULTS * 2 {
            assert!(!circuit.failed(Fault::Busy(Some(Duration::from_secs(3))), now));
        }
        assert_eq!(circuit.standing(after(now, 1)), Standing::Closed(Duration::from_secs(2), true));
        circuit.answered();
        assert_eq!(
            circuit.standing(after(now, 1)),
            Standing::Closed(Duration::from_secs(2), true),
            "an answer to an older request does not shorten it"
        );
        assert_eq!(circuit.standing(after(now, 3)), Standing::Ready);
    }

    #[test]
    fn a_probe_does_not_close_a_circuit_that_requests_opened() {
        let now = Instant::now();
        let circuit = Circuit::default();
        for _ in 0..FAULTS {
            circuit.failed(Fault::Own, now);
        }
        circuit.probe_passed();
        assert!(matches!(circuit.standing(now), Standing::Closed(..)));
    }
}
