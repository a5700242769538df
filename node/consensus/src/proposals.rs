//! The blocks proposed at the height that is being decided, and what this node knows of each.
//!
//! Pure bookkeeping with bounds; knows neither disk nor engine.

use std::collections::{BTreeMap, BTreeSet};

use agon_protocol::digest::BlockId;

/// Different blocks taken from the proposer of one round. An honest one sends one; the engine keeps two, to prove a lie.
const MAX_BLOCKS_PER_ROUND: usize = 2;

/// Blocks that wait for a verdict. More come only in a long halt; the oldest give way, and come again when re-proposed.
const MAX_WAITING: usize = 16;

/// How many rounds ahead of its own this node listens, as the engine itself does.
const MAX_ROUNDS_AHEAD: u32 = 10;

/// What is known of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No verdict yet. `timely` is what the ledger said when it arrived.
    Waiting { block: Vec<u8>, timely: bool },
    /// Valid, and on disk.
    Accepted,
    /// A rule is broken.
    Refused,
}

/// The blocks of one height.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    height: u64,
    round: u32,
    /// By block: the last round that it was proposed in, and its standing.
    blocks: BTreeMap<BlockId, (u32, Standing)>,
    rounds: BTreeMap<u32, BTreeSet<BlockId>>,
}

impl Proposals {
    /// Forgets the blocks of the last height.
    pub(crate) fn start(&mut self, height: u64) {
        *self = Self {
            height,
            ..Self::default()
        };
    }

    pub(crate) fn enter_round(&mut self, round: u32) {
        self.round = round;
    }

    /// The height that is being decided; zero before the first.
    pub(crate) fn height(&self) -> u64 {
        self.height
    }

    /// Whether a block may be looked at in this round; notes it if so.
    pub(crate) fn admit(&mut self, round: u32, id: BlockId) -> bool {
        if round > self.round.saturating_add(MAX_ROUNDS_AHEAD) {
            return false;
        }
        let seen = self.rounds.entry(round).or_default();
        if !seen.contains(&id) && seen.len() >= MAX_BLOCKS_PER_ROUND {
            return false;
        }
        seen.insert(id);
        if let Some((last, _)) = self.blocks.get_mut(&id) {
            *last = round.max(*last);
        }
        true
    }

    /// What is known of a block.
    pub(crate) fn standing(&self, id: &BlockId) -> Option<&Standing> {
        self.blocks.get(id).map(|(_, standing)| standing)
    }

    /// The last round a block was proposed in.
    pub(crate) fn last_round(&self, id: &BlockId) -> Option<u32> {
        self.blocks.get(id).map(|(round, _)| *round)
    }

    /// Sets what is known of a block that was proposed in `round`.
    pub(crate) fn set(&mut self, id: BlockId, round: u32, standing: Standing) {
        let last = self.last_round(&id).map_or(round, |last| last.max(round));
        self.blocks.insert(id, (last, standing));
        let waiting = self.waiting();
        if waiting.len() > MAX_WAITING
            && let Some(oldest) = waiting.iter().min_by_key(|id| self.last_round(id))
        {
            self.blocks.remove(oldest);
        }
    }

    /// The blocks without a verdict.
    pub(crate) fn waiting(&self) -> Vec<BlockId> {
        let is_waiting = |standing: &Standing| matches!(standing, Standing::Waiting { .. });
        self.blocks
            .iter()
            .filter(|(_, (_, standing))| is_waiting(standing))
            .map(|(id, _)| *id)
            .collect()
    }

    /// The blocks with a verdict: id, last round, whether it is valid.
    pub(crate) fn judged(&self) -> impl Iterator<Item = (BlockId, u32, bool)> {
        self.blocks
            .iter()
            .filter_map(|(id, (round, standing))| match standing {
                Standing::Waiting { .. } => None,
                Standing::Accepted => Some((*id, *round, true)),
                Standing::Refused => Some((*id, *round, false)),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> BlockId {
        BlockId::of(&number.to_le_bytes())
    }

    fn waiting() -> Standing {
        Standing::Waiting {
            block: Vec::new(),
            timely: true,
        }
    }

    #[test]
    fn rejects_a_third_block_of_one_round_and_rounds_far_ahead() {
        let mut proposals = Proposals::default();
        proposals.start(1);
        assert!(proposals.admit(0, id(1)) && proposals.admit(0, id(2)));
        assert!(proposals.admit(0, id(1)), "a repetition is no new block");
        assert!(!proposals.admit(0, id(3)));
        assert!(proposals.admit(MAX_ROUNDS_AHEAD, id(4)));
        assert!(!proposals.admit(MAX_ROUNDS_AHEAD + 1, id(5)));
        proposals.enter_round(1);
        assert!(proposals.admit(MAX_ROUNDS_AHEAD + 1, id(5)));
    }

    #[test]
    fn waiting_blocks_are_bounded_and_the_oldest_gives_way() {
        let mut proposals = Proposals::default();
        proposals.start(1);
        for round in 0..=MAX_WAITING as u32 {
            proposals.set(id(round), round, waiting());
        }
        assert_eq!(proposals.waiting().len(), MAX_WAITING);
        assert_eq!(proposals.standing(&id(0)), None);
        assert_eq!(proposals.standing(&id(1)), Some(&waiting()));
    }

    #[test]
    fn a_block_keeps_the_last_round_it_was_proposed_in() {
        let mut proposals = Proposals::default();
        proposals.start(1);
        proposals.admit(0, id(1));
        proposals.set(id(1), 0, Standing::Accepted);
        proposals.admit(3, id(1));
        assert_eq!(proposals.judged().collect::<Vec<_>>(), [(id(1), 3, true)]);
        proposals.start(2);
        assert_eq!(proposals.judged().count(), 0);
    }
}
