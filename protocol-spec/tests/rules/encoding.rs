//! ENC: one byte string per value, one value per byte string, and no allocation before a limit is checked.

use std::fmt::Debug;

use agon_protocol::block::Block;
use agon_protocol::codec::{Decode, DecodeError, Encode};
use agon_protocol::competition::{Competition, CompetitionSpec};
use agon_protocol::digest::{BlobId, CompetitionId, NetworkId, RegistrationId};
use agon_protocol::genesis::Genesis;
use agon_protocol::governance::Measure;
use agon_protocol::identity::Signature;
use agon_protocol::limits::MAX_BLOCK_BYTES;
use agon_protocol::metric::{MAX_TALLY_NUMBER, Metric, Tally, Threshold};
use agon_protocol::statement::{Context, Dataset, Targets, Task};
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::units::{Amount, Height};
use proptest::prelude::*;

use crate::world::{REGISTER_UNTIL, Who, World, bad_proof, data_key, genesis, model, open, spec};

/// One transaction of each kind.
fn transactions() -> Vec<SignedTransaction> {
    let world = World::new();
    let (competition, registration) = (CompetitionId::of(b"c"), RegistrationId::of(b"r"));
    let mut bare = spec();
    bare.training_data = None;
    [
        Action::Transfer {
            to: Who::Bob.account(),
            amount: Amount::new(u64::MAX),
        },
        open(spec()),
        open(bare),
        Action::CancelCompetition { competition },
        Action::Register {
            competition,
            model: model("m"),
        },
        Action::Withdraw { registration },
        Action::ReleaseKey {
            competition,
            key: data_key(),
        },
        bad_proof(registration, 7, "p"),
        Action::Approve {
            measure: Measure::SetPower {
                account: Who::Bob.account(),
                power: 12,
            },
            set_version: 3,
        },
        Action::Approve {
            measure: Measure::Upgrade {
                version: 2,
                height: Height::new(1_000),
            },
            set_version: 3,
        },
        Action::RotateKey {
            to: Who::Bob.account(),
            possession: Signature::sign(&Who::Bob.key(), b"any"),
        },
    ]
    .into_iter()
    .map(|action| world.sign(Who::Alice, action))
    .collect()
}

/// Competitions in every state of their lives.
fn competitions() -> Vec<Competition> {
    let (mut world, id, names) = World::proving(spec(), &[Who::Alice, Who::Bob]);
    let mut found = vec![world.competition(id).clone()];
    world.submit(REGISTER_UNTIL + 1, Who::Alice, names[0], 300);
    world.accept(
        REGISTER_UNTIL + 2,
        Who::Bob,
        bad_proof(names[1], 400, "forged"),
    );
    found.push(world.competition(id).clone());
    world.pass(50_000);
    found.push(world.competition(id).clone());
    for end in [6_000, 50_000] {
        let (mut world, id) = World::opened();
        match end {
            6_000 => drop(world.accept(
                end,
                Who::Host,
                Action::CancelCompetition { competition: id },
            )),
            _ => drop(world.pass(end)),
        }
        found.push(world.competition(id).clone());
    }
    found
}

/// Round trip, every truncation, a byte too many, and every byte changed: refused, or again the one encoding.
fn canonical<T: Encode + Decode + PartialEq + Debug>(value: &T) {
    let bytes = value.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
    for length in 0..bytes.len() {
        assert!(
            T::from_bytes(&bytes[..length]).is_err(),
            "cut to {length} of {} bytes",
            bytes.len()
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(
        T::from_bytes(&longer),
        Err(DecodeError::Trailing { count: 1 })
    );
    for position in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            if let Ok(other) = T::from_bytes(&changed) {
                assert_ne!(other, *value, "two encodings of one value, byte {position}");
                assert_eq!(other.to_bytes(), changed, "byte {position}");
            }
        }
    }
}

