//! The engine's own messages on the wire and in its log: borsh, its native encoding.
//!
//! A message is bounded by the transport before it comes here, and borsh allocates no more than it was sent, so a
//! malformed one is an error and nothing worse. What leaves the engine for good (certified blocks) has the protocol's canonical encoding.

use std::io;

use agon_protocol::codec::{Decode, Encode};
use bytes::Bytes;
use engine::app::consensus::LivenessMsg;
use engine::app::types::codec::{Codec, HasEncodedLen};
use engine::app::types::core::{
    CommitCertificate, CommitSignature as EngineCommitSignature, ExtendedCommitCertificate,
    PolkaCertificate, Round, ValidatorProof, VoteExtensions,
};
use engine::app::types::streaming::StreamMessage;
use engine::app::types::sync::{RawDecidedValue, Request, Response, Status};
use engine::app::types::{ProposedValue, SignedConsensusMsg};
use engine_sync::ValueResponse;

use crate::certificate::{Certificate, CertifiedBlock, CommitSignature};
use crate::context::{EngineContext, EngineHeight, EngineSignature, Part};

/// The codec that is handed to the engine.
#[derive(Clone, Copy)]
pub(crate) struct Borsh;

macro_rules! borsh_messages {
    ($($message:ty),* $(,)?) => {$(
        impl Codec<$message> for Borsh {
            type Error = io::Error;

            fn decode(&self, bytes: Bytes) -> io::Result<$message> {
                borsh::from_slice(&bytes)
            }

            fn encode(&self, message: &$message) -> io::Result<Bytes> {
                Ok(borsh::to_vec(message)?.into())
            }
        }
    )*};
}
borsh_messages!(
    Part,
    SignedConsensusMsg<EngineContext>,
    LivenessMsg<EngineContext>,
    StreamMessage<Part>,
    ProposedValue<EngineContext>,
    PolkaCertificate<EngineContext>,
    Status<EngineContext>,
    Request<EngineContext>,
);

impl Codec<ValidatorProof<EngineContext>> for Borsh {
    type Error = io::Error;

    fn decode(&self, bytes: Bytes) -> io::Result<ValidatorProof<EngineContext>> {
        let (key, peer, signature): (Vec<u8>, Vec<u8>, EngineSignature) =
            borsh::from_slice(&bytes)?;
        Ok(ValidatorProof::new(key, peer, signature))
    }

    fn encode(&self, proof: &ValidatorProof<EngineContext>) -> io::Result<Bytes> {
        let fields = (&proof.public_key, &proof.peer_id, &proof.signature);
        Ok(borsh::to_vec(&fields)?.into())
    }
}

// A synced value is a whole certified block: its certificate is checked against its own bytes on arrival.
impl Codec<Response<EngineContext>> for Borsh {
    type Error = io::Error;

