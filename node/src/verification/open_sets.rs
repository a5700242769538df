//! Opened test sets: decoded once, kept in memory up to a bound, opened again from the sealed blob when they were dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use agon_protocol::digest::DataDigest;
use agon_protocol::statement::Dataset;

/// Bytes that the opened test sets may have together in memory; the one used last is kept whatever its size.
const MAX_BYTES: u64 = 1 << 30;

/// The most recently used opened test sets.
#[derive(Debug)]
pub(super) struct OpenSets {
    capacity: usize,
    max_bytes: u64,
    sets: Mutex<VecDeque<(DataDigest, Arc<Dataset>)>>,
}

impl OpenSets {
    pub(super) fn new(capacity: usize) -> Self {
        Self::bounded(capacity, MAX_BYTES)
    }

    fn bounded(capacity: usize, max_bytes: u64) -> Self {
        Self {
            capacity,
            max_bytes,
            sets: Mutex::new(VecDeque::new()),
        }
    }

    pub(super) fn get(&self, digest: &DataDigest) -> Option<Arc<Dataset>> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let place = sets.iter().position(|(found, _)| found == digest)?;
        let entry = sets.remove(place)?;
        let dataset = entry.1.clone();
        sets.push_front(entry);
        Some(dataset)
    }

    pub(super) fn put(&self, digest: DataDigest, dataset: Arc<Dataset>) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|(found, _)| *found != digest);
        sets.push_front((digest, dataset));
        sets.truncate(self.capacity);
        let bytes = |sets: &VecDeque<(DataDigest, Arc<Dataset>)>| -> u64 {
            sets.iter().map(|(_, set)| set.encoded_bytes()).sum()
        };
        while sets.len() > 1 && bytes(&sets) > self.max_bytes {
            sets.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_most_recently_used_and_no_more() {
        let sets = OpenSets::new(2);
        let make = |label: u16| Arc::new(Dataset::new(1, 9, vec![0], vec![label]).unwrap());
        for label in 0..2 {
            sets.put(make(label).digest(), make(label));
        }
        assert!(sets.get(&make(0).digest()).is_some());
        sets.put(make(2).digest(), make(2));
        assert!(sets.get(&make(0).digest()).is_some());
        assert!(sets.get(&make(1).digest()).is_none());
        assert!(sets.get(&make(2).digest()).is_some());
    }

    #[test]
    fn large_sets_push_out_older_ones_but_never_themselves() {
        let make =
            |width: usize| Arc::new(Dataset::new(width, 2, vec![0; width], vec![1]).unwrap());
        let sets = OpenSets::bounded(9, make(10).encoded_bytes() + make(11).encoded_bytes());
        for width in [10, 11] {
            sets.put(make(width).digest(), make(width));
        }
        assert!(sets.get(&make(10).digest()).is_some());
        sets.put(make(12).digest(), make(12));
        assert!(sets.get(&make(10).digest()).is_none());
        assert!(sets.get(&make(11).digest()).is_none());
        sets.put(make(1_000).digest(), make(1_000));
        assert!(sets.get(&make(1_000).digest()).is_some());
        assert!(sets.get(&make(12).digest()).is_none());
    }
}
