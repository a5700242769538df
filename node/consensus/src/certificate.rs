//! The proof that a block was decided: signed precommits of more than two thirds of the voting power.
//!
//! Pure and cheap, so that observers can check blocks without running the engine. Knows nothing of what is in a block.

use std::collections::BTreeSet;

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_bytes, encode_list};
use agon_protocol::digest::{BlockId, NetworkId};
use agon_protocol::identity::AccountId;
use agon_protocol::limits::{MAX_BLOCK_BYTES, MAX_VALIDATORS};
use agon_protocol::units::Height;
use thiserror::Error;

use crate::signing;

/// A member of the validator set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validator {
    /// Its public key.
    pub account: AccountId,
    /// Its voting power, above zero.
    pub power: u64,
}

/// One precommit of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitSignature {
    /// Who signed.
    pub validator: AccountId,
    /// The ed25519 signature of the precommit.
    pub signature: [u8; 64],
}

/// The precommits that decided a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The height that was decided.
    pub height: Height,
    /// The round in which it was decided.
    pub round: u32,
    /// The block that was decided.
    pub block: BlockId,
    /// The signatures, by rising account, none twice.
    pub signatures: Vec<CommitSignature>,
}

/// A decided block with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedBlock {
    /// The proof; holds height and id.
    pub certificate: Certificate,
    /// The block.
    pub block: Vec<u8>,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// It is for another height.
    #[error("the certificate is for height {found}, not {expected}")]
    Height {
        /// The height asked for.
        expected: Height,
        /// The height certified.
        found: Height,
    },
    /// It is for another block.
    #[error("the certificate is for block {found}, not {expected}")]
    Block {
        /// The block at hand.
        expected: BlockId,
        /// The block certified.
        found: BlockId,
    },
    /// A signer is not in the validator set.
    #[error("{0} is not a validator of this network")]
    UnknownValidator(AccountId),
    /// Signers are not in rising order, or one signs twice.
    #[error("the signature of {0} is out of order or repeated")]
    Order(AccountId),
    /// A signature is wrong, also when it is for another network, height, round or block.
    #[error("the signature of {0} is wrong")]
    Signature(AccountId),
    /// Too little voting power signed.
    #[error("validators with power {signed} of {total} signed; more than two thirds are needed")]
    Power {
        /// The power that signed.
        signed: u64,
        /// The power of all validators.
        total: u64,
    },
}

/// Checks that validators with more than two thirds of the power decided on block `id` at `height` of `network`.
///
/// # Errors
/// The first reason why `certificate` does not prove that; see [`CertificateError`].
pub fn verify_certificate(
    network: &NetworkId,
    validators: &[Validator],
    certificate: &Certificate,
    height: Height,
    id: &BlockId,
) -> Result<(), CertificateError> {
    if certificate.height != height {
        return Err(CertificateError::Height {
            expected: height,
            found: certificate.height,
        });
    }
    if certificate.block != *id {
        return Err(CertificateError::Block {
            expected: *id,
            found: certificate.block,
        });
    }
    let message = signing::precommit_bytes(network, height.get(), certificate.round, id);
    let mut signers = BTreeSet::new();
    let mut signed = 0u128;
    for entry in &certificate.signatures {
        if signers.last() >= Some(&entry.validator) {
            return Err(CertificateError::Order(entry.validator));
        }
        let validator = validators
            .iter()
            .find(|validator| validator.account == entry.validator)
            .ok_or(CertificateError::UnknownValidator(entry.validator))?;
        if !signing::verify(&entry.validator, &message, &entry.signature) {
            return Err(CertificateError::Signature(entry.validator));
        }
        signers.insert(entry.validator);
        signed += u128::from(validator.power);
    }
    let total: u128 = validators
        .iter()
        .map(|validator| u128::from(validator.power))
        .sum();
    if signed * 3 <= total * 2 {
        return Err(CertificateError::Power {
            signed: signed.try_into().unwrap_or(u64::MAX),
            total: total.try_into().unwrap_or(u64::MAX),
        });
    }
    Ok(())
}

impl CertifiedBlock {
    /// Checks the certificate for the very bytes of this block; see [`verify_certificate`].
    ///
    /// # Errors
    /// As [`verify_certificate`].
    pub fn verify(
        &self,
        network: &NetworkId,
        validators: &[Validator],
        height: Height,
    ) -> Result<(), CertificateError> {
        verify_certificate(
            network,
            validators,
            &self.certificate,
            height,
            &BlockId::of(&self.block),
        )
    }
}

impl Encode for CommitSignature {
    fn encode(&self, out: &mut Vec<u8>) {
        self.validator.encode(out);
        self.signature.encode(out);
    }
}

impl Decode for CommitSignature {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            validator: AccountId::decode(reader)?,
            signature: reader.array("commit signature")?,
        })
    }
}

impl Encode for Certificate {
    fn encode(&self, out: &mut Vec<u8>) {
        self.height.encode(out);
        self.round.encode(out);
        self.block.encode(out);
        encode_list(&self.signatures, out);
    }
}

impl Decode for Certificate {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: Height::decode(reader)?,
            round: u32::decode(reader)?,
            block: BlockId::decode(reader)?,
            signatures: reader.list(MAX_VALIDATORS, 96, "commit signatures")?,
        })
    }
}

impl Encode for CertifiedBlock {
    fn encode(&self, out: &mut Vec<u8>) {
        self.certificate.encode(out);
        encode_bytes(&self.block, out);
    }
}

