//! The canonical encodings of the protocol: what is in blocks, in data blobs, in a genesis and in a store.

use std::sync::LazyLock;

use agon_protocol::block::Block;
use agon_protocol::genesis::Genesis;
use agon_protocol::state::State;
use agon_protocol::statement::Dataset;
use agon_protocol::transactions::SignedTransaction;

use crate::{Target, is_canonical};

/// Transactions, blocks, geneses, data sets and stored states.
pub const TARGETS: &[Target] = &[
    Target {
        name: "transaction",
        run: transaction,
        seeds: || vectors("/transactions"),
    },
    Target {
        name: "block",
        run: block,
        seeds: || vectors("/block"),
    },
    Target {
        name: "genesis",
        run: genesis,
        seeds: || vectors("/genesis"),
    },
    Target {
        name: "genesis_json",
        run: genesis_json,
        seeds: || vec![VECTORS["genesis"]["value"].to_string().into_bytes()],
    },
    Target {
        name: "dataset",
        run: dataset,
        seeds: || [vectors("/dataset"), vectors("/values")].concat(),
    },
    Target {
        name: "snapshot",
        run: snapshot,
        seeds: || vec![STATE.snapshot()],
    },
];

/// `protocol-spec/vectors/encoding.json`.
static VECTORS: LazyLock<serde_json::Value> = LazyLock::new(|| {
    let path = crate::repository("protocol-spec/vectors/encoding.json");
    let text = std::fs::read(path).expect("the vectors are in the repository");
    serde_json::from_slice(&text).expect("the vectors are JSON")
});

static GENESIS: LazyLock<Genesis> = LazyLock::new(|| {
    serde_json::from_value(VECTORS["genesis"]["value"].clone()).expect("the vectors are valid")
});

static STATE: LazyLock<State> =
    LazyLock::new(|| State::genesis(&GENESIS).expect("the vectors are valid"));

/// The field `bytes` of a vector, or of each of a list.
fn vectors(path: &str) -> Vec<Vec<u8>> {
    let found = VECTORS.pointer(path).expect("the vectors have this kind");
    let all = found
        .as_array()
        .map_or(vec![found], |list| list.iter().collect());
    let bytes = |vector: &serde_json::Value| {
        hex::decode(vector["bytes"].as_str().expect("a vector has bytes")).expect("bytes are hex")
    };
    all.into_iter().map(bytes).collect()
}

/// A signed transaction, as gossip and clients send it, checked as a mempool would.
pub fn transaction(bytes: &[u8]) -> bool {
    let Some(transaction) = is_canonical::<SignedTransaction>(bytes) else {
        return false;
    };
    let _ = STATE.check(&transaction, STATE.time());
    true
}

/// A block, as a proposer sends it.
pub fn block(bytes: &[u8]) -> bool {
    is_canonical::<Block>(bytes).is_some()
}

/// A genesis in its canonical encoding.
pub fn genesis(bytes: &[u8]) -> bool {
    is_canonical::<Genesis>(bytes).is_some_and(|genesis| starts(&genesis))
}

/// A genesis file.
pub fn genesis_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Genesis>(bytes).is_ok_and(|genesis| starts(&genesis))
}

fn starts(genesis: &Genesis) -> bool {
    let Ok(state) = State::genesis(genesis) else {
        return false;
    };
    assert_eq!(state.total(), state.supply(), "rule SUP-1");
    true
}

/// The plaintext of a data blob.
pub fn dataset(bytes: &[u8]) -> bool {
    is_canonical::<Dataset>(bytes).is_some()
}

/// A stored or fetched state.
pub fn snapshot(bytes: &[u8]) -> bool {
    let Ok(state) = State::restore(&GENESIS, bytes) else {
        return false;
    };
    assert!(
        state.snapshot() == bytes,
        "another encoding of the same state"
    );
    assert_eq!(state.total(), state.supply(), "rule SUP-1");
    let _ = state.root();
    true
}
