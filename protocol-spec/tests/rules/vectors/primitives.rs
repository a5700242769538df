//! `vectors/primitives.json`: BLAKE3 and ed25519, for implementations that cannot take them from a library.

use agon_protocol::digest::BlobId;
use agon_protocol::identity::{AccountId, Signature, verify};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::pinned;
use crate::world::Who;

/// Of the official vectors of BLAKE3, whose inputs are bytes that count up to 250 and begin again.
const CONTEXT: &str = "BLAKE3 2019-12-27 16:29:52 test vectors context";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    context: String,
    blake3: Vec<HashVector>,
    signed: Vec<SignedVector>,
    signatures: Vec<SignatureVector>,
    keys: Vec<KeyVector>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashVector {
    length: usize,
    hash: String,
    /// Derived with the context.
    derived: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedVector {
    seed: String,
    account: AccountId,
    message: String,
    signature: Signature,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureVector {
    name: String,
    account: AccountId,
    message: String,
    signature: Signature,
    valid: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyVector {
    name: String,
    account: AccountId,
    usable: bool,
}

fn hashed(length: usize) -> HashVector {
    let input: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
    HashVector {
        length,
        hash: BlobId::of(&input).to_string(),
        derived: hex::encode(blake3::derive_key(CONTEXT, &input)),
    }
}

fn signed(seed: [u8; 32], message: &[u8]) -> SignedVector {
    let key = SigningKey::from_bytes(&seed);
    SignedVector {
        seed: hex::encode(seed),
        account: AccountId::of(&key),
        message: hex::encode(message),
        signature: Signature::sign(&key, message),
    }
}

/// RFC 8032, section 7.1, tests 1 and 2.
fn rfc_seeds() -> [[u8; 32]; 2] {
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    ]
    .map(|seed| hex::decode(seed).unwrap().try_into().unwrap())
}

fn signatures() -> Vec<SignatureVector> {
    let vector = |name: &str, account: AccountId, message: &[u8], signature: [u8; 64]| {
        let signature = Signature::from_raw(signature);
        SignatureVector {
            name: name.to_owned(),
            account,
            message: hex::encode(message),
            signature,
            valid: verify(&account, message, &signature),
        }
    };
    let (alice, message) = (Who::Alice.account(), b"message".as_slice());
    let good = *Signature::sign(&Who::Alice.key(), message).as_bytes();
    let (mut flipped, mut neutral, mut trivial) = (good, [0; 32], [0; 64]);
    (flipped[0], neutral[0], trivial[0]) = (flipped[0] ^ 1, 1, 1);
    let mut late = good;
    late[63] |= 0x80;
    vec![
        vector("signed", alice, message, good),
        vector("another message", alice, b"massage", good),
        vector("another account", Who::Bob.account(), message, good),
        vector("a changed point", alice, message, flipped),
        vector("a scalar above the order", alice, message, late),
        vector(
            "the same scalar once more around",
            alice,
            message,
            around(good),
        ),
        vector(
            "a key of small order",
            AccountId::from_raw(neutral),
            message,
            trivial,
        ),
    ]
}

/// The signature with the order of the group added to its scalar.
fn around(mut signature: [u8; 64]) -> [u8; 64] {
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(hex::decode(order).unwrap()) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    signature
}

fn keys() -> Vec<KeyVector> {
    let with = |fill: u8, low: u8, high: u8| {
        let mut bytes = [fill; 32];
        (bytes[0], bytes[31]) = (low, high);
        AccountId::from_raw(bytes)
    };
    let vector = |(name, account): (&str, AccountId)| KeyVector {
        name: name.to_owned(),
        account,
        usable: account.is_usable(),
    };
    [
        ("a key", Who::Alice.account()),
        ("no point has this coordinate", with(0, 2, 0)),
        ("the neutral point", with(0, 1, 0)),
        ("a point of order 4", with(0, 0, 0)),
        ("a coordinate that is not reduced", with(0xff, 0xf0, 0x7f)),
        ("a sign where there is none", with(0, 1, 0x80)),
    ]
    .map(vector)
    .into()
}

fn vectors() -> Vectors {
    let lengths = [
        0, 1, 64, 65, 1_023, 1_024, 1_025, 2_048, 2_049, 3_072, 3_073, 5_121, 7_169,
    ];
    let [empty, single] = rfc_seeds();
    Vectors {
        context: CONTEXT.to_owned(),
        blake3: lengths.map(hashed).into(),
        signed: vec![
            signed(empty, &[]),
            signed(single, &[0x72]),
            signed([3; 32], b"message"),
        ],
        signatures: signatures(),
        keys: keys(),
    }
}

#[test]
fn hashes_and_signatures_are_pinned() {
    let Vectors {
        blake3,
        signed,
        signatures,
        keys,
        ..
    } = pinned("primitives.json", &vectors());
    // the authors' own: BLAKE3's test_vectors.json, RFC 8032
    let official = [
        (0, "af1349b9f5f9a1a6", "2cc39783c223154f"),
        (1_025, "d00278ae47eb27b3", "effaa245f065fbf8"),
        (7_169, "a003fc7a51754a9b", "554b0a5efea9ef18"),
    ];
    for (length, hash, derived) in official {
        let vector = blake3.iter().find(|vector| vector.length == length);
        let vector = vector.unwrap();
        assert!(vector.hash.starts_with(hash) && vector.derived.starts_with(derived));
    }
    assert!(
        signed[0]
            .signature
            .to_string()
            .starts_with("e5564300c360ac72")
    );
    assert!(
        signed[1]
            .signature
            .to_string()
            .starts_with("92a009a9f0d4cab8")
    );
    for SignatureVector { name, valid, .. } in signatures {
        assert_eq!(valid, name == "signed", "{name}");
    }
    for KeyVector { name, usable, .. } in keys {
        assert_eq!(usable, name == "a key", "{name}");
    }
}
