//! The last events, once for all listeners.
//!
//! A listener has nothing of its own but a position. So what listeners cost does not depend on how slow they are: one whose position has
//! left the journal is told so, and is cut off.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agon_protocol::digest::CompetitionId;
use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::watch;

/// Events that are kept.
const MAX_EVENTS: usize = 1_024;
/// Their bytes.
const MAX_BYTES: usize = 4 << 20;
/// Events that are read at once.
const MAX_READ: usize = 64;

/// An event, ready to be sent.
#[derive(Debug)]
pub(super) struct Entry {
    number: u64,
    pub(super) kind: &'static str,
    /// The competition that it is about, if it is about one.
    pub(super) competition: Option<CompetitionId>,
    /// As it goes over the wire.
    pub(super) text: Bytes,
}

/// A listener's position has left the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behind;

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

/// The last events of this run of the node.
#[derive(Debug)]
pub(in crate::api) struct Journal {
    /// Names the run, so that a position of another one is not taken for one of this.
    run: u64,
    kept: Mutex<Kept>,
    last: watch::Sender<u64>,
}

impl Journal {
    /// An empty one; `run` is another number at every start.
    pub(in crate::api) fn new(run: u64) -> Self {
        Self {
            run,
            kept: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an event.
    pub(super) fn add(
        &self,
        kind: &'static str,
        competition: Option<CompetitionId>,
        data: &impl Serialize,
    ) {
        let mut kept = self.lock();
        let number = *self.last.borrow() + 1;
        let entry = Entry {
            number,
            kind,
            competition,
            text: self.text(number, kind, data),
        };
        kept.bytes += entry.text.len();
        kept.entries.push_back(Arc::new(entry));
        while kept.entries.len() > MAX_EVENTS || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.entries.pop_front() else {
                break;
            };
            kept.bytes -= oldest.text.len();
        }
        // before the lock is given back: numbers rise in the order of the journal
        self.last.send_replace(number);
    }

    /// An event as it goes over the wire; it leads a listener behind `number`.
    pub(super) fn text(&self, number: u64, kind: &str, data: &impl Serialize) -> Bytes {
        let data = serde_json::to_string(data).expect("the API's objects have string keys only");
        let run = self.run;
        format!("id: {run}-{number}\nevent: {kind}\ndata: {data}\n\n").into()
    }

    /// The position behind the last event.
    pub(super) fn end(&self) -> u64 {
        *self.last.borrow()
    }

    /// The position that an event's id stands for, when everything behind it is still here.
    pub(super) fn position(&self, id: &str) -> Option<u64> {
        let (run, number) = id.split_once('-')?;
        let position = number.parse().ok()?;
        let is_ours = run.parse() == Ok(self.run) && position <= self.end();
        (is_ours && self.read(position).is_ok()).then_some(position)
    }

    /// The next events behind a position, and the position behind them.
    pub(super) fn read(&self, position: u64) -> Result<(Vec<Arc<Entry>>, u64), Behind> {
        let kept = self.lock();
        let oldest = match kept.entries.front() {
            Some(entry) => entry.number,
            None => self.end() + 1,
        };
        if position + 1 < oldest {
            return Err(Behind);
        }
        let from = (position + 1 - oldest) as usize;
        let next = kept.entries.iter().skip(from).take(MAX_READ);
        let next: Vec<_> = next.cloned().collect();
        let end = next.last().map_or(position, |entry| entry.number);
        Ok((next, end))
    }

    /// Follows the number of the last event.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_in_order_from_any_position_that_is_kept() {
        let journal = Journal::new(7);
        for number in 1..=100 {
            journal.add("block", None, &number);
        }
        let (first, position) = journal.read(0).unwrap();
        assert_eq!((first.len(), position), (MAX_READ, MAX_READ as u64));
        assert_eq!(&first[0].text[..], b"id: 7-1\nevent: block\ndata: 1\n\n");
        let (rest, position) = journal.read(position).unwrap();
        assert_eq!((rest.len(), position), (100 - MAX_READ, 100));
        assert_eq!(journal.read(100).unwrap().0.len(), 0);
        assert_eq!(journal.position("7-40"), Some(40));
        for other in ["8-40", "7-101", "7", "", "7--1", "x-1"] {
            assert_eq!(journal.position(other), None, "{other}");
        }
    }

    #[test]
    fn the_journal_is_bounded_and_says_who_is_behind() {
        let journal = Journal::new(1);
        for number in 0..2 * MAX_EVENTS {
            journal.add("block", None, &number);
        }
        assert_eq!(journal.read(0).unwrap_err(), Behind);
        assert!(journal.read(MAX_EVENTS as u64).is_ok());
        let large = "x".repeat(MAX_BYTES / 2);
        for _ in 0..3 {
            journal.add("block", None, &large);
        }
        assert!(journal.lock().bytes <= MAX_BYTES);
        assert_eq!(journal.lock().entries.len(), 1);
    }
}
