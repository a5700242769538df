//! Sealed test sets: encrypted for publication before registration, opened by the released key.
//!
//! A sealed blob is a version byte, a 24-byte nonce, and the XChaCha20-Poly1305 ciphertext of the data set's canonical
//! encoding with its 16-byte tag (draft-irtf-cfrg-xchacha-03). The version, the purpose and the commitment to the key are
//! associated data. The commitment matters: the cipher alone does not bind its key, and a host who could open one blob with
//! two keys would have two test sets. This module refuses to know competitions and files.

use agon_protocol::codec::{Decode, DecodeError, Encode};
use agon_protocol::limits::MAX_DATA_BLOB_BYTES;
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::Dataset;
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use thiserror::Error;

/// Version of the format, the first byte of a sealed blob.
pub const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;
const PURPOSE: &[u8] = b"agon 2026-11 sealed test set";

/// Why a test set cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// The data set is larger than a blob may be.
    #[error(
        "the sealed test set would have {found} bytes, the limit is {MAX_DATA_BLOB_BYTES}: use fewer samples"
    )]
    TooLarge {
        /// Bytes of the blob.
        found: u64,
    },
    /// Shorter than a nonce and a tag.
    #[error(
        "a sealed test set has at least {OVERHEAD_BYTES} bytes, found {found}: the blob is cut short or is something else"
    )]
    Truncated {
        /// Bytes of the blob.
        found: usize,
    },
    /// Made by another version.
    #[error("sealed test set of version {found}, this version of agon reads version {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The key does not open the blob, or the blob was changed.
    #[error("the key does not open this test set, or the blob was changed")]
    Key,
    /// The contents are not a data set.
    #[error("the opened blob is not a data set: {0}")]
    Contents(#[from] DecodeError),
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Entropy(String),
}

fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| SealError::Entropy(error.to_string()))?;
    Ok(bytes)
}

/// A fresh key for one test set.
pub fn new_key() -> Result<DataKey, SealError> {
    Ok(DataKey::from_raw(random()?))
}

fn associated_data(key: &DataKey) -> Vec<u8> {
    let mut data = vec![VERSION];
    data.extend_from_slice(PURPOSE);
    data.extend_from_slice(key.commitment().as_bytes());
    data
}

/// Encrypts a test set. The nonce is fresh, so sealing twice gives two blobs.
pub fn seal(key: &DataKey, dataset: &Dataset) -> Result<Vec<u8>, SealError> {
    let found = dataset.encoded_bytes() + OVERHEAD_BYTES as u64;
    if found > MAX_DATA_BLOB_BYTES {
        return Err(SealError::TooLarge { found });
    }
    let nonce: [u8; NONCE_BYTES] = random()?;
    let mut blob = Vec::with_capacity(found as usize);
    blob.push(VERSION);
    blob.extend_from_slice(&nonce);
    dataset.encode(&mut blob);
    let tag = XChaCha20Poly1305::new(key.as_bytes().into())
        .encrypt_in_place_detached(
            XNonce::from_slice(&nonce),
            &associated_data(key),
            &mut blob[1 + NONCE_BYTES..],
        )
        .map_err(|_| SealError::TooLarge { found })?;
    blob.extend_from_slice(&tag);
    Ok(blob)
}

/// Decrypts, authenticates and decodes a test set.
pub fn open(key: &DataKey, blob: &[u8]) -> Result<Dataset, SealError> {
    if blob.len() as u64 > MAX_DATA_BLOB_BYTES {
        return Err(SealError::TooLarge {
            found: blob.len() as u64,
        });
    }
    if blob.len() < OVERHEAD_BYTES {
        return Err(SealError::Truncated { found: blob.len() });
    }
    let (head, rest) = blob.split_at(1 + NONCE_BYTES);
    let (ciphertext, tag) = rest.split_at(rest.len() - TAG_BYTES);
    if head[0] != VERSION {
        return Err(SealError::Version { found: head[0] });
    }
    let mut plaintext = ciphertext.to_vec();
    XChaCha20Poly1305::new(key.as_bytes().into())
        .decrypt_in_place_detached(
            XNonce::from_slice(&head[1..]),
            &associated_data(key),
            &mut plaintext,
            Tag::from_slice(tag),
        )
        .map_err(|_| SealError::Key)?;
    Ok(Dataset::from_bytes(&plaintext)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agon_protocol::statement::Targets;

    fn dataset() -> Dataset {
        Dataset::new(3, 2, vec![1, 2, 3, 4, 5, 6], vec![0, 1]).unwrap()
    }

    #[test]
    fn a_sealed_test_set_opens_with_its_key_only() {
        let (key, other) = (new_key().unwrap(), new_key().unwrap());
        let blob = seal(&key, &dataset()).unwrap();
        assert_eq!(open(&key, &blob), Ok(dataset()));
        assert_eq!(open(&other, &blob), Err(SealError::Key));
        assert_ne!(seal(&key, &dataset()).unwrap(), blob);
        let bytes = dataset().encoded_bytes() as usize + OVERHEAD_BYTES;
        assert_eq!(blob.len(), bytes);
    }

    #[test]
    fn a_test_set_of_values_is_sealed_too() {
        let targets = Targets::Values {
            exponent: -3,
            values: vec![-5, 1 << 24],
        };
        let values = Dataset::with_targets(2, vec![1, 2, 3, 4], targets).unwrap();
        let key = new_key().unwrap();
        let blob = seal(&key, &values).unwrap();
        assert_eq!(open(&key, &blob), Ok(values));
    }

    #[test]
    fn the_plaintext_is_not_visible() {
        let blob = seal(&new_key().unwrap(), &dataset()).unwrap();
        let plain = dataset().to_bytes();
        assert!(
            !blob
                .windows(6)
                .any(|window| plain.windows(6).any(|part| part == window))
        );
    }

    #[test]
    fn rejects_every_changed_byte_and_every_cut() {
        let key = new_key().unwrap();
        let blob = seal(&key, &dataset()).unwrap();
        for index in 0..blob.len() {
            let mut changed = blob.clone();
            changed[index] ^= 1;
            assert!(open(&key, &changed).is_err(), "byte {index}");
            assert!(open(&key, &blob[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn rejects_a_plaintext_that_is_not_a_data_set() {
        let key = new_key().unwrap();
        let mut body = b"not a data set".to_vec();
        let nonce = [7; NONCE_BYTES];
        let tag = XChaCha20Poly1305::new(key.as_bytes().into())
            .encrypt_in_place_detached(
                XNonce::from_slice(&nonce),
                &associated_data(&key),
                &mut body,
            )
            .unwrap();
        let blob = [&[VERSION][..], &nonce, &body, &tag].concat();
        assert!(matches!(open(&key, &blob), Err(SealError::Contents(_))));
    }
}
