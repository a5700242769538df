//! Requests and answers between two peers: the messages, their encoding and its bounds.
//!
//! One protocol, one question per stream. A message is its length as `u32` and then the canonical encoding; a length above
//! the bound is refused before a byte of the message is read, and the buffer grows only with what arrives.

use std::io;

use agon_protocol::codec::{
    Decode, DecodeError, Encode, Reader, encode_bytes, encode_length, encode_list,
};
use agon_protocol::digest::{BlobId, NetworkId};
use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;

use crate::blobs::{CHUNK_BYTES, ChunkTree, MAX_BLOB_BYTES};
use crate::event::{SnapshotOffer, Tip};

/// The most certified blocks in one answer.
pub const MAX_BLOCKS: usize = 256;
/// The most bytes of certified blocks in one answer; also the longest certified block that can be sent.
pub const MAX_BLOCKS_BYTES: usize = 8 << 20;

/// The most snapshots that one node offers.
pub const MAX_OFFERS: usize = 4;
/// Bytes of an offer.
const OFFER_BYTES: usize = 8 + 32 + 32 + 8;
/// The most bytes of a block's verdicts: one a transaction.
pub const MAX_VERDICTS_BYTES: usize = 16 << 10;

/// Every question fits easily.
const MAX_REQUEST_BYTES: usize = 128;
/// The largest answer: blocks, each with a length, or a chunk, or the chunk hashes of the longest blob.
const MAX_RESPONSE_BYTES: usize = MAX_BLOCKS_BYTES + 4 * MAX_BLOCKS + 16;
const MAX_CHUNKS: usize = (MAX_BLOB_BYTES / CHUNK_BYTES) as usize;

/// A node's network and tip, as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Introduction {
    pub(crate) network: NetworkId,
    pub(crate) tip: Tip,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Asked first on every connection: who are you? This is me.
    Introduce(Introduction),
    /// My tip moved.
    Tip(Tip),
    /// The chunk hashes of a blob.
    Tree { id: BlobId, length: u64 },
    /// One chunk of a blob.
    Chunk { id: BlobId, length: u64, index: u64 },
    /// Certified blocks of consecutive heights.
    Blocks { from: u64, max_count: u16 },
    /// What the certified block of a height found out about its proofs.
    Verdicts { height: u64 },
    /// The snapshots to start from.
    Snapshots,
}

/// A question as it arrives. The transport tells nobody of a question that cannot be read, so a broken one is a value like
/// any other: its sender can be blamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Sound(Request),
    /// It breaks the wire format or its limits. Never sent.
    Broken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Response {
    Introduction(Introduction),
    /// The answer to a message that wants none.
    Done,
    Tree(Vec<[u8; 32]>),
    Chunk(Vec<u8>),
    Blocks(Vec<Vec<u8>>),
    Verdicts(Vec<u8>),
    Snapshots(Vec<SnapshotOffer>),
    /// The blob, or the block, is not here.
    NotHeld,
    /// A blob of that name is here, and has another length than the question says.
    OtherLength(u64),
    /// Too many questions at once: ask later.
    Busy,
    /// Not before you have introduced yourself as a peer of this network.
    Refused,
}

impl Encode for Introduction {
    fn encode(&self, out: &mut Vec<u8>) {
        self.network.encode(out);
        self.tip.encode(out);
    }
}

impl Decode for Introduction {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            network: NetworkId::decode(reader)?,
            tip: Tip::decode(reader)?,
        })
    }
}

impl Encode for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Introduce(introduction) => {
                out.push(0);
                introduction.encode(out);
            }
            Self::Tip(tip) => {
                out.push(1);
                tip.encode(out);
            }
            Self::Tree { id, length } => {
                out.push(2);
                id.encode(out);
                length.encode(out);
            }
            Self::Chunk { id, length, index } => {
                out.push(3);
                id.encode(out);
                length.encode(out);
                index.encode(out);
            }
            Self::Blocks { from, max_count } => {
                out.push(4);
                from.encode(out);
                max_count.encode(out);
            }
            Self::Verdicts { height } => {
                out.push(5);
                height.encode(out);
            }
            Self::Snapshots => out.push(6),
        }
    }
}

