//! What a proof is bound to: every absorbed field, every byte, every argument of the verifier.

use std::sync::OnceLock;

use agon_protocol::codec::Encode;
use agon_protocol::digest::{CompetitionId, ModelDigest, NetworkId, RegistrationId};
use agon_protocol::identity::AccountId;
use agon_protocol::statement::{Context, Dataset};

use super::scene::{Scene, rejection, verifier};
use crate::challenge::{Challenges, FORMAT_VERSION, Statement, seed_of};
use crate::submission::Submission;
use crate::verifier::{Expected, Rejection};

struct Proven {
    scene: Scene,
    submission: Submission,
    bytes: Vec<u8>,
}

fn proven() -> &'static Proven {
    static PROVEN: OnceLock<Proven> = OnceLock::new();
    PROVEN.get_or_init(|| {
        let scene = Scene::new(&[5]);
        let submission = scene.prove();
        let bytes = submission.to_bytes();
        Proven {
            scene,
            submission,
            bytes,
        }
    })
}

fn statement<'a>(proven: &'a Proven, columns: &'a [crate::field::Point]) -> Statement<'a> {
    Statement {
        version: FORMAT_VERSION,
        generators: proven.scene.generators.digest(),
        verifying_key: &[1; 64],
        layout: &proven.scene.layout,
        context: &proven.scene.context,
        model: proven.scene.committed.digest(),
        data: proven.scene.data.digest(),
        samples: proven.scene.data.samples(),
        features: proven.scene.data.width(),
        correct: proven.submission.correct(),
        weight_commitments: proven.scene.committed.commitment().points(),
        column_commitments: columns,
    }
}

fn columns(proven: &Proven) -> Vec<crate::field::Point> {
    let layout = &proven.scene.layout;
    let mut columns =
        Submission::column_commitments(&proven.submission.circuit_proof, layout).unwrap();
    columns.truncate(layout.committed_columns());
    columns
}

/// The order of absorption, as PROVER.md fixes it. A field that is added or dropped must be added or dropped here too.
#[test]
fn the_fields_are_absorbed_in_this_order() {
    let columns = columns(proven());
    let names: Vec<_> = statement(proven(), &columns)
        .fields()
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(
        names,
        [
            "version",
            "generators",
            "verifying key",
            "architecture",
            "circuit rows",
            "samples in a row",
            "network",
            "competition",
            "registration",
            "competitor",
            "nonce",
            "model",
            "data",
            "samples",
            "features",
            "correct",
            "weight commitments",
            "column commitments",
        ]
    );
}

#[test]
fn every_bit_of_every_field_changes_every_challenge() {
    let columns = columns(proven());
    let fields = statement(proven(), &columns).fields();
    let honest = Challenges::new(&seed_of(&fields));
    for number in 0..fields.len() {
        for byte in [0, fields[number].1.len() - 1] {
            let mut changed = fields.clone();
            changed[number].1[byte] ^= 1;
            let challenges = Challenges::new(&seed_of(&changed));
            assert_ne!(challenges.lookup, honest.lookup, "{}", fields[number].0);
            assert_ne!(challenges.block, honest.block);
            assert_ne!(challenges.column, honest.column);
            assert_ne!(challenges.output, honest.output);
        }
        // moving a byte over a field's border is another statement, too
        let mut moved = fields.clone();
        if let (Some(byte), Some(next)) = (moved[number].1.pop(), moved.get_mut(number + 1)) {
            next.1.insert(0, byte);
            assert_ne!(seed_of(&moved), seed_of(&fields));
        }
    }
}

/// A verifier that takes a field from elsewhere refuses the proof: one change a field.
#[test]
fn rejects_the_proof_in_any_other_context() {
    let Proven { scene, bytes, .. } = proven();
    let honest = scene.context;
    let others = [
        Context {
            network: NetworkId::of(b"other"),
            ..honest
        },
        Context {
            competition: CompetitionId::of(b"other"),
            ..honest
        },
        Context {
            registration: RegistrationId::of(b"other"),
            ..honest
        },
        Context {
            competitor: AccountId::from_raw([8; 32]),
            ..honest
        },
        Context {
            nonce: honest.nonce + 1,
            ..honest
        },
    ];
    for context in &others {
        // the digest binds the owner, so a replay under another key already fails there; without a registered digest, too
        for model in [None, Some(scene.committed.digest())] {
            let expected = Expected {
                context,
                model,
                ..scene.expected()
            };
            let verdict = rejection(verifier().verify(bytes, &scene.data, &expected));
            assert!(
                matches!(verdict, Err(Rejection::Link | Rejection::Model { .. })),
                "{context:?} {verdict:?}"
            );
        }
    }
}

