//! Answers to the questions of peers. Runs on blocking threads: the disk is involved.

use agon_protocol::digest::BlobId;

use crate::blobs::{BlobStore, StoreError};
use crate::event::Source;
use crate::wire::{
    MAX_BLOCKS, MAX_BLOCKS_BYTES, MAX_OFFERS, MAX_VERDICTS_BYTES, Request, Response,
};

/// The answer to a question about blobs or blocks.
pub(super) fn answer(blobs: &BlobStore, source: &dyn Source, request: &Request) -> Response {
    match request {
        Request::Tree { id, length } => match blobs.length(*id) {
            Ok(Some(held)) if held != *length => other_length(blobs, *id),
            Ok(Some(_)) => given(
                blobs
                    .tree(*id)
                    .map(|tree| Response::Tree(tree.leaves().to_vec())),
            ),
            Ok(None) => Response::NotHeld,
            Err(error) => given(Err(error)),
        },
        Request::Chunk { id, length, index } => match blobs.length(*id) {
            Ok(Some(held)) if held != *length => other_length(blobs, *id),
            Ok(Some(_)) => given(blobs.read_chunk(*id, *index).map(Response::Chunk)),
            Ok(None) => Response::NotHeld,
            Err(error) => given(Err(error)),
        },
        Request::Blocks { from, max_count } => {
            let max_count = usize::from(*max_count).min(MAX_BLOCKS);
            let blocks = source.certified_blocks(*from, max_count, MAX_BLOCKS_BYTES);
            Response::Blocks(bounded(blocks, max_count))
        }
        Request::Verdicts { height } => match source.verdicts(*height) {
            Some(bytes) if bytes.len() <= MAX_VERDICTS_BYTES => Response::Verdicts(bytes),
            _ => Response::NotHeld,
        },
        Request::Snapshots => {
            let mut offers = source.snapshots();
            offers.truncate(MAX_OFFERS);
            Response::Snapshots(offers)
        }
        // Answered by the task itself: they change what it knows.
        Request::Introduce(_) | Request::Tip(_) => Response::Done,
    }
}

/// Whoever states the length is wrong, unless this node's disk cut the blob short: the bytes tell.
fn other_length(blobs: &BlobStore, id: BlobId) -> Response {
    given(blobs.verified_length(id).map(|held| match held {
        Some(held) => Response::OtherLength(held),
        None => Response::NotHeld,
    }))
}

/// A disk that fails is this node's own trouble: the peer asks elsewhere.
fn given(result: Result<Response, StoreError>) -> Response {
    result.unwrap_or_else(|error| {
        tracing::warn!(%error, "a blob could not be served");
        Response::NotHeld
    })
}

/// The source is asked to keep the bounds; an answer above them would be refused as a whole.
fn bounded(blocks: Vec<Vec<u8>>, max_count: usize) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    let mut bytes = 0;
    for block in blocks.into_iter().take(max_count) {
        bytes += block.len();
        if bytes > MAX_BLOCKS_BYTES {
            break;
        }
        kept.push(block);
    }
    kept
}