impl Decode for Request {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Introduce(Introduction::decode(reader)?),
            1 => Self::Tip(Tip::decode(reader)?),
            2 => Self::Tree {
                id: BlobId::decode(reader)?,
                length: u64::decode(reader)?,
            },
            3 => Self::Chunk {
                id: BlobId::decode(reader)?,
                length: u64::decode(reader)?,
                index: u64::decode(reader)?,
            },
            4 => Self::Blocks {
                from: u64::decode(reader)?,
                max_count: u16::decode(reader)?,
            },
            5 => Self::Verdicts {
                height: u64::decode(reader)?,
            },
            6 => Self::Snapshots,
            _ => return Err(DecodeError::Invalid { what: "request" }),
        })
    }
}

impl Encode for Response {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Introduction(introduction) => {
                out.push(0);
                introduction.encode(out);
            }
            Self::Done => out.push(1),
            Self::Tree(leaves) => {
                out.push(2);
                encode_length(leaves.len(), out);
                for leaf in leaves {
                    leaf.encode(out);
                }
            }
            Self::Chunk(bytes) => {
                out.push(3);
                encode_bytes(bytes, out);
            }
            Self::Blocks(blocks) => {
                out.push(4);
                encode_length(blocks.len(), out);
                for block in blocks {
                    encode_bytes(block, out);
                }
            }
            Self::NotHeld => out.push(5),
            Self::OtherLength(length) => {
                out.push(6);
                length.encode(out);
            }
            Self::Busy => out.push(7),
            Self::Refused => out.push(8),
            Self::Verdicts(bytes) => {
                out.push(9);
                encode_bytes(bytes, out);
            }
            Self::Snapshots(offers) => {
                out.push(10);
                encode_list(offers, out);
            }
        }
    }
}

impl Decode for Response {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Introduction(Introduction::decode(reader)?),
            1 => Self::Done,
            2 => Self::Tree(reader.list(MAX_CHUNKS, 32, "chunk hashes")?),
            3 => Self::Chunk(reader.bytes(CHUNK_BYTES as usize, "chunk")?),
            4 => {
                let count = reader.length(MAX_BLOCKS, 4, "blocks")?;
                let mut blocks = Vec::with_capacity(count);
                for _ in 0..count {
                    blocks.push(reader.bytes(MAX_BLOCKS_BYTES, "certified block")?);
                }
                Self::Blocks(blocks)
            }
            5 => Self::NotHeld,
            6 => Self::OtherLength(u64::decode(reader)?),
            7 => Self::Busy,
            8 => Self::Refused,
            9 => Self::Verdicts(reader.bytes(MAX_VERDICTS_BYTES, "verdicts")?),
            10 => Self::Snapshots(reader.list(MAX_OFFERS, OFFER_BYTES, "snapshots")?),
            _ => return Err(DecodeError::Invalid { what: "response" }),
        })
    }
}

impl Request {
    /// Whether the question makes sense at all; an honest peer asks no other.
    pub(crate) fn is_sensible(&self) -> bool {
        match self {
            Self::Introduce(_) | Self::Tip(_) | Self::Verdicts { .. } | Self::Snapshots => true,
            Self::Tree { length, .. } => *length <= MAX_BLOB_BYTES,
            Self::Chunk { length, index, .. } => {
                *length <= MAX_BLOB_BYTES && *index < ChunkTree::count(*length)
            }
            Self::Blocks { max_count, .. } => {
                *max_count > 0 && usize::from(*max_count) <= MAX_BLOCKS
            }
        }
    }
}

impl Request {
    /// The most bytes that an answer takes in memory.
    pub(crate) fn longest_answer(&self) -> usize {
        match self {
            Self::Tree { length, .. } => 32 * ChunkTree::count(*length) as usize,
            Self::Chunk { .. } => CHUNK_BYTES as usize,
            Self::Blocks { .. } => MAX_BLOCKS_BYTES,
            Self::Verdicts { .. } => MAX_VERDICTS_BYTES,
            Self::Snapshots => MAX_OFFERS * OFFER_BYTES,
            Self::Introduce(_) | Self::Tip(_) => 0,
        }
    }
}

