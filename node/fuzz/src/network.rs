//! What peers send: certified blocks, questions and answers of the public swarm, messages of the consensus engine.

use agon_consensus::CertifiedBlock;

use crate::{Target, is_canonical};

/// Certified blocks, the public swarm's exchange, and the engine's messages.
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
];

/// A block with its commit certificate.
pub fn certified_block(bytes: &[u8]) {
    is_canonical::<CertifiedBlock>(bytes);
}
