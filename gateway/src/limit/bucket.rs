//! A token bucket: it holds one minute's worth, is refilled evenly, and may go below empty when a request turns out to
//! have cost more than was reserved. Pure; `shared.lua` computes the same inside Redis.

use std::time::Duration;

const MINUTE_MS: f64 = 60_000.0;

/// What is left of a minute's worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    level: f64,
    at_ms: u64,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn full(limit: u32, now_ms: u64) -> Self {
        Self { level: f64::from(limit), at_ms: now_ms }
    }

    fn refill(&mut self, limit: u32, now_ms: u64) {
        #[allow(clippy::cast_precision_loss)] // exact for longer than any process lives
        let passed = now_ms.saturating_sub(self.at_ms) as f64;
        let limit = f64::from(limit);
        self.level = (self.level + passed * limit / MINUTE_MS).min(limit);
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// Whether `cost` is there; else the time until it will be. A cost above the limit asks for a full bucket.
    ///
    /// # Errors
    /// How long to wait.
    pub fn offers(&mut self, limit: u32, cost: u32, now_ms: u64) -> Result<(), Duration> {
        self.refill(limit, now_ms);
        let cost = f64::from(cost.min(limit));
        if self.level >= cost {
            return Ok(());
        }
        Err(Duration::from_secs_f64((cost - self.level) * MINUTE_MS / f64::from(limit) / 1000.0))
    }

    /// Takes `cost`, or with a negative one gives back, down to any depth.
    pub fn take(&mut self, limit: u32, cost: f64, now_ms: u64) {
        self.refill(limit, now_ms);
        self.level = (self.level - cost).min(f64::from(limit));
    }

    /// Whole units that are left.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
    pub fn left(&self) -> u32 {
        self.level.max(0.0) as u32
    }

    /// Whether it is full, so that it need not be remembered.
    #[must_use]
    pub fn is_full(&mut self, limit: u32, now_ms: u64) -> bool {
        self.refill(limit, now_ms);
        self.level >= f64::from(limit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_minutes_worth_comes_back_in_a_minute() {
        let mut bucket = Bucket::full(60, 0);
        for _ in 0..60 {
            assert_eq!(bucket.offers(60, 1, 0), Ok(()));
            bucket.take(60, 1.0, 0);
        }
        assert_eq!(bucket.offers(60, 1, 0), Err(Duration::from_secs(1)));
        assert_eq!(bucket.offers(60, 1, 1000), Ok(()));
        assert_eq!(bucket.offers(60, 30, 1000), Err(Duration::from_secs(29)));
        assert!(bucket.is_full(60, 60_000));
    }

    #[test]
    fn what_was_underestimated_is_paid_later_and_what_was_not_used_comes_back() {
        let mut bucket = Bucket::full(100, 0);
        bucket.take(100, 150.0, 0);
        assert_eq!(bucket.left(), 0);
        assert_eq!(bucket.offers(100, 1, 0), Err(Duration::from_secs_f64(51.0 * 0.6)));
        bucket.take(100, -500.0, 0);
        assert_eq!(bucket.left(), 100, "never more than a minute's worth");
        assert_eq!(
            bucket.offers(100, 1_000_000, 0),
            Ok(()),
            "a request above the limit passes when all is there"
        );
    }

    proptest! {
        #[test]
        fn no_two_minutes_hold_more_than_three_minutes_worth(
            limit in 1_u32..200,
            steps in proptest::collection::vec(0_u64..3000, 1..400),
        ) {
            let (mut bucket, mut now, mut taken) = (Bucket::full(limit, 0), 0, 0_u32);
            for step in steps {
                now += step;
                if now >= 120_000 { break; }
                if bucket.offers(limit, 1, now).is_ok() {
                    bucket.take(limit, 1.0, now);
                    taken += 1;
                }
            }
            prop_assert!(taken <= 3 * limit);
        }
    }
}
