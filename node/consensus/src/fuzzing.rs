//! The engine's decoders for the fuzz targets of `node/fuzz`, and honest messages to start from.

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::digest::{BlockId, NetworkId};
use agon_protocol::identity::AccountId;
use agon_protocol::units::Height;
use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use engine::app::consensus::LivenessMsg;
use engine::app::streaming::{StreamContent, StreamId};
use engine::app::types::codec::Codec;
use engine::app::types::core::{
    NilOrVal, PolkaCertificate, Round, SignedMessage, ValidatorProof, VoteType,
};
use engine::app::types::streaming::StreamMessage;
use engine::app::types::sync::{Request, Response, Status};
use engine::app::types::{ProposedValue, SignedConsensusMsg};
use engine_sync::{ValueRequest, ValueResponse};

use crate::certificate::{Certificate, CertifiedBlock, CommitSignature, Validator};
use crate::codec::{Borsh, to_synced};
use crate::context::{EngineContext, EngineHeight, EngineSignature, Part, Vote};
use crate::evidence::{Contradiction, Evidence, Message};
use crate::signing::vote_bytes;

/// Whatever decodes encodes to something that decodes to the same bytes again.
fn decode<T>(bytes: &[u8]) -> bool
where
    Borsh: Codec<T, Error = std::io::Error>,
{
    let decode = |bytes: Bytes| Codec::<T>::decode(&Borsh, bytes);
    let Ok(value) = decode(Bytes::copy_from_slice(bytes)) else {
        return false;
    };
    let encoded = Borsh.encode(&value).expect("what was decoded encodes");
    let again = decode(encoded.clone()).expect("what was encoded decodes");
    assert!(
        Borsh.encode(&again).ok() == Some(encoded),
        "an encoding is not stable"
    );
    true
}

/// A message of the engine's wire or log: the first byte says of which kind. Says whether it was accepted.
pub fn message(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else {
        return false;
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
        _ => false,
    }
}

/// A message of each kind but for two, whose parts are in others.
pub fn messages() -> Vec<Vec<u8>> {
    // decoding looks at no signature
    let signature = EngineSignature([7; 64]);
    let (height, round) = (EngineHeight(3), Round::new(1));
    let voter = AccountId::from_raw([1; 32]).into();
    let part = Part {
        height,
        round,
        proposer: voter,
        signature,
        block: b"block".to_vec(),
    };
    let stream = StreamId::new(Bytes::from_static(b"stream"));
    let part = StreamMessage::new(stream, 0, StreamContent::Data(part));
    let vote = Vote {
        kind: VoteType::Precommit,
        height,
        round,
        value: NilOrVal::Val(BlockId::of(b"block").into()),
        voter,
    };
    let vote = SignedMessage::new(vote, signature);
    let value = BlockId::of(b"block").into();
    let polka: PolkaCertificate<EngineContext> =
        PolkaCertificate::new(height, round, value, vec![vote.clone()]);
    let request: Request<EngineContext> =
        Request::ValueRequest(ValueRequest::new(height..=EngineHeight(9)));
    let proof: ValidatorProof<EngineContext> =
        ValidatorProof::new(vec![1; 32], vec![2; 38], signature);
    let certified: Vec<_> = blocks().iter().map(to_synced).collect();
    let response = Response::ValueResponse(ValueResponse::new(EngineHeight(4), certified));
    let encoded = [
        (0, Borsh.encode(&part)),
        (1, Borsh.encode(&SignedConsensusMsg::Vote(vote.clone()))),
        (2, Borsh.encode(&LivenessMsg::Vote(vote))),
        (4, Borsh.encode(&polka)),
        (6, Borsh.encode(&request)),
        (7, Borsh.encode(&proof)),
        (8, Borsh.encode(&response)),
    ];
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

/// A proof that a validator signed twice. It holds for the one that was signed, and for no other.
pub fn evidence(bytes: &[u8]) -> bool {
    let Ok(evidence) = Evidence::from_bytes(bytes) else {
        return false;
    };
    assert!(evidence.to_bytes() == bytes, "another encoding");
    let validators = [Validator {
        account: AccountId::of(&key()),
        power: 1,
    }];
    let holds = evidence.verify(&network(), &validators).is_ok();
    let honest = contradictions().iter().any(|honest| honest == bytes);
    assert_eq!(holds, honest);
    holds
}

fn network() -> NetworkId {
    NetworkId::of(b"network")
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// Two votes of one round, in both kinds.
pub fn contradictions() -> Vec<Vec<u8>> {
    let kinds = [
        (VoteType::Prevote, Contradiction::Prevote),
        (VoteType::Precommit, Contradiction::Precommit),
    ];
    let contradiction = |(vote, kind)| {
        let message = |block: Option<BlockId>| Message {
            block,
            valid_round: -1,
            signature: key()
                .sign(&vote_bytes(&network(), vote, 5, 2, block))
                .to_bytes(),
        };
        let evidence = Evidence {
            validator: AccountId::of(&key()),
            height: Height::new(5),
            round: 2,
            kind,
            first: message(None),
            second: message(Some(BlockId::of(b"block"))),
        };
        evidence.to_bytes()
    };
    kinds.into_iter().map(contradiction).collect()
}