impl Response {
    /// The bytes that it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Tree(leaves) => 32 * leaves.len(),
            Self::Chunk(bytes) | Self::Verdicts(bytes) => bytes.len(),
            Self::Blocks(blocks) => blocks.iter().map(Vec::len).sum(),
            Self::Snapshots(offers) => OFFER_BYTES * offers.len(),
            Self::Introduction(_)
            | Self::Done
            | Self::NotHeld
            | Self::OtherLength(_)
            | Self::Busy
            | Self::Refused => 0,
        }
    }
}

/// The name under which the protocol is negotiated.
pub(crate) const EXCHANGE: StreamProtocol = StreamProtocol::new("/agon/exchange/1");

/// Frames messages on a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExchangeCodec;

#[async_trait]
impl libp2p::request_response::Codec for ExchangeCodec {
    type Protocol = StreamProtocol;
    type Request = Question;
    type Response = Response;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
    ) -> io::Result<Question> {
        match read_message(stream, MAX_REQUEST_BYTES).await {
            Ok(request) => Ok(Question::Sound(request)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Question::Broken),
            // The connection broke off: nobody's fault.
            Err(error) => Err(error),
        }
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
    ) -> io::Result<Response> {
        read_message(stream, MAX_RESPONSE_BYTES).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        question: Question,
    ) -> io::Result<()> {
        match question {
            Question::Sound(request) => write_message(stream, &request, MAX_REQUEST_BYTES).await,
            Question::Broken => Err(invalid("a broken question is not sent")),
        }
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        response: Response,
    ) -> io::Result<()> {
        write_message(stream, &response, MAX_RESPONSE_BYTES).await
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn read_message<M: Decode, T: AsyncRead + Unpin>(
    stream: &mut T,
    limit: usize,
) -> io::Result<M> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let length = u32::from_le_bytes(prefix);
    if length as usize > limit {
        return Err(invalid(DecodeError::TooLong {
            what: "message",
            found: u64::from(length),
            limit: limit as u64,
        }));
    }
    let mut bytes = Vec::new();
    stream
        .take(u64::from(length))
        .read_to_end(&mut bytes)
        .await?;
    if bytes.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    M::from_bytes(&bytes).map_err(invalid)
}

