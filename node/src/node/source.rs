//! The chain as the swarm shows it to peers.

use std::sync::Arc;

use agon_network::{SnapshotOffer, Source, Tip};
use agon_protocol::codec::Encode;
use agon_protocol::units::Height;

use super::certified::encode_verdicts;
use super::snapshots::Shelf;
use crate::ledger::Ledger;

pub(super) struct ChainSource {
    pub(super) ledger: Arc<Ledger>,
    pub(super) shelf: Arc<Shelf>,
}

impl Source for ChainSource {
    fn tip(&self) -> Tip {
        let state = self.ledger.state();
        Tip {
            first: self.ledger.first().get(),
            height: state.height().get(),
            block: state.tip(),
        }
    }

    fn certified_blocks(&self, from: u64, max_count: usize, max_bytes: usize) -> Vec<Vec<u8>> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        // the genesis is no block
        let mut height = Some(Height::new(from)).filter(|height| *height > Height::ZERO);
        while let Some(next) = height.filter(|_| blocks.len() < max_count) {
            match self.ledger.certified(next) {
                Ok(Some(certified)) => {
                    let encoded = certified.to_bytes();
                    bytes += encoded.len();
                    if bytes > max_bytes {
                        break;
                    }
                    blocks.push(encoded);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "a block could not be served to a peer");
                    break;
                }
            }
            height = next.next();
        }
        blocks
    }

    fn verdicts(&self, height: u64) -> Option<Vec<u8>> {
        match self.ledger.block(Height::new(height)) {
            Ok(block) => Some(encode_verdicts(&block?.outcome.receipts)),
            Err(error) => {
                tracing::error!(%error, "the verdicts of a block could not be served to a peer");
                None
            }
        }
    }

    fn snapshots(&self) -> Vec<SnapshotOffer> {
        self.shelf.offers()
    }
}
