//! Opened test sets: decoded once, kept in memory up to a bound, opened again from the sealed blob when they were dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use agon_protocol::digest::DataDigest;
use agon_protocol::statement::Dataset;

/// The most recently used opened test sets.
#[derive(Debug)]
pub(super) struct OpenSets {
    capacity: usize,
    sets: Mutex<VecDeque<(DataDigest, Arc<Dataset>)>>,
}

impl OpenSets {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
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
}
