//! What peers and clients send: certified blocks, questions and answers of the public swarm, messages of the consensus engine,
//! transactions for the mempool, verdicts, sealed test sets, and what a node's API answers.

use agon_consensus::CertifiedBlock;
use agon_node::sealed;
use agon_protocol::sealed::DataKey;

use crate::{Target, is_canonical};

/// Everything that comes over a connection and is more than a canonical encoding.
pub const TARGETS: &[Target] = &[
    Target {
        name: "certified_block",
        run: certified_block,
        seeds: agon_consensus::fuzzing::certified_blocks,
    },
    Target {
        name: "engine",
        run: agon_consensus::fuzzing::message,
        seeds: agon_consensus::fuzzing::messages,
    },
    Target {
        name: "request",
        run: agon_network::fuzzing::request,
        seeds: agon_network::fuzzing::requests,
    },
    Target {
        name: "response",
        run: agon_network::fuzzing::response,
        seeds: agon_network::fuzzing::responses,
    },
    Target {
        name: "evidence",
        run: agon_consensus::fuzzing::evidence,
        seeds: agon_consensus::fuzzing::contradictions,
    },
    Target {
        name: "told_verdicts",
        run: agon_node::fuzzing::told_verdicts,
        seeds: agon_node::fuzzing::verdicts,
    },
    Target {
        name: "mempool",
        run: agon_node::fuzzing::mempool,
        seeds: agon_node::fuzzing::transactions,
    },
    Target {
        name: "settlement",
        run: agon_node::fuzzing::settlement,
        seeds: agon_node::fuzzing::settlements,
    },
    Target {
        name: "sealed",
        run: sealed_data,
        seeds: || {
            let blob = sealed::seal(&KEY, &crate::circuits::tiny_data());
            vec![blob.expect("a small data set can be sealed")]
        },
    },
    Target {
        name: "answer",
        run: agon_node::fuzzing::answer,
        seeds: agon_node::fuzzing::answers,
    },
];

const KEY: DataKey = DataKey::from_raw([9; 32]);

/// A block with its commit certificate.
pub fn certified_block(bytes: &[u8]) -> bool {
    is_canonical::<CertifiedBlock>(bytes).is_some()
}

/// A sealed test set. Without its key nobody can seal another one.
pub fn sealed_data(bytes: &[u8]) -> bool {
    let Ok(data) = sealed::open(&KEY, bytes) else {
        return false;
    };
    assert!(data == crate::circuits::tiny_data());
    true
}
