//! `vectors/encoding.json`: encodings, names, and bytes that must be refused.

use agon_protocol::block::Block;
use agon_protocol::codec::{Decode, DecodeError, Encode};
use agon_protocol::competition::CompetitionSpec;
use agon_protocol::digest::{
    BlobId, BlockId, CompetitionId, DataDigest, KeyCommitment, NetworkId, RegistrationId,
    TransactionId,
};
use agon_protocol::genesis::Genesis;
use agon_protocol::governance::Measure;
use agon_protocol::identity::{AccountId, Signature, verify};
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::{Context, Dataset, Targets, Task};
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::possession_bytes;
use agon_protocol::units::{Amount, Height};
use serde::{Deserialize, Serialize};

use super::pinned;
use crate::world::{Who, World, bad_proof, data_key, genesis, model, open, spec};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    genesis: GenesisVector,
    transactions: Vec<TransactionVector>,
    block: BlockVector,
    dataset: DatasetVector,
    values: ValuesVector,
    metrics: Vec<MetricVector>,
    minima: Vec<MinimumVector>,
    tally: TallyVector,
    context: ContextVector,
    data_key: KeyVector,
    blob: BlobVector,
    refused: Vec<RefusedVector>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisVector {
    value: Genesis,
    bytes: String,
    network_id: NetworkId,
    block_id: BlockId,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransactionVector {
    value: SignedTransaction,
    signing_bytes: String,
    bytes: String,
    id: TransactionId,
    competition_id: Option<CompetitionId>,
    registration_id: Option<RegistrationId>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockVector {
    value: Block,
    bytes: String,
    id: BlockId,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DatasetVector {
    width: usize,
    classes: usize,
    inputs: Vec<u16>,
    labels: Vec<u16>,
    bytes: String,
    digest: DataDigest,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesVector {
    width: usize,
    exponent: i16,
    inputs: Vec<u16>,
    values: Vec<i32>,
    bytes: String,
    digest: DataDigest,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricVector {
    value: Metric,
    bytes: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MinimumVector {
    value: Threshold,
    bytes: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TallyVector {
    value: Tally,
    bytes: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextVector {
    network: NetworkId,
    competition: CompetitionId,
    registration: RegistrationId,
    competitor: AccountId,
    nonce: u64,
    bytes: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyVector {
    key: DataKey,
    commitment: KeyCommitment,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobVector {
    bytes: String,
    id: BlobId,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedVector {
    name: String,
    bytes: String,
    reason: String,
}

/// The usual terms for a task of values.
fn of_values() -> CompetitionSpec {
    let mut spec = spec();
    spec.task = Task::Regression { exponent: -10 };
    spec.metric = Metric::R2;
    spec.minimum = Threshold::AtMost { sum: 1 << 80 };
    spec
}

fn metrics() -> Vec<MetricVector> {
    let metrics = [
        Metric::Accuracy,
        Metric::TopK { k: 5 },
        Metric::BalancedAccuracy,
        Metric::MacroF1,
        Metric::Mse,
        Metric::Rmse,
        Metric::Mae,
        Metric::R2,
    ];
    let vector = |value: Metric| MetricVector {
        bytes: hex::encode(value.to_bytes()),
        value,
    };
    metrics.map(vector).into()
}

fn minima() -> Vec<MinimumVector> {
    let millionths = 925_000;
    let minima = [
        Threshold::None,
        Threshold::AtLeast { millionths },
        Threshold::AtMost { sum: 1 << 90 },
    ];
    let vector = |value: Threshold| MinimumVector {
        bytes: hex::encode(value.to_bytes()),
        value,
    };
    minima.map(vector).into()
}

/// The host's place among the validators, if it had one, for Bob's key.
fn rotation(world: &World) -> Action {
    let message = possession_bytes(&world.state.network(), &Who::Host.account());
    Action::RotateKey {
        to: Who::Bob.account(),
        possession: Signature::sign(&Who::Bob.key(), &message),
    }
}

fn transactions(world: &World) -> Vec<TransactionVector> {
    let (competition, registration) = (CompetitionId::of(b"c"), RegistrationId::of(b"r"));
    let actions = [
        Action::Transfer {
            to: Who::Bob.account(),
            amount: Amount::new(1_234_567),
        },
        open(spec()),
        open(of_values()),
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
        bad_proof(registration, 321, "proof"),
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
        rotation(world),
    ];
    let vector = |action| {
        let value = world.sign(Who::Host, action);
        TransactionVector {
            signing_bytes: hex::encode(value.transaction.signing_bytes()),
            bytes: hex::encode(value.to_bytes()),
            id: value.id(),
            competition_id: value.competition_id(),
            registration_id: value.registration_id(),
            value,
        }
    };
    actions.map(vector).into()
}

/// The word of page 2 for a decoder's error.
fn reason(bytes: &[u8]) -> String {
    let word = match SignedTransaction::from_bytes(bytes).unwrap_err() {
        DecodeError::Truncated { .. } => "truncated",
        DecodeError::Trailing { .. } => "left over",
        DecodeError::TooLong { .. } => "too long",
        DecodeError::Invalid { .. } => "not canonical",
    };
    word.to_owned()
}

fn refused(world: &World) -> Vec<RefusedVector> {
    let bytes = world.sign(Who::Host, open(spec())).to_bytes();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        bytes
    };
    // 72 bytes of network, sender and nonce, then the tag, then the title
    let cases = [
        ("a byte too many", changed(&|bytes| bytes.push(0))),
        (
            "a byte too few",
            changed(&|bytes| bytes.truncate(bytes.len() - 1)),
        ),
        ("nothing", Vec::new()),
        ("an unknown action", changed(&|bytes| bytes[72] = 7)),
        (
            "a title longer than the limit",
            changed(&|bytes| bytes[73] = 121),
        ),
        (
            "a title longer than the input",
            changed(&|bytes| bytes.truncate(80)),
        ),
        (
            "a title that is not UTF-8",
            changed(&|bytes| bytes[77] = 0xff),
        ),
    ];
    let vector = |(name, bytes): (&str, Vec<u8>)| RefusedVector {
        name: name.to_owned(),
        reason: reason(&bytes),
        bytes: hex::encode(bytes),
    };
    cases.map(vector).into()
}

fn vectors() -> Vectors {
    let world = World::new();
    let (inputs, labels) = (vec![0, 1, 2, 255, 4_095, 7], vec![2, 0]);
    let dataset = Dataset::new(3, 3, inputs.clone(), labels.clone()).unwrap();
    let targets = Targets::Values {
        exponent: -3,
        values: vec![-1, 1 << 24],
    };
    let values = Dataset::with_targets(2, vec![1, 2, 3, 4], targets).unwrap();
    let tally = Tally::new(vec![0, 258, 1 << 100]).unwrap();
    let context = Context {
        network: genesis().network_id(),
        competition: CompetitionId::of(b"c"),
        registration: RegistrationId::of(b"r"),
        competitor: Who::Alice.account(),
        nonce: 7,
    };
    let Context {
        network,
        competition,
        registration,
        competitor,
        nonce,
    } = context;
    let transactions = transactions(&world);
    let block = world.block(
        2_000,
        transactions
            .iter()
            .take(1)
            .map(|vector| vector.value.clone())
            .collect(),
    );
    Vectors {
        genesis: GenesisVector {
            value: genesis(),
            bytes: hex::encode(genesis().to_bytes()),
            network_id: genesis().network_id(),
            block_id: genesis().block_id(),
        },
        transactions,
        block: BlockVector {
            bytes: hex::encode(block.to_bytes()),
            id: block.id(),
            value: block,
        },
        dataset: DatasetVector {
            width: 3,
            classes: 3,
            inputs,
            labels,
            bytes: hex::encode(dataset.to_bytes()),
            digest: dataset.digest(),
        },
        values: ValuesVector {
            width: 2,
            exponent: -3,
            inputs: vec![1, 2, 3, 4],
            values: vec![-1, 1 << 24],
            bytes: hex::encode(values.to_bytes()),
            digest: values.digest(),
        },
        metrics: metrics(),
        minima: minima(),
        tally: TallyVector {
            bytes: hex::encode(tally.to_bytes()),
            value: tally,
        },
        context: ContextVector {
            network,
            competition,
            registration,
            competitor,
            nonce,
            bytes: hex::encode(context.to_bytes()),
        },
        data_key: KeyVector {
            key: data_key(),
            commitment: data_key().commitment(),
        },
        blob: BlobVector {
            bytes: hex::encode(b"blob"),
            id: BlobId::of(b"blob"),
        },
        refused: refused(&world),
    }
}

fn decoded<T: Decode>(bytes: &str) -> T {
    T::from_bytes(&hex::decode(bytes).unwrap()).unwrap()
}

#[test]
fn encodings_and_names_are_pinned() {
    let Vectors {
        genesis,
        transactions,
        block,
        dataset,
        values,
        metrics,
        minima,
        tally,
        context,
        data_key,
        blob,
        refused,
    } = pinned("encoding.json", &vectors());

    let GenesisVector {
        value,
        bytes,
        network_id,
        block_id,
    } = genesis;
    assert_eq!(decoded::<Genesis>(&bytes), value);
    assert_eq!(
        (value.network_id(), value.block_id()),
        (network_id, block_id)
    );

    for vector in transactions {
        let TransactionVector {
            value,
            signing_bytes,
            bytes,
            id,
            competition_id,
            registration_id,
        } = vector;
        assert_eq!(decoded::<SignedTransaction>(&bytes), value);
        let message = hex::decode(signing_bytes).unwrap();
        assert!(verify(
            &value.transaction.sender,
            &message,
            &value.signature
        ));
        assert!(value.check_signature());
        let names = (value.id(), value.competition_id(), value.registration_id());
        assert_eq!(names, (id, competition_id, registration_id));
    }

    let BlockVector { value, bytes, id } = block;
    assert_eq!((decoded::<Block>(&bytes), value.id()), (value, id));

    let DatasetVector {
        width,
        classes,
        inputs,
        labels,
        bytes,
        digest,
    } = dataset;
    let value = Dataset::new(width, classes, inputs, labels).unwrap();
    assert_eq!(
        (decoded::<Dataset>(&bytes), value.digest()),
        (value, digest)
    );

    let ValuesVector {
        width,
        exponent,
        inputs,
        values,
        bytes,
        digest,
    } = values;
    let targets = Targets::Values { exponent, values };
    let value = Dataset::with_targets(width, inputs, targets).unwrap();
    assert_eq!(
        (decoded::<Dataset>(&bytes), value.digest()),
        (value, digest)
    );
    for MetricVector { value, bytes } in metrics {
        assert_eq!(decoded::<Metric>(&bytes), value);
    }
    for MinimumVector { value, bytes } in minima {
        assert_eq!(decoded::<Threshold>(&bytes), value);
    }
    let TallyVector { value, bytes } = tally;
    assert_eq!(decoded::<Tally>(&bytes), value);

    let ContextVector {
        network,
        competition,
        registration,
        competitor,
        nonce,
        bytes,
    } = context;
    let value = Context {
        network,
        competition,
        registration,
        competitor,
        nonce,
    };
    assert_eq!(decoded::<Context>(&bytes), value);

    let KeyVector { key, commitment } = data_key;
    assert_eq!(key.commitment(), commitment);
    let BlobVector { bytes, id } = blob;
    assert_eq!(BlobId::of(&hex::decode(bytes).unwrap()), id);

    for vector in refused {
        let RefusedVector {
            name,
            bytes,
            reason: word,
        } = vector;
        assert_eq!(reason(&hex::decode(bytes).unwrap()), word, "{name}");
    }
}
