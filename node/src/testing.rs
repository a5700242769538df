//! What the unit tests of several modules need, and the fuzz targets: a small network, its keys, blocks and certificates.
#![cfg_attr(
    not(test),
    expect(dead_code, reason = "the fuzz targets use a part of it")
)]

use agon_consensus::{Certificate, CertifiedBlock, CommitSignature};
use agon_protocol::codec::Encode;
use agon_protocol::competition::{BlobRef, CompetitionSpec};
use agon_protocol::digest::{BlobId, BlockId};
use agon_protocol::genesis::{Genesis, GenesisBalance, GenesisValidator, Parameters};
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Judge, ProofClaim, TestSetClaim, Verdict};
use agon_protocol::metric::{Metric, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::state::State;
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding, Task};
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use agon_protocol::transition::build_block;
use agon_protocol::units::{Amount, Height, TimeMs};
use ed25519_dalek::{Signer, SigningKey};

use crate::ledger::Ledger;

/// Genesis time of the test network, in milliseconds.
pub(crate) const START_MS: u64 = 1_000_000;

/// Key number `number`; 0 is the validator, 1 to 3 own 1,000 each.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number + 1; 32])
}

pub(crate) fn account(number: u8) -> AccountId {
    AccountId::of(&key(number))
}

pub(crate) fn genesis(name: &str) -> Genesis {
    let balance = |number| GenesisBalance {
        account: account(number),
        amount: Amount::new(1_000),
    };
    Genesis {
        name: name.into(),
        protocol_version: 1,
        time: TimeMs::new(START_MS),
        validators: vec![GenesisValidator {
            account: account(0),
            power: 1,
        }],
        balances: (1..=3).map(balance).collect(),
        parameters: Parameters {
            min_samples: 2,
            min_window_ms: 1,
            ..Parameters::default()
        },
    }
}

pub(crate) fn sign(genesis: &Genesis, sender: u8, nonce: u64, action: Action) -> SignedTransaction {
    Transaction {
        network: genesis.network_id(),
        sender: account(sender),
        nonce,
        action,
    }
    .sign(&key(sender))
}

pub(crate) fn transfer(
    genesis: &Genesis,
    sender: u8,
    nonce: u64,
    amount: u64,
) -> SignedTransaction {
    sign(
        genesis,
        sender,
        nonce,
        Action::Transfer {
            to: account(9),
            amount: Amount::new(amount),
        },
    )
}

pub(crate) fn dataset() -> Dataset {
    Dataset::new(2, 2, vec![1, 2, 3, 4, 5, 6], vec![0, 1, 1])
        .expect("the test's data set is well formed")
}

/// The terms of a competition about [`dataset`], sealed in `sealed` under `key`.
pub(crate) fn spec(sealed: &[u8], key: &DataKey) -> CompetitionSpec {
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: 15,
    };
    CompetitionSpec {
        title: "three samples".into(),
        description: String::new(),
        encoding: InputEncoding {
            features: vec![feature; 2],
        },
        task: Task::from(2),
        samples: 3,
        metric: Metric::Accuracy,
        max_parameters: 100,
        training_data: None,
        sealed_data: BlobRef {
            id: BlobId::of(sealed),
            length: sealed.len() as u64,
        },
        data_digest: dataset().digest(),
        key_commitment: key.commitment(),
        opens_at: TimeMs::new(START_MS),
        register_until: TimeMs::new(START_MS + 1_000),
        key_until: TimeMs::new(START_MS + 2_000),
        prove_until: TimeMs::new(START_MS + 3_000),
        payouts: vec![10_000],
        deposit: Amount::new(1),
        submissions_per_registration: 2,
        registrations_per_account: 1,
        minimum: Threshold::None,
    }
}

/// A judge that knows nothing.
pub(crate) struct Ignorant;

impl Judge for Ignorant {
    fn test_set(&self, _: &TestSetClaim) -> Option<Verdict> {
        None
    }
    fn proof(&self, _: &ProofClaim) -> Option<Verdict> {
        None
    }
}

/// A judge that believes everything.
pub(crate) struct Believer;

impl Judge for Believer {
    fn test_set(&self, _: &TestSetClaim) -> Option<Verdict> {
        Some(Verdict::Valid)
    }
    fn proof(&self, _: &ProofClaim) -> Option<Verdict> {
        Some(Verdict::Valid)
    }
}

/// The certificate of the one validator; the signed bytes are written out here a second time, on purpose.
pub(crate) fn certify(genesis: &Genesis, height: Height, block: Vec<u8>) -> CertifiedBlock {
    certify_by(0, genesis, height, block)
}

/// The certificate of key number `signer` alone.
pub(crate) fn certify_by(
    signer: u8,
    genesis: &Genesis,
    height: Height,
    block: Vec<u8>,
) -> CertifiedBlock {
    let id = BlockId::of(&block);
    let mut message = b"agon 2026-11 consensus vote".to_vec();
    message.extend_from_slice(genesis.network_id().as_bytes());
    message.push(1);
    message.extend_from_slice(&height.get().to_le_bytes());
    message.extend_from_slice(&0i64.to_le_bytes());
    message.push(1);
    message.extend_from_slice(id.as_bytes());
    let signature = CommitSignature {
        validator: account(signer),
        signature: key(signer).sign(&message).to_bytes(),
    };
    let certificate = Certificate {
        height,
        round: 0,
        block: id,
        signatures: vec![signature],
    };
    CertifiedBlock { certificate, block }
}

/// The next block on `state` with these transactions, certified.
pub(crate) fn next_block(
    genesis: &Genesis,
    state: &State,
    transactions: &[SignedTransaction],
    judge: &dyn Judge,
) -> CertifiedBlock {
    let time = state.time().saturating_add(10);
    let built = build_block(state, transactions, account(0), time, judge)
        .expect("the header follows the tip");
    assert_eq!(built.skipped, vec![]);
    certify(genesis, built.block.height, built.block.to_bytes())
}

/// Puts the next block with these transactions into the ledger.
pub(crate) fn extend(ledger: &Ledger, transactions: &[SignedTransaction], judge: &dyn Judge) {
    let certified = next_block(ledger.genesis(), &ledger.state(), transactions, judge);
    let (block, applied) = ledger
        .apply(&certified.block, judge)
        .expect("the block was built on the tip");
    ledger
        .commit(&certified, &block, &applied)
        .expect("the test's disk works");
}