#[test]
fn rejects_another_registered_model_score_or_size() {
    let Proven {
        scene,
        submission,
        bytes,
    } = proven();
    let verify =
        |expected: Expected<'_>| rejection(verifier().verify(bytes, &scene.data, &expected));
    let correct = submission.correct();
    assert!(
        verify(Expected {
            correct: Some(correct),
            ..scene.expected()
        })
        .is_ok()
    );
    let other = Expected {
        correct: Some(correct - 1),
        ..scene.expected()
    };
    assert!(matches!(verify(other), Err(Rejection::Claim { .. })));
    let other = Expected {
        model: Some(ModelDigest::of(b"other")),
        ..scene.expected()
    };
    assert!(matches!(verify(other), Err(Rejection::Model { .. })));
    let parameters = scene.layout.architecture().parameters();
    let limit = |max_parameters| Expected {
        max_parameters,
        ..scene.expected()
    };
    assert!(verify(limit(parameters)).is_ok());
    assert!(matches!(
        verify(limit(parameters - 1)),
        Err(Rejection::Parameters { .. })
    ));
}

/// The same data with one thing changed.
fn altered(data: &Dataset, change: impl Fn(&mut Vec<u16>, &mut Vec<u16>)) -> Dataset {
    let mut inputs: Vec<u16> = (0..data.samples())
        .flat_map(|i| data.input(i).to_vec())
        .collect();
    let mut labels: Vec<u16> = (0..data.samples()).map(|i| data.label(i) as u16).collect();
    change(&mut inputs, &mut labels);
    Dataset::new(inputs.len() / labels.len(), data.classes(), inputs, labels).unwrap()
}

#[test]
fn rejects_other_samples_and_other_labels() {
    let Proven { scene, bytes, .. } = proven();
    let width = scene.data.width();
    let changed = [
        altered(&scene.data, |inputs, _| inputs[3] ^= 1),
        altered(&scene.data, |_, labels| labels[1] = (labels[1] + 1) % 4),
        altered(&scene.data, |_, labels| {
            let last = labels.len() - 1;
            labels[last] = (labels[last] + 1) % 4;
        }),
        altered(&scene.data, |inputs, labels| {
            inputs.rotate_left(width);
            labels.rotate_left(1);
        }),
        altered(&scene.data, |inputs, labels| {
            inputs.truncate(width * 48);
            labels.truncate(48);
        }),
    ];
    for data in &changed {
        assert_ne!(data.digest(), scene.data.digest());
        let verdict = rejection(verifier().verify(bytes, data, &scene.expected()));
        assert!(
            matches!(verdict, Err(Rejection::Link | Rejection::Data { .. })),
            "{verdict:?}"
        );
    }
}

#[test]
fn rejects_a_proof_with_any_byte_changed() {
    let Proven { scene, bytes, .. } = proven();
    scene.verify_bytes(bytes).unwrap();
    // every byte of the head, the opening and the link; every seventh of the long middle
    let dense = 600;
    for position in 0..bytes.len() {
        let near_an_end = position < dense || position + 400 > bytes.len();
        if near_an_end || position % 7 == 0 {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << (position % 8);
            assert!(scene.verify_bytes(&changed).is_err(), "byte {position}");
        }
    }
}

#[test]
fn rejects_truncated_extended_and_foreign_bytes() {
    let Proven { scene, bytes, .. } = proven();
    for length in (0..bytes.len()).step_by(41) {
        assert!(matches!(
            scene.verify_bytes(&bytes[..length]),
            Err(Rejection::Encoding(_))
        ));
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(
        scene.verify_bytes(&longer),
        Err(Rejection::Encoding(_))
    ));
    assert!(matches!(
        scene.verify_bytes(b"not a proof"),
        Err(Rejection::Encoding(_))
    ));
}

#[test]
fn a_length_that_asks_for_much_memory_is_refused_before_it_is_allocated() {
    let Proven {
        scene,
        bytes,
        submission,
    } = proven();
    let proof_length = submission.circuit_proof.len() as u32;
    let position = bytes
        .windows(4)
        .position(|window| window == proof_length.to_le_bytes())
        .unwrap();
    let mut hostile = bytes.clone();
    hostile[position..position + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        scene.verify_bytes(&hostile),
        Err(Rejection::Encoding(_))
    ));
}

proptest::proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let Proven { scene, .. } = proven();
        assert!(scene.verify_bytes(&bytes).is_err());
        let mut with_magic = b"AGONPROF\x01\x00".to_vec();
        with_magic.extend(bytes);
        assert!(scene.verify_bytes(&with_magic).is_err());
    }
}
