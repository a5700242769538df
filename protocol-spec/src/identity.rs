//! Who acts: accounts and the signatures that speak for them.
//!
//! Verification is strict (RFC 8032 with canonical points and scalars, no small-order keys), so that every validator
//! gives the same verdict and nobody can change a signature into another one that is valid too.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::digest::bytes32;

bytes32!(
    /// An account: the ed25519 public key (RFC 8032) of whoever owns it.
    AccountId
);

impl AccountId {
    /// The account that `key` speaks for.
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }

    /// Whether signatures can be checked with it: the canonical encoding of a point that is not of small order.
    pub fn is_usable(&self) -> bool {
        self.usable_key().is_some()
    }

    fn usable_key(&self) -> Option<VerifyingKey> {
        // the library reduces a coordinate of 2^255 - 19 or more: a second encoding of the same point
        let [low, middle @ .., high] = &self.0;
        let reduced = *low < 0xed || middle.iter().any(|byte| *byte != 0xff) || high & 0x7f != 0x7f;
        let key = VerifyingKey::from_bytes(&self.0).ok()?;
        (reduced && !key.is_weak()).then_some(key)
    }
}

impl From<VerifyingKey> for AccountId {
    fn from(key: VerifyingKey) -> Self {
        Self(key.to_bytes())
    }
}

/// An ed25519 signature (RFC 8032): 64 bytes, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps bytes.
    pub const fn from_raw(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Signs `message`. The same key and message give the same signature.
    pub fn sign(key: &SigningKey, message: &[u8]) -> Self {
        Self(key.sign(message).to_bytes())
    }
}

/// Whether `signature` is the account's on `message`, by the strict rules of ed25519.
pub fn verify(account: &AccountId, message: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    account
        .usable_key()
        .is_some_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// A text that is not 128 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a signature of 128 hexadecimal digits")]
pub struct ParseSignatureError;

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", hex::encode(&self.0[..4]))
    }
}

impl FromStr for Signature {
    type Err = ParseSignatureError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseSignatureError)?;
        Ok(Self(bytes))
    }
}

impl Encode for Signature {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

impl Decode for Signature {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.array("signature")?))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_speaks_for_one_account_and_one_message() {
        let (key, other) = (
            SigningKey::from_bytes(&[1; 32]),
            SigningKey::from_bytes(&[2; 32]),
        );
        let signature = Signature::sign(&key, b"message");
        assert!(verify(&AccountId::of(&key), b"message", &signature));
        assert!(!verify(&AccountId::of(&key), b"massage", &signature));
        assert!(!verify(&AccountId::of(&other), b"message", &signature));
    }

    #[test]
    fn rejects_small_order_keys_and_unreduced_scalars() {
        // the neutral element as key, R = neutral and s = 0: valid under the cofactored equation for every message
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        assert!(!verify(
            &AccountId::from_raw(neutral),
            b"any",
            &Signature(forged)
        ));

        // s + L is the same scalar: a second signature for the same message
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = SigningKey::from_bytes(&[3; 32]);
        let mut malleated = *Signature::sign(&key, b"message").as_bytes();
        let mut carry = 0;
        for (byte, order) in malleated[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert!(!verify(
            &AccountId::of(&key),
            b"message",
            &Signature(malleated)
        ));
    }

    #[test]
    fn a_second_encoding_of_a_point_is_no_usable_key() {
        // y = 3 is a point of large order; 2^255 - 19 + 3 is the same coordinate
        let (mut once, mut again) = ([0; 32], [0xff; 32]);
        (once[0], again[0], again[31]) = (3, 0xf0, 0x7f);
        assert!(AccountId::from_raw(once).is_usable());
        assert!(!AccountId::from_raw(again).is_usable());
    }

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let signature = Signature::sign(&SigningKey::from_bytes(&[4; 32]), b"x");
        assert_eq!(signature.to_string().parse(), Ok(signature));
        assert!("00".parse::<Signature>().is_err());
    }
}
