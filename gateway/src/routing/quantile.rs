//! The time in which 95 of 100 first tokens come, kept in 64 buckets of a factor of about 1.2 each. Old answers count less:
//! whenever [`FULL`] are in, every bucket is halved.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const BUCKETS: usize = 64;
const FULL: u32 = 1024;
/// Fewer answers than this say nothing.
const ENOUGH: u32 = 20;
/// Upper bound of the first bucket in seconds, and the factor between two.
const FIRST: f64 = 0.001;
const FACTOR: f64 = 1.2;

/// Times of one route.
#[derive(Debug)]
pub struct Quantile {
    buckets: [AtomicU32; BUCKETS],
    total: AtomicU32,
}

impl Default for Quantile {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU32::new(0)), total: AtomicU32::new(0) }
    }
}

impl Quantile {
    /// An answer began after `took`.
    pub fn note(&self, took: Duration) {
        let place = (took.as_secs_f64() / FIRST).max(1.0).ln() / FACTOR.ln();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // at least 0, and bounded by the next line
        let place = (place.ceil() as usize).min(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        if self.total.fetch_add(1, Ordering::Relaxed) >= FULL {
            let mut left = 0;
            for bucket in &self.buckets {
                let half = bucket.load(Ordering::Relaxed) / 2;
                bucket.store(half, Ordering::Relaxed);
                left += half;
            }
            self.total.store(left, Ordering::Relaxed);
        }
    }

    /// The time in which 95 of 100 come, once enough have.
    #[must_use]
    pub fn p95(&self) -> Option<Duration> {
        let total = self.total.load(Ordering::Relaxed);
        if total < ENOUGH {
            return None;
        }
        let late = total / 20;
        let mut above = 0;
        for (place, bucket) in self.buckets.iter().enumerate().rev() {
            above += bucket.load(Ordering::Relaxed);
            if above > late {
                let place = i32::try_from(place).unwrap_or(i32::MAX);
                return Some(Duration::from_secs_f64(FIRST * FACTOR.powi(place)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_late_twentieth_is_beyond_it() {
        let quantile = Quantile::default();
        assert_eq!(quantile.p95(), None, "nothing is known yet");
        for _ in 0..96 {
            quantile.note(Duration::from_millis(100));
        }
        for _ in 0..4 {
            quantile.note(Duration::from_secs(9));
        }
        let p95 = quantile.p95().unwrap().as_secs_f64();
        assert!((0.1..0.125).contains(&p95), "{p95}");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let quantile = Quantile::default();
        for _ in 0..2000 {
            quantile.note(Duration::from_secs(5));
        }
        for _ in 0..8000 {
            quantile.note(Duration::from_millis(10));
        }
        assert!(quantile.p95().unwrap() < Duration::from_millis(20));
    }
}
