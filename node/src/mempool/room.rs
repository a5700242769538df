//! Who may have how much of the pool. Nothing that was admitted makes room for a newcomer: the newcomer is refused, and told when
//! to come back.

use super::refusal::Refusal;
use crate::config::MempoolConfig;

/// What a transaction needs before a block can take it, as far as room is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing has been checked but its signature: earlier transactions of its sender, or a block, must come first. Such
    /// transactions cost their sender nothing, so they have a small share.
    Ahead,
    /// It names blobs, which must get here first; whether they ever do is up to others.
    Blobs,
    /// Valid as the ledger stands.
    Plain,
}

const CLASSES: usize = 3;

/// How many transactions, and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Usage {
    pub(super) fn add(&mut self, length: usize) {
        self.count += 1;
        self.bytes += length;
    }

    fn remove(&mut self, length: usize) {
        self.count -= 1;
        self.bytes -= length;
    }

    fn fits(self, length: usize, limit: Self) -> bool {
        self.count < limit.count && self.bytes + length <= limit.bytes
    }
}

/// What is in use, by class.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usages([Usage; CLASSES]);

impl Usages {
    pub(super) fn of(&self, class: Class) -> Usage {
        self.0[class as usize]
    }

    pub(super) fn add(&mut self, class: Class, length: usize) {
        self.0[class as usize].add(length);
    }

    pub(super) fn remove(&mut self, class: Class, length: usize) {
        self.0[class as usize].remove(length);
    }

    pub(super) fn total(&self) -> Usage {
        let mut total = Usage::default();
        for usage in self.0 {
            total.count += usage.count;
            total.bytes += usage.bytes;
        }
        total
    }
}

/// The given part of the pool; at least one transaction, so that a small pool takes every kind.
fn share(limits: &MempoolConfig, percent: usize) -> Usage {
    Usage {
        count: (limits.transactions.saturating_mul(percent) / 100).max(1),
        bytes: limits.bytes.saturating_mul(percent) / 100,
    }
}

/// Whether a newcomer of `length` bytes finds room. One that is `near` its deadline may use the part of the pool that
/// is kept free for such.
pub(super) fn check(
    limits: &MempoolConfig,
    used: &Usages,
    class: Class,
    near: bool,
    length: usize,
) -> Result<(), Refusal> {
    let kept_free = if near { 0 } else { limits.reserved_percent };
    let all = share(limits, 100 - kept_free.min(100));
    if !used.total().fits(length, all) {
        return Err(Refusal::Full);
    }
    let own = match class {
        Class::Ahead => share(limits, limits.ahead_percent),
        Class::Blobs if !near => share(limits, limits.blobs_percent),
        Class::Blobs | Class::Plain => return Ok(()),
    };
    match used.of(class).fits(length, own) {
        true => Ok(()),
        false => Err(Refusal::ShareFull {
            what: match class {
                Class::Ahead => "transactions that wait for an earlier one",
                Class::Blobs | Class::Plain => "transactions that wait for their blobs",
            },
        }),
    }
}
