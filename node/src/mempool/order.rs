//! Which waiting transactions a proposer offers, and in which order.
//!
//! 1. Transactions that are near their deadline come first, the nearest deadline first, each with the earlier ones of its
//!    sender that it needs; together they take at most half of a block, so that they cannot stop everything else.
//! 2. All others come by the height at which they are *due*. A transaction is due at the block after its arrival, but one block
//!    later than the one before it of the same sender: each sender is owed a place in every block, and who sends many queues
//!    behind itself. Among those due at the same height, the one that arrived first goes first.
//!
//! Whatever others send, a transaction waits only for those that were due before it, or arrived before it: nobody can starve it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use agon_protocol::identity::AccountId;
use agon_protocol::units::TimeMs;

/// Bounds of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Transactions.
    pub transactions: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Room {
    fn half(self) -> Self {
        Self {
            transactions: self.transactions.div_ceil(2),
            bytes: self.bytes.div_ceil(2),
        }
    }

    /// As much as so many blocks.
    pub fn times(self, blocks: usize) -> Self {
        Self {
            transactions: self.transactions.saturating_mul(blocks),
            bytes: self.bytes.saturating_mul(blocks),
        }
    }

    /// Takes the place of transactions, if there is enough.
    fn take(&mut self, transactions: usize, bytes: usize) -> bool {
        if transactions > self.transactions || bytes > self.bytes {
            return false;
        }
        self.transactions -= transactions;
        self.bytes -= bytes;
        true
    }
}

/// A transaction that could be in the next block, if those before it in its queue are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) arrival: u64,
    /// Height at which its sender is owed its place.
    pub(super) due: u64,
    pub(super) length: usize,
    /// The deadline, when it is near.
    pub(super) deadline: Option<TimeMs>,
}

/// The candidates of each sender, by nonce without a gap.
pub(super) type Queues = BTreeMap<AccountId, Vec<Candidate>>;

/// The arrivals of the chosen candidates, in the order in which a block should take them: at most `offered` in all, those
/// near a deadline in at most half of a `block`.
pub(super) fn choose(queues: &Queues, block: Room, mut offered: Room) -> Vec<u64> {
    let mut taken: HashMap<AccountId, usize> = HashMap::new();
    let mut chosen = Vec::new();
    let mut first = block.half();
    for (sender, end) in near_deadlines(queues) {
        let start = taken.get(&sender).copied().unwrap_or(0);
        let run = queues[&sender].get(start..end).unwrap_or_default();
        let bytes = run.iter().map(|candidate| candidate.length).sum();
        let mut left = first;
        if left.take(run.len(), bytes) && offered.take(run.len(), bytes) {
            first = left;
            chosen.extend(run.iter().map(|candidate| candidate.arrival));
            taken.insert(sender, start.max(end));
        }
    }
    by_due(queues, &mut taken, offered, &mut chosen);
    chosen
}

/// Who has a transaction near its deadline, and how many of its queue it takes to get there; nearest deadline first.
fn near_deadlines(queues: &Queues) -> Vec<(AccountId, usize)> {
    let mut near = Vec::new();
    for (sender, queue) in queues {
        for (index, candidate) in queue.iter().enumerate() {
            if let Some(deadline) = candidate.deadline {
                near.push((deadline, candidate.arrival, *sender, index + 1));
            }
        }
    }
    near.sort_unstable();
    near.into_iter()
        .map(|(_, _, sender, end)| (sender, end))
        .collect()
}

/// The others, by the height at which they are due.
fn by_due(
    queues: &Queues,
    taken: &mut HashMap<AccountId, usize>,
    mut offered: Room,
    chosen: &mut Vec<u64>,
) {
    let mut heads = BinaryHeap::new();
    let push = |heads: &mut BinaryHeap<_>, sender: AccountId, index: usize, after: u64| {
        if let Some(candidate) = queues.get(&sender).and_then(|queue| queue.get(index)) {
            // one that overtook an earlier one of its sender on the way here waits for it
            let due = candidate.due.max(after);
            heads.push(Reverse((due, candidate.arrival, sender, index)));
        }
    };
    for sender in queues.keys() {
        push(&mut heads, *sender, taken.remove(sender).unwrap_or(0), 0);
    }
    while let Some(Reverse((due, arrival, sender, index))) = heads.pop() {
        if !offered.take(1, queues[&sender][index].length) {
            // the rest of this sender waits; a shorter one of another may still fit
            continue;
        }
        chosen.push(arrival);
        push(&mut heads, sender, index + 1, due + 1);
    }
}
