//! The wire's decoders for the fuzz targets of `node/fuzz`, and honest messages to start from.

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::digest::{BlobId, BlockId, NetworkId};

use crate::event::Tip;
use crate::wire::{Introduction, Request, Response};

/// A question of a peer.
pub fn request(bytes: &[u8]) {
    if let Ok(request) = Request::from_bytes(bytes) {
        assert!(request.to_bytes() == bytes, "another encoding");
        let _ = request.is_sensible();
    }
}

/// An answer of a peer.
pub fn response(bytes: &[u8]) {
    if let Ok(response) = Response::from_bytes(bytes) {
        assert!(response.to_bytes() == bytes, "another encoding");
    }
}

fn introduction() -> Introduction {
    Introduction {
        network: NetworkId::of(b"network"),
        tip: Tip {
            height: 7,
            block: BlockId::of(b"block"),
        },
    }
}

/// One question of each kind.
pub fn requests() -> Vec<Vec<u8>> {
    let (id, length) = (BlobId::from_raw([5; 32]), 3 << 20);
    [
        Request::Introduce(introduction()),
        Request::Tip(introduction().tip),
        Request::Tree { id, length },
        Request::Chunk {
            id,
            length,
            index: 2,
        },
        Request::Blocks {
            from: 3,
            max_count: 9,
        },
    ]
    .iter()
    .map(Encode::to_bytes)
    .collect()
}

/// Answers with something to decode in them.
pub fn responses() -> Vec<Vec<u8>> {
    [
        Response::Introduction(introduction()),
        Response::Tree(vec![[1; 32], [2; 32]]),
        Response::Chunk(vec![7; 99]),
        Response::Blocks(vec![vec![1; 50], vec![2; 60]]),
        Response::OtherLength(12),
        Response::Refused,
    ]
    .iter()
    .map(Encode::to_bytes)
    .collect()
}
