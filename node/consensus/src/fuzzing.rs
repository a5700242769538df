//! The engine's decoders for the fuzz targets of `node/fuzz`, and honest messages to start from.

use agon_protocol::codec::Encode;
use agon_protocol::digest::BlockId;
use agon_protocol::identity::AccountId;
use agon_protocol::units::Height;
use bytes::Bytes;
use engine::app::consensus::LivenessMsg;
use engine::app::streaming::{StreamContent, StreamId};
use engine::app::types::codec::Codec;
use engine::app::types::core::{PolkaCertificate, Round, ValidatorProof};
use engine::app::types::streaming::StreamMessage;
use engine::app::types::sync::{Request, Response, Status};
use engine::app::types::{ProposedValue, SignedConsensusMsg};
use engine_sync::ValueResponse;

use crate::certificate::{Certificate, CertifiedBlock, CommitSignature};
use crate::codec::{Borsh, to_synced};
use crate::context::{EngineContext, EngineHeight, EngineSignature, Part};

/// Whatever decodes encodes to something that decodes to the same bytes again.
fn decode<T>(bytes: &[u8])
where
    Borsh: Codec<T, Error = std::io::Error>,
{
    let decode = |bytes: Bytes| Codec::<T>::decode(&Borsh, bytes);
    if let Ok(value) = decode(Bytes::copy_from_slice(bytes)) {
        let encoded = Borsh.encode(&value).expect("what was decoded encodes");
        let again = decode(encoded.clone()).expect("what was encoded decodes");
        assert!(
            Borsh.encode(&again).ok() == Some(encoded),
            "an encoding is not stable"
        );
    }
}

/// A message of the engine's wire or log: the first byte says of which kind.
pub fn message(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind {
        0 => decode::<StreamMessage<Part>>(bytes),
        1 => decode::<SignedConsensusMsg<EngineContext>>(bytes),
        2 => decode::<LivenessMsg<EngineContext>>(bytes),
        3 => decode::<ProposedValue<EngineContext>>(bytes),
        4 => decode::<PolkaCertificate<EngineContext>>(bytes),
        5 => decode::<Status<EngineContext>>(bytes),
        6 => decode::<Request<EngineContext>>(bytes),
        7 => decode::<ValidatorProof<EngineContext>>(bytes),
        8 => decode::<Response<EngineContext>>(bytes),
        _ => {}
    }
}

/// Messages of the kinds with most in them.
pub fn messages() -> Vec<Vec<u8>> {
    // decoding looks at no signature
    let part = Part {
        height: EngineHeight(3),
        round: Round::new(1),
        proposer: AccountId::from_raw([1; 32]).into(),
        signature: EngineSignature([7; 64]),
        block: b"block".to_vec(),
    };
    let stream = StreamId::new(Bytes::from_static(b"stream"));
    let part = StreamMessage::new(stream, 0, StreamContent::Data(part));
    let certified: Vec<_> = blocks().iter().map(to_synced).collect();
    let response = Response::ValueResponse(ValueResponse::new(EngineHeight(4), certified));
    let encoded = [(0, Borsh.encode(&part)), (8, Borsh.encode(&response))];
    let with_kind = |(kind, bytes): (u8, std::io::Result<Bytes>)| {
        [&[kind][..], &bytes.expect("an honest message encodes")].concat()
    };
    encoded.into_iter().map(with_kind).collect()
}

/// Encoded certified blocks.
pub fn certified_blocks() -> Vec<Vec<u8>> {
    blocks().iter().map(Encode::to_bytes).collect()
}

/// Blocks with a certificate of the right form.
fn blocks() -> Vec<CertifiedBlock> {
    let block = |signatures: u8| CertifiedBlock {
        certificate: Certificate {
            height: Height::new(4),
            round: 1,
            block: BlockId::of(b"block"),
            signatures: (0..signatures)
                .map(|number| CommitSignature {
                    validator: AccountId::from_raw([number; 32]),
                    signature: [number; 64],
                })
                .collect(),
        },
        block: b"block".to_vec(),
    };
    vec![block(0), block(3)]
}