impl Decode for CertifiedBlock {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            certificate: Certificate::decode(reader)?,
            block: reader.bytes(MAX_BLOCK_BYTES, "block")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    const HEIGHT: Height = Height::new(9);

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn account(number: u8) -> AccountId {
        AccountId::from_raw(key(number).verifying_key().to_bytes())
    }

    /// Four validators, of which the first has as much power as the others together.
    fn validators() -> Vec<Validator> {
        let power = |number| if number == 1 { 3 } else { 1 };
        (1..=4)
            .map(|number| Validator {
                account: account(number),
                power: power(number),
            })
            .collect()
    }

    fn network() -> NetworkId {
        NetworkId::of(b"network")
    }

    fn signed(signers: &[u8]) -> CertifiedBlock {
        let block = b"a block".to_vec();
        let id = BlockId::of(&block);
        let message = signing::precommit_bytes(&network(), HEIGHT.get(), 2, &id);
        let mut signatures: Vec<_> = signers
            .iter()
            .map(|number| CommitSignature {
                validator: account(*number),
                signature: key(*number).sign(&message).to_bytes(),
            })
            .collect();
        signatures.sort_by_key(|entry| entry.validator);
        CertifiedBlock {
            certificate: Certificate {
                height: HEIGHT,
                round: 2,
                block: id,
                signatures,
            },
            block,
        }
    }

    fn verdict(block: &CertifiedBlock) -> Result<(), CertificateError> {
        block.verify(&network(), &validators(), HEIGHT)
    }

    #[test]
    fn accepts_more_than_two_thirds_of_the_power() {
        assert_eq!(verdict(&signed(&[1, 2, 3])), Ok(()));
        assert_eq!(verdict(&signed(&[1, 2, 3, 4])), Ok(()));
    }

    #[test]
    fn rejects_exactly_two_thirds_of_the_power() {
        let refusal = Err(CertificateError::Power {
            signed: 4,
            total: 6,
        });
        assert_eq!(verdict(&signed(&[1, 2])), refusal);
        let refusal = Err(CertificateError::Power {
            signed: 3,
            total: 6,
        });
        assert_eq!(verdict(&signed(&[2, 3, 4])), refusal);
    }

    #[test]
    fn rejects_a_forged_signature_even_beside_enough_good_ones() {
        let mut block = signed(&[1, 2, 3, 4]);
        block.certificate.signatures[3].signature[5] ^= 1;
        let forged = block.certificate.signatures[3].validator;
        assert_eq!(verdict(&block), Err(CertificateError::Signature(forged)));
    }

    #[test]
    fn rejects_a_signature_under_another_name() {
        let mut block = signed(&[1, 2, 3]);
        let unused = account(4);
        let last = block.certificate.signatures.last_mut().unwrap();
        last.validator = unused;
        block
            .certificate
            .signatures
            .sort_by_key(|entry| entry.validator);
        assert_eq!(verdict(&block), Err(CertificateError::Signature(unused)));
    }

    #[test]
    fn rejects_a_signer_counted_twice() {
        let mut block = signed(&[1, 2]);
        let twice = block.certificate.signatures[1];
        block.certificate.signatures.push(twice);
        assert_eq!(
            verdict(&block),
            Err(CertificateError::Order(twice.validator))
        );
    }

    #[test]
    fn rejects_a_signer_from_outside() {
        let block = signed(&[1, 2, 3, 5]);
        let outside = Err(CertificateError::UnknownValidator(account(5)));
        assert_eq!(verdict(&block), outside);
    }

    #[test]
    fn rejects_another_height_round_block_and_network() {
        let good = signed(&[1, 2, 3]);
        let refused = |block: &CertifiedBlock| verdict(block).unwrap_err();
        let by_signature = |error| matches!(error, CertificateError::Signature(_));

        let above = good.verify(&network(), &validators(), Height::new(10));
        assert!(matches!(above, Err(CertificateError::Height { .. })));
        let mut block = good.clone();
        block.certificate.height = Height::new(10);
        let moved = block.verify(&network(), &validators(), Height::new(10));
        assert!(by_signature(moved.unwrap_err()));
        let mut block = good.clone();
        block.certificate.round = 3;
        assert!(by_signature(refused(&block)));
        let mut block = good.clone();
        block.block[0] ^= 1;
        assert!(matches!(refused(&block), CertificateError::Block { .. }));
        block.certificate.block = BlockId::of(&block.block);
        assert!(by_signature(refused(&block)));
        let elsewhere = good.verify(&NetworkId::of(b"other"), &validators(), HEIGHT);
        assert!(by_signature(elsewhere.unwrap_err()));
    }

    #[test]
    fn one_byte_string_per_certified_block() {
        let block = signed(&[1, 2, 3]);
        let bytes = block.to_bytes();
        assert_eq!(CertifiedBlock::from_bytes(&bytes), Ok(block));
        for length in 0..bytes.len() {
            assert!(CertifiedBlock::from_bytes(&bytes[..length]).is_err());
        }
        assert!(CertifiedBlock::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn rejects_lengths_above_the_limits_before_allocating() {
        let mut bytes = signed(&[]).to_bytes();
        bytes[44..48].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(
            CertifiedBlock::from_bytes(&bytes),
            Err(DecodeError::TooLong { .. })
        ));
    }
}
