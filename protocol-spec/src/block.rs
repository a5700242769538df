//! Blocks: transactions in their order, bound to one network and one parent.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use crate::digest::{BlockId, NetworkId, StateRoot};
use crate::identity::AccountId;
use crate::limits::{
    MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, MAX_PROPOSAL_LAG_MS, MAX_PROPOSAL_LEAD_MS,
};
use crate::transactions::SignedTransaction;
use crate::units::{Height, TimeMs};

/// Bytes of a block without transactions.
pub const EMPTY_BLOCK_BYTES: usize = 2 + 32 + 8 + 8 + 32 + 32 + 32 + 4;

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Version of the rules; the one in force at its height.
    pub version: u16,
    /// The network.
    pub network: NetworkId,
    /// One more than the parent's.
    pub height: Height,
    /// Later than the parent's.
    pub time: TimeMs,
    /// The block before, or the genesis.
    pub parent: BlockId,
    /// The validator that made it.
    pub proposer: AccountId,
    /// Digest of the state after this block.
    pub state_root: StateRoot,
    /// What happens.
    pub transactions: Vec<SignedTransaction>,
}

impl Block {
    /// Its name: the digest of its encoding.
    pub fn id(&self) -> BlockId {
        BlockId::of(&self.to_bytes())
    }
}

impl Encode for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            version,
            network,
            height,
            time,
            parent,
            proposer,
            state_root,
            transactions,
        } = self;
        version.encode(out);
        network.encode(out);
        height.encode(out);
        time.encode(out);
        parent.encode(out);
        proposer.encode(out);
        state_root.encode(out);
        encode_list(transactions, out);
    }
}

impl Decode for Block {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let before = reader.remaining();
        let block = Self {
            version: u16::decode(reader)?,
            network: NetworkId::decode(reader)?,
            height: Height::decode(reader)?,
            time: TimeMs::decode(reader)?,
            parent: BlockId::decode(reader)?,
            proposer: AccountId::decode(reader)?,
            state_root: StateRoot::decode(reader)?,
            // the shortest transaction approves an upgrade: 72 bytes of header, tag, measure, set version and signature
            transactions: reader.list(MAX_BLOCK_TRANSACTIONS, 156, "transactions")?,
        };
        let found = before - reader.remaining();
        if found > MAX_BLOCK_BYTES {
            let (found, limit) = (found as u64, MAX_BLOCK_BYTES as u64);
            return Err(DecodeError::TooLong {
                what: "block",
                found,
                limit,
            });
        }
        Ok(block)
    }
}

/// # Rule BLK-10
/// A validator votes for a fresh proposal only when the block's time lies within [now - 5 s, now + 2 s] of its clock.
/// Blocks that are synced or proposed again are not checked against a clock.
pub fn is_fresh(time: TimeMs, now: TimeMs) -> bool {
    let (earliest, latest) = (
        now.saturating_sub(MAX_PROPOSAL_LAG_MS),
        now.saturating_add(MAX_PROPOSAL_LEAD_MS),
    );
    (earliest..=latest).contains(&time)
}