    fn decode(&self, bytes: Bytes) -> io::Result<Response<EngineContext>> {
        let (start, blocks): (EngineHeight, Vec<Vec<u8>>) = borsh::from_slice(&bytes)?;
        let values = blocks
            .into_iter()
            .map(|block| {
                let certified = CertifiedBlock::from_bytes(&block)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                Ok(RawDecidedValue::new(
                    block.into(),
                    to_engine(&certified.certificate),
                ))
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Response::ValueResponse(ValueResponse::new(start, values)))
    }

    fn encode(&self, response: &Response<EngineContext>) -> io::Result<Bytes> {
        let Response::ValueResponse(response) = response;
        let blocks: Vec<&[u8]> = response
            .values
            .iter()
            .map(|value| value.value_bytes.as_ref())
            .collect();
        Ok(borsh::to_vec(&(&response.start_height, blocks))?.into())
    }
}

impl HasEncodedLen<Response<EngineContext>> for Borsh {
    fn encoded_len(&self, response: &Response<EngineContext>) -> io::Result<usize> {
        let Response::ValueResponse(response) = response;
        let blocks: usize = response
            .values
            .iter()
            .map(|value| 4 + value.value_bytes.len())
            .sum();
        Ok(8 + 4 + blocks)
    }
}

/// A certified block as the engine's sync carries it.
pub(crate) fn to_synced(block: &CertifiedBlock) -> RawDecidedValue<EngineContext> {
    RawDecidedValue::new(block.to_bytes().into(), to_engine(&block.certificate))
}

fn to_engine(certificate: &Certificate) -> ExtendedCommitCertificate<EngineContext> {
    ExtendedCommitCertificate::from_commit_certificate_and_extensions(
        CommitCertificate {
            height: EngineHeight(certificate.height.get()),
            round: Round::new(certificate.round),
            value_id: certificate.block.into(),
            commit_signatures: certificate
                .signatures
                .iter()
                .map(|entry| {
                    EngineCommitSignature::new(
                        entry.validator.into(),
                        EngineSignature(entry.signature),
                    )
                })
                .collect(),
        },
        VoteExtensions::default(),
    )
}

/// The engine's certificate as our own, canonical: signatures by rising account. `None` when it has no round.
pub(crate) fn from_engine(certificate: &CommitCertificate<EngineContext>) -> Option<Certificate> {
    let mut signatures: Vec<CommitSignature> = certificate
        .commit_signatures
        .iter()
        .map(|entry| CommitSignature {
            validator: entry.address.own(),
            signature: entry.signature.0,
        })
        .collect();
    signatures.sort_by_key(|entry| entry.validator);
    signatures.dedup_by_key(|entry| entry.validator);
    Some(Certificate {
        height: agon_protocol::units::Height::new(certificate.height.0),
        round: certificate.round.as_u32()?,
        block: certificate.value_id.own(),
        signatures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use agon_protocol::digest::{BlockId, NetworkId};
    use ed25519_dalek::SigningKey;
    use engine::app::streaming::{StreamContent, StreamId};

    use crate::signing::Keys;

    fn decode<T>(bytes: &[u8]) -> io::Result<T>
    where
        Borsh: Codec<T, Error = io::Error>,
    {
        Borsh.decode(Bytes::copy_from_slice(bytes))
    }

    fn part() -> StreamMessage<Part> {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::from_bytes(&[1; 32]);
        let keys = Keys::open(folder.path(), NetworkId::of(b"n"), key).unwrap();
        let (height, round, block) = (EngineHeight(3), Round::new(1), b"block".to_vec());
        let part = Part {
            height,
            round,
            proposer: keys.address(),
            signature: keys.sign_part(height, round, &BlockId::of(&block)).unwrap(),
            block,
        };
        let stream = StreamId::new(Bytes::from_static(b"stream"));
        StreamMessage::new(stream, 0, StreamContent::Data(part))
    }

    #[test]
    fn truncated_and_altered_messages_are_errors_or_other_messages_but_never_a_panic() {
        let bytes = Borsh.encode(&part()).unwrap();
        assert_eq!(decode::<StreamMessage<Part>>(&bytes).unwrap(), part());
        for length in 0..bytes.len() {
            assert!(decode::<StreamMessage<Part>>(&bytes[..length]).is_err());
        }
        for index in 0..bytes.len() {
            for value in [0, 1, 127, 255] {
                let mut altered = bytes.to_vec();
                altered[index] = value;
                let _ = decode::<StreamMessage<Part>>(&altered);
                let _ = decode::<SignedConsensusMsg<EngineContext>>(&altered);
                let _ = decode::<LivenessMsg<EngineContext>>(&altered);
                let _ = decode::<Request<EngineContext>>(&altered);
                let _ = decode::<Response<EngineContext>>(&altered);
                let _ = decode::<Status<EngineContext>>(&altered);
                let _ = decode::<ValidatorProof<EngineContext>>(&altered);
            }
        }
    }

    #[test]
    fn a_length_without_bytes_behind_it_is_refused() {
        let response = [&[0; 8][..], &u32::MAX.to_le_bytes()].concat();
        assert!(decode::<Response<EngineContext>>(&response).is_err());
        assert!(decode::<ValidatorProof<EngineContext>>(&u32::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn a_synced_block_keeps_its_bytes_and_its_stated_length() {
        let block = CertifiedBlock {
            certificate: Certificate {
                height: agon_protocol::units::Height::new(4),
                round: 1,
                block: BlockId::of(b"block"),
                signatures: Vec::new(),
            },
            block: b"block".to_vec(),
        };
        let response = Response::ValueResponse(ValueResponse::new(
            EngineHeight(4),
            vec![to_synced(&block), to_synced(&block)],
        ));
        let bytes = Borsh.encode(&response).unwrap();
        assert_eq!(Borsh.encoded_len(&response).unwrap(), bytes.len());
        assert_eq!(decode::<Response<EngineContext>>(&bytes).unwrap(), response);
    }
}