#[test]
fn every_message_has_one_encoding() {
    // Rule ENC-1: accept
    // Rule ENC-2: accept
    // Rule ENC-2: reject
    transactions().iter().for_each(canonical);
    competitions().iter().for_each(canonical);
    canonical(&genesis());
    canonical(&spec());
    canonical(&World::new().block(2_000, transactions()));
    canonical(&Dataset::new(2, 3, vec![1, 2, 3, 4], vec![0, 2]).unwrap());
    canonical(&values());
    metrics().iter().for_each(canonical);
    minima().iter().for_each(canonical);
    canonical(&Task::Classification { classes: 10 });
    canonical(&Task::Regression { exponent: -20 });
    canonical(&Tally::of_hits(7));
    canonical(&Tally::new(vec![0, 1, MAX_TALLY_NUMBER]).unwrap());
    canonical(&Context {
        network: NetworkId::of(b"n"),
        competition: CompetitionId::of(b"c"),
        registration: RegistrationId::of(b"r"),
        competitor: Who::Alice.account(),
        nonce: 1,
    });
}

/// A data set of values.
fn values() -> Dataset {
    let targets = Targets::Values {
        exponent: -3,
        values: vec![-(1 << 24), 1 << 24],
    };
    Dataset::with_targets(2, vec![1, 2, 3, 4], targets).unwrap()
}

fn metrics() -> [Metric; 8] {
    [
        Metric::Accuracy,
        Metric::TopK { k: 5 },
        Metric::BalancedAccuracy,
        Metric::MacroF1,
        Metric::Mse,
        Metric::Rmse,
        Metric::Mae,
        Metric::R2,
    ]
}

fn minima() -> [Threshold; 3] {
    [
        Threshold::None,
        Threshold::AtLeast {
            millionths: 900_000,
        },
        Threshold::AtMost { sum: 1 << 90 },
    ]
}

#[test]
fn metrics_and_minima_read_and_write_as_people_do() {
    for metric in metrics() {
        assert_eq!(metric.to_string().parse(), Ok(metric));
        let json = serde_json::to_string(&metric).unwrap();
        assert_eq!(serde_json::from_str::<Metric>(&json).unwrap(), metric);
    }
    let json = serde_json::to_string(&metrics()).unwrap();
    assert_eq!(
        json,
        r#"["accuracy",{"top_k":{"k":5}},"balanced_accuracy","macro_f1","mse","rmse","mae","r2"]"#
    );
    assert_eq!("Macro_F1".parse(), Ok(Metric::MacroF1));
    for text in ["", "top-", "top-0", "top-1025", "top-x", "f1", "log-loss"] {
        assert!(text.parse::<Metric>().is_err(), "{text}");
    }
    for minimum in minima() {
        let json = serde_json::to_string(&minimum).unwrap();
        assert_eq!(serde_json::from_str::<Threshold>(&json).unwrap(), minimum);
    }
}

#[test]
fn rejects_tallies_that_are_empty_too_long_or_too_large() {
    // Rule ENC-2: reject
    // Rule ENC-3: reject
    assert_eq!(Tally::new(vec![]), None);
    assert_eq!(Tally::new(vec![MAX_TALLY_NUMBER + 1]), None);
    assert!(Tally::new(vec![0; 3_072]).is_some());
    assert_eq!(Tally::new(vec![0; 3_073]), None);
    let invalid = Err(DecodeError::Invalid { what: "tally" });
    assert_eq!(Tally::from_bytes(&0u32.to_bytes()), invalid);
    let mut large = 1u32.to_bytes();
    (MAX_TALLY_NUMBER + 1).encode(&mut large);
    assert_eq!(Tally::from_bytes(&large), invalid);
    assert_eq!(
        Tally::from_bytes(&3_073u32.to_bytes()),
        Err(DecodeError::TooLong {
            what: "tally",
            found: 3_073,
            limit: 3_072
        })
    );
    assert_eq!(
        Tally::from_bytes(&3_072u32.to_bytes()),
        Err(DecodeError::Truncated { what: "tally" })
    );
    for json in ["[]", "[\"01\"]", "[\"-1\"]", "[\"+1\"]", "[1]", "\"1\""] {
        assert!(serde_json::from_str::<Tally>(json).is_err(), "{json}");
    }
}

