//! Counts of one process: buckets and requests under way by key, bounded in number.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::bucket::Bucket;
use super::{Charge, Denied, Kind};

/// Keys remembered at once. Beyond, further ones of a limit share one count, so a client that invents project names
/// neither fills the memory nor wipes the counts of others.
const MAX_CELLS: usize = 65_536;
/// Keys looked at for one that can go when there is no room.
const SWEEP_EVERY: usize = 1_024;

enum Cell {
    Bucket(Bucket, u32),
    UnderWay(u32),
}

/// The counts.
pub struct Local {
    epoch: Instant,
    cells: Mutex<Cells>,
}

#[derive(Default)]
struct Cells {
    by_key: HashMap<String, Cell>,
    until_sweep: usize,
}

impl Default for Local {
    fn default() -> Self {
        Self { epoch: Instant::now(), cells: Mutex::default() }
    }
}

impl Local {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes every charge, or none. What is left after each is in the order of the charges.
    pub(super) fn take(&self, charges: &mut [Charge]) -> Result<Vec<u32>, Denied> {
        let now = self.now_ms();
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.make_room(charges, now);
        for (index, charge) in charges.iter().enumerate() {
            match cells.cell(charge, now) {
                Cell::Bucket(bucket, _) => {
                    if let Err(wait) = bucket.offers(charge.limit, charge.cost, now) {
                        return Err(Denied { index, wait: Some(wait) });
                    }
                }
                Cell::UnderWay(count) if *count >= charge.limit => {
                    return Err(Denied { index, wait: None });
                }
                Cell::UnderWay(_) => {}
            }
        }
        let taken = charges.iter().map(|charge| match cells.cell(charge, now) {
            Cell::Bucket(bucket, _) => {
                bucket.take(charge.limit, f64::from(charge.cost.min(charge.limit)), now);
                bucket.left()
            }
            Cell::UnderWay(count) => {
                *count = count.saturating_add(1);
                charge.limit.saturating_sub(*count)
            }
        });
        Ok(taken.collect())
    }

    /// The request is over: places are given back, and `owed` tokens are taken besides those reserved.
    pub(super) fn settle(&self, charges: &[Charge], owed: f64) {
        let now = self.now_ms();
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        for charge in charges {
            match (charge.kind, cells.by_key.get_mut(&charge.key)) {
                (Kind::Tokens, Some(Cell::Bucket(bucket, _))) => bucket.take(charge.limit, owed, now),
                (Kind::Concurrent, Some(Cell::UnderWay(count))) => {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        cells.by_key.remove(&charge.key);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Cells {
    /// Sends charges for keys that there is no room for to the count that such keys share.
    fn make_room(&mut self, charges: &mut [Charge], now: u64) {
        if self.by_key.len() + charges.len() <= MAX_CELLS {
            return;
        }
        if self.until_sweep == 0 {
            self.by_key.retain(|_, cell| match cell {
                Cell::Bucket(bucket, limit) => !bucket.is_full(*limit, now),
                Cell::UnderWay(count) => *count > 0,
            });
            self.until_sweep = SWEEP_EVERY;
        }
        self.until_sweep -= 1;
        if self.by_key.len() + charges.len() > MAX_CELLS {
            for charge in charges.iter_mut().filter(|charge| !self.by_key.contains_key(&charge.key)) {
                charge.key.clone_from(&charge.overflow);
            }
        }
    }

    fn cell(&mut self, charge: &Charge, now: u64) -> &mut Cell {
        self.by_key.entry(charge.key.clone()).or_insert_with(|| match charge.kind {
            Kind::Concurrent => Cell::UnderWay(0),
            Kind::Requests | Kind::Tokens => Cell::Bucket(Bucket::full(charge.limit, now), charge.limit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(kind: Kind, key: &str, limit: u32) -> Charge {
        Charge { rule: 0, kind, key: key.into(), overflow: "overflow".into(), limit, cost: 1 }
    }

    #[test]
    fn a_charge_that_is_denied_takes_nothing_of_the_others() {
        let local = Local::default();
        let both = || vec![charge(Kind::Requests, "r", 10), charge(Kind::Concurrent, "c", 1)];
        assert_eq!(local.take(&mut both()).unwrap(), [9, 0]);
        assert_eq!(local.take(&mut both()).unwrap_err().index, 1);
        local.settle(&both(), 0.0);
        assert_eq!(local.take(&mut both()).unwrap(), [8, 0], "the denied one cost nothing");
    }

    #[test]
    fn invented_keys_share_one_count_when_there_is_no_room() {
        let local = Local::default();
        let _mine = local.take(&mut [charge(Kind::Requests, "mine", 2)]).unwrap();
        for index in 0..MAX_CELLS * 2 {
            let _either = local.take(&mut [charge(Kind::Requests, &format!("k{index}"), 2)]);
        }
        assert!(local.cells.lock().unwrap().by_key.len() <= MAX_CELLS + 1);
        let shared = local.take(&mut [charge(Kind::Requests, "one more", 2)]);
        assert!(shared.is_err(), "the shared count is used up");
        assert_eq!(
            local.take(&mut [charge(Kind::Requests, "mine", 2)]).unwrap(),
            [0],
            "mine was not forgotten"
        );
    }
}