async fn write_message<M: Encode, T: AsyncWrite + Unpin>(
    stream: &mut T,
    message: &M,
    limit: usize,
) -> io::Result<()> {
    let bytes = message.to_bytes();
    if bytes.len() > limit {
        return Err(invalid("the message is longer than peers accept"));
    }
    stream
        .write_all(&(bytes.len() as u32).to_le_bytes())
        .await?;
    stream.write_all(&bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use agon_protocol::digest::BlockId;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use proptest::prelude::*;

    use super::*;

    fn tip() -> impl Strategy<Value = Tip> {
        (any::<u64>(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(first, height, block)| Tip {
            first,
            height,
            block: BlockId::from_raw(block),
        })
    }

    fn offer() -> impl Strategy<Value = SnapshotOffer> {
        let name = any::<[u8; 32]>;
        (any::<u64>(), name(), name(), any::<u64>()).prop_map(|(height, block, blob, length)| {
            SnapshotOffer {
                height,
                block: BlockId::from_raw(block),
                blob: BlobId::from_raw(blob),
                length,
            }
        })
    }

    fn introduction() -> impl Strategy<Value = Introduction> {
        (any::<[u8; 32]>(), tip()).prop_map(|(network, tip)| Introduction {
            network: NetworkId::from_raw(network),
            tip,
        })
    }

    fn request() -> impl Strategy<Value = Request> {
        let id = any::<[u8; 32]>().prop_map(BlobId::from_raw);
        prop_oneof![
            introduction().prop_map(Request::Introduce),
            tip().prop_map(Request::Tip),
            (id.clone(), any::<u64>()).prop_map(|(id, length)| Request::Tree { id, length }),
            (id, any::<u64>(), any::<u64>()).prop_map(|(id, length, index)| Request::Chunk {
                id,
                length,
                index
            }),
            (any::<u64>(), any::<u16>())
                .prop_map(|(from, max_count)| Request::Blocks { from, max_count }),
            any::<u64>().prop_map(|height| Request::Verdicts { height }),
            Just(Request::Snapshots),
        ]
    }

    fn response() -> impl Strategy<Value = Response> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            introduction().prop_map(Response::Introduction),
            Just(Response::Done),
            prop::collection::vec(any::<[u8; 32]>(), 0..20).prop_map(Response::Tree),
            bytes().prop_map(Response::Chunk),
            prop::collection::vec(bytes(), 0..9).prop_map(Response::Blocks),
            bytes().prop_map(Response::Verdicts),
            prop::collection::vec(offer(), 0..=MAX_OFFERS).prop_map(Response::Snapshots),
            Just(Response::NotHeld),
            any::<u64>().prop_map(Response::OtherLength),
            Just(Response::Busy),
            Just(Response::Refused),
        ]
    }

    fn framed<M: Encode>(message: &M, limit: usize) -> Vec<u8> {
        let mut stream = Cursor::new(Vec::new());
        block_on(write_message(&mut stream, message, limit)).unwrap();
        stream.into_inner()
    }

    proptest! {
        #[test]
        fn requests_round_trip_and_truncated_ones_are_refused(request in request(), cut in any::<prop::sample::Index>()) {
            let bytes = framed(&request, MAX_REQUEST_BYTES);
            let read = block_on(read_message::<Request, _>(&mut &bytes[..], MAX_REQUEST_BYTES));
            prop_assert_eq!(read.unwrap(), request);
            let cut = cut.index(bytes.len());
            prop_assert!(block_on(read_message::<Request, _>(&mut &bytes[..cut], MAX_REQUEST_BYTES)).is_err());
            prop_assert!(Request::from_bytes(&bytes[4..cut.max(4)]).is_err());
        }

        #[test]
        fn responses_round_trip_and_truncated_ones_are_refused(response in response(), cut in any::<prop::sample::Index>()) {
            let bytes = framed(&response, MAX_RESPONSE_BYTES);
            let read = block_on(read_message::<Response, _>(&mut &bytes[..], MAX_RESPONSE_BYTES));
            prop_assert_eq!(read.unwrap(), response);
            let cut = cut.index(bytes.len());
            prop_assert!(block_on(read_message::<Response, _>(&mut &bytes[..cut], MAX_RESPONSE_BYTES)).is_err());
            prop_assert!(Response::from_bytes(&bytes[4..cut.max(4)]).is_err());
        }

        #[test]
        fn random_bytes_never_panic_and_what_decodes_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(request) = Request::from_bytes(&bytes) {
                prop_assert_eq!(request.to_bytes(), bytes.clone());
            }
            if let Ok(response) = Response::from_bytes(&bytes) {
                prop_assert_eq!(response.to_bytes(), bytes.clone());
            }
            let _ = block_on(read_message::<Response, _>(&mut &bytes[..], MAX_RESPONSE_BYTES));
        }
    }

    #[test]
    fn refuses_a_length_above_the_bound_before_reading_on() {
        let bytes = [
            (MAX_REQUEST_BYTES as u32 + 1).to_le_bytes().as_slice(),
            &[0; 4],
        ]
        .concat();
        let mut stream = &bytes[..];
        let refused = block_on(read_message::<Request, _>(&mut stream, MAX_REQUEST_BYTES));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(stream.len(), 4, "the body is not read");
    }

    #[test]
    fn refuses_collections_above_their_bounds() {
        let mut bytes = vec![2];
        encode_length(MAX_CHUNKS + 1, &mut bytes);
        let refused = Response::from_bytes(&bytes);
        assert!(matches!(refused, Err(DecodeError::TooLong { .. })));
        let mut bytes = vec![3];
        encode_bytes(&vec![0; CHUNK_BYTES as usize + 1], &mut bytes);
        let refused = Response::from_bytes(&bytes);
        assert!(matches!(refused, Err(DecodeError::TooLong { .. })));
        let mut bytes = vec![4];
        encode_length(MAX_BLOCKS + 1, &mut bytes);
        let refused = Response::from_bytes(&bytes);
        assert!(matches!(refused, Err(DecodeError::TooLong { .. })));
    }

    #[test]
    fn refuses_to_write_an_answer_that_peers_would_refuse() {
        let answer = Response::Blocks(vec![vec![0; MAX_RESPONSE_BYTES]]);
        let mut stream = Cursor::new(Vec::new());
        assert!(block_on(write_message(&mut stream, &answer, MAX_RESPONSE_BYTES)).is_err());
    }
}