#[test]
fn rejects_data_sets_whose_targets_are_out_of_range() {
    let of = |exponent: i16, value: i32| {
        let targets = Targets::Values {
            exponent,
            values: vec![value],
        };
        Dataset::with_targets(1, vec![0], targets)
    };
    for (exponent, value) in [(256, 1 << 24), (-256, -(1 << 24))] {
        assert!(of(exponent, value).is_ok());
    }
    for (exponent, value) in [
        (257, 0),
        (-257, 0),
        (i16::MIN, 0),
        (0, (1 << 24) + 1),
        (0, -(1 << 24) - 1),
        (0, i32::MIN),
    ] {
        assert!(of(exponent, value).is_err(), "{exponent} {value}");
    }
    assert!(Dataset::new(1, 2, vec![0], vec![2]).is_err());
    let mut bytes = values().to_bytes();
    assert_eq!(bytes.len() as u64, values().encoded_bytes());
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&i32::MIN.to_le_bytes());
    assert_eq!(
        Dataset::from_bytes(&bytes),
        Err(DecodeError::Invalid { what: "data set" })
    );
}

#[test]
fn integers_are_little_endian_and_records_are_their_fields_in_order() {
    // Rule ENC-1: accept
    let transaction = World::new().transaction(
        Who::Alice,
        Action::Transfer {
            to: Who::Bob.account(),
            amount: Amount::new(0x0102),
        },
    );
    let bytes = transaction.to_bytes();
    assert_eq!(bytes[..32], *transaction.network.as_bytes());
    assert_eq!(bytes[32..64], *Who::Alice.account().as_bytes());
    assert_eq!(bytes[64..72], [0; 8]);
    assert_eq!(bytes[72], 0);
    assert_eq!(bytes[73..105], *Who::Bob.account().as_bytes());
    assert_eq!(bytes[105..], [2, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn rejects_unknown_tags_and_bad_text() {
    // Rule ENC-1: reject
    // Rule ENC-2: reject
    let mut unknown = transactions()[0].to_bytes();
    unknown[72] = 9;
    let error = SignedTransaction::from_bytes(&unknown);
    assert_eq!(error, Err(DecodeError::Invalid { what: "action" }));
    let mut text = spec().to_bytes();
    text[4] = 0xff;
    assert_eq!(
        CompetitionSpec::from_bytes(&text),
        Err(DecodeError::Invalid { what: "title" })
    );
}

#[test]
fn rejects_hostile_lengths_before_allocating() {
    // Rule ENC-3: accept
    // Rule ENC-3: reject
    let title = u32::MAX.to_bytes();
    let error = DecodeError::TooLong {
        what: "title",
        found: u64::from(u32::MAX),
        limit: 120,
    };
    assert_eq!(CompetitionSpec::from_bytes(&title), Err(error));
    // within the limit, but the bytes are not there
    let short = 120u32.to_bytes();
    assert_eq!(
        CompetitionSpec::from_bytes(&short),
        Err(DecodeError::Truncated { what: "title" })
    );

    let mut block = World::new().block(2_000, vec![]).to_bytes();
    let end = block.len();
    block[end - 4..].copy_from_slice(&10_001u32.to_le_bytes());
    let error = DecodeError::TooLong {
        what: "transactions",
        found: 10_001,
        limit: 10_000,
    };
    assert_eq!(Block::from_bytes(&block), Err(error));
    block[end - 4..].copy_from_slice(&10_000u32.to_le_bytes());
    assert_eq!(
        Block::from_bytes(&block),
        Err(DecodeError::Truncated {
            what: "transactions"
        })
    );
}

#[test]
fn rejects_a_block_above_the_limit_of_the_wire() {
    // Rule ENC-3: reject
    let mut wide = spec();
    wide.encoding.features = vec![wide.encoding.features[0]; 65_536];
    let large = World::new().sign(Who::Host, open(wide));
    let block = World::new().block(2_000, vec![large; 6]);
    let found = block.to_bytes().len() as u64;
    let error = DecodeError::TooLong {
        what: "block",
        found,
        limit: MAX_BLOCK_BYTES as u64,
    };
    assert_eq!(Block::from_bytes(&block.to_bytes()), Err(error));
}

#[test]
fn names_differ_by_content_signature_and_domain() {
    // Rule ENC-5: accept
    // Rule ENC-5: reject
    let all = transactions();
    let ids: std::collections::BTreeSet<_> = all.iter().map(SignedTransaction::id).collect();
    assert_eq!(ids.len(), all.len());
    let mut other = all[0].clone();
    other.signature = Signature::from_raw([0; 64]);
    assert_ne!(other.id(), all[0].id());
    assert_eq!(
        all[1].competition_id(),
        Some(CompetitionId::of(all[1].id().as_bytes()))
    );
    assert_eq!(
        all[4].registration_id(),
        Some(RegistrationId::of(all[4].id().as_bytes()))
    );
    assert_eq!(
        (all[0].competition_id(), all[0].registration_id()),
        (None, None)
    );
    let block = World::new().block(2_000, vec![]);
    let mut later = block.clone();
    later.time = agon_protocol::units::TimeMs::new(2_001);
    assert_ne!(block.id(), later.id());
}

#[test]
fn json_round_trips_and_shows_hexadecimal_and_plain_numbers() {
    for transaction in transactions() {
        let text = serde_json::to_string(&transaction).unwrap();
        assert_eq!(
            serde_json::from_str::<SignedTransaction>(&text).unwrap(),
            transaction
        );
    }
    for competition in competitions() {
        let text = serde_json::to_string(&competition).unwrap();
        assert_eq!(
            serde_json::from_str::<Competition>(&text).unwrap(),
            competition
        );
    }
    let block = World::new().block(2_000, transactions());
    let value = serde_json::to_value(&block).unwrap();
    assert_eq!(value["height"], 1);
    assert_eq!(
        value["transactions"][0]["transaction"]["action"],
        "transfer"
    );
    assert_eq!(value["transactions"][0]["transaction"]["amount"], u64::MAX);
    assert_eq!(value["proposer"], Who::Validator.account().to_string());
    assert_eq!(serde_json::from_value::<Block>(value).unwrap(), block);
    assert_eq!(BlobId::of(b"x").to_string().len(), 64);
}

fn accepted_bytes_are_canonical<T: Encode + Decode>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = T::from_bytes(bytes) {
        prop_assert_eq!(value.to_bytes(), bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_crash_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        // Rule ENC-3: accept
        accepted_bytes_are_canonical::<SignedTransaction>(&bytes)?;
        accepted_bytes_are_canonical::<Block>(&bytes)?;
        accepted_bytes_are_canonical::<Genesis>(&bytes)?;
        accepted_bytes_are_canonical::<Competition>(&bytes)?;
        accepted_bytes_are_canonical::<Dataset>(&bytes)?;
        accepted_bytes_are_canonical::<Context>(&bytes)?;
        accepted_bytes_are_canonical::<Metric>(&bytes)?;
        accepted_bytes_are_canonical::<Tally>(&bytes)?;
        accepted_bytes_are_canonical::<Threshold>(&bytes)?;
        accepted_bytes_are_canonical::<Task>(&bytes)?;
    }

    #[test]
    fn damaged_messages_are_refused_or_canonical(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        damage in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        // Rule ENC-2: reject
        let all = transactions();
        let mut bytes = which.get(&all).to_bytes();
        let start = at.index(bytes.len());
        let end = (start + damage.len()).min(bytes.len());
        bytes.splice(start..end, damage);
        accepted_bytes_are_canonical::<SignedTransaction>(&bytes)?;
    }
}
