//! The wire's decoders for the fuzz targets of `node/fuzz`, and honest messages to start from.

use std::sync::LazyLock;

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::digest::{BlobId, BlockId, NetworkId};
use futures::FutureExt;
use futures::io::Cursor;
use libp2p::request_response::Codec;

use crate::blobs::{ChunkTree, ChunkTreeBuilder};
use crate::event::{SnapshotOffer, Tip};
use crate::wire::{EXCHANGE, ExchangeCodec, Introduction, Question, Request, Response};

/// What a peer sends on a stream.
fn framed(message: &[u8]) -> Cursor<Vec<u8>> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    Cursor::new([&length.to_le_bytes()[..], message].concat())
}

/// A question of a peer; like all of these, says whether the input was accepted.
pub fn request(bytes: &[u8]) -> bool {
    let decoded = Request::from_bytes(bytes);
    if let Ok(request) = &decoded {
        assert!(request.to_bytes() == bytes, "another encoding");
        let _ = request.is_sensible();
    }
    let (mut codec, mut stream) = (ExchangeCodec, framed(bytes));
    let read = codec.read_request(&EXCHANGE, &mut stream).now_or_never();
    match (read, &decoded) {
        (Some(Ok(Question::Sound(read))), Ok(decoded)) => assert_eq!(read, *decoded),
        (Some(Ok(Question::Broken)), Err(_)) => {}
        (read, decoded) => panic!("{decoded:?} is read from a stream as {read:?}"),
    }
    decoded.is_ok()
}

/// An answer of a peer.
pub fn response(bytes: &[u8]) -> bool {
    let decoded = Response::from_bytes(bytes);
    let (mut codec, mut stream) = (ExchangeCodec, framed(bytes));
    let read = codec.read_response(&EXCHANGE, &mut stream).now_or_never();
    match (read, &decoded) {
        (Some(Ok(read)), Ok(decoded)) => assert!(read == *decoded, "another answer on a stream"),
        (Some(Err(_)), Err(_)) => {}
        (read, decoded) => panic!("{decoded:?} is read from a stream as {read:?}"),
    }
    let Ok(response) = decoded else {
        return false;
    };
    assert!(response.to_bytes() == bytes, "another encoding");
    if let Response::Tree(leaves) = response {
        let (id, honest) = blob();
        let verified = ChunkTree::verified(*id, honest.length(), leaves.clone());
        assert_eq!(verified.is_ok(), leaves == honest.leaves());
    }
    true
}

/// A blob of three chunks.
fn blob() -> &'static (BlobId, ChunkTree) {
    static BLOB: LazyLock<(BlobId, ChunkTree)> = LazyLock::new(|| {
        let mut builder = ChunkTreeBuilder::default();
        builder.update(&vec![7; 600_000]);
        builder.finish()
    });
    &BLOB
}

fn introduction() -> Introduction {
    Introduction {
        network: NetworkId::of(b"network"),
        tip: Tip {
            first: 1,
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
        Request::Verdicts { height: 4 },
        Request::Snapshots,
    ]
    .iter()
    .map(Encode::to_bytes)
    .collect()
}

/// Answers with something to decode in them.
pub fn responses() -> Vec<Vec<u8>> {
    let offer = SnapshotOffer {
        height: 7,
        block: BlockId::of(b"block"),
        blob: BlobId::of(b"state"),
        length: 5,
    };
    [
        Response::Introduction(introduction()),
        Response::Done,
        Response::Tree(blob().1.leaves().to_vec()),
        Response::Chunk(vec![7; 99]),
        Response::Blocks(vec![vec![1; 50], vec![2; 60]]),
        Response::Verdicts(vec![0, 1, 0]),
        Response::Snapshots(vec![offer; 2]),
        Response::NotHeld,
        Response::OtherLength(12),
        Response::Busy,
        Response::Refused,
    ]
    .iter()
    .map(Encode::to_bytes)
    .collect()
}
