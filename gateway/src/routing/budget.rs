//! A budget of extra attempts: every request pays a share of one in, an attempt takes one out. What was not used is kept up
//! to a bound, and a trickle keeps a quiet route from never being tried again.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Attempts that can be saved up.
const CAPACITY: f64 = 10.0;

/// The budget of one route.
#[derive(Debug)]
pub struct Budget {
    share: f64,
    trickle: f64,
    state: Mutex<(f64, Instant)>,
}

impl Budget {
    /// `percent` attempts of a hundred requests, `trickle` more each second; `saved` are there from the start.
    #[must_use]
    pub fn new(percent: u32, trickle: f64, saved: f64) -> Self {
        let share = f64::from(percent) / 100.0;
        let (trickle, saved) = if percent == 0 { (0.0, 0.0) } else { (trickle, saved) };
        Self { share, trickle, state: Mutex::new((saved, Instant::now())) }
    }

    /// A request came.
    pub fn note_request(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = (state.0 + self.share).min(CAPACITY);
    }

    /// Takes one attempt out, if there is one.
    #[must_use]
    pub fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(state.1).as_secs_f64();
        *state = ((state.0 + since * self.trickle).min(CAPACITY), now.max(state.1));
        let there = state.0 >= 1.0;
        if there {
            state.0 -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn attempts_are_the_share_of_requests_and_what_was_saved() {
        let budget = Budget::new(20, 0.0, 3.0);
        let now = Instant::now();
        let mut taken = 0;
        for _ in 0..1000 {
            budget.note_request();
            taken += u32::from(budget.take(now));
        }
        assert_eq!(taken, 203);
    }

    #[test]
    fn a_quiet_route_gets_an_attempt_again_and_a_budget_of_nothing_never() {
        let now = Instant::now();
        let quiet = Budget::new(20, 1.0, 0.0);
        assert!(!quiet.take(now));
        assert!(quiet.take(now + Duration::from_secs(2)));
        let none = Budget::new(0, 1.0, 3.0);
        assert!(!none.take(now + Duration::from_secs(100)));
    }
}
