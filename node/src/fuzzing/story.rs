//! A competition on a network of one validator, from its opening to its settlement, which honest inputs are taken from.

use std::path::PathBuf;
use std::sync::LazyLock;

use agon_consensus::CertifiedBlock;
use agon_protocol::codec::Encode;
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, ModelDigest, RegistrationId};
use agon_protocol::genesis::Genesis;
use agon_protocol::governance::Measure;
use agon_protocol::judge::{Judge, ProofClaim, TestSetClaim, Verdict};
use agon_protocol::metric::Tally;
use agon_protocol::sealed::DataKey;
use agon_protocol::settlement_certificate::{CertifiedState, Proven, SettlementCertificate};
use agon_protocol::state::State;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::{Receipt, build_block};
use agon_protocol::units::{Amount, TimeMs};

use crate::audit::verify_settlement;
use crate::ledger::Ledger;
use crate::node::certified::encode_verdicts;
use crate::testing::{START_MS, account, certify, genesis, sign, spec};

/// When the proofs are in a block.
pub(super) const PROOFS_MS: u64 = START_MS + 1_020;
const WRONG: &[u8] = b"wrong";

/// What the targets need of it.
pub(super) struct Story {
    pub(super) genesis: Genesis,
    /// Up to the released key.
    pub(super) ledger: Ledger,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// The next block, which is certified and has proofs in it, and a transfer at its end.
    pub(super) proofs: Vec<u8>,
    /// What it found out about them.
    pub(super) verdicts: Vec<u8>,
    /// Its transactions.
    pub(super) transactions: Vec<Vec<u8>>,
    /// The state after the settlement.
    pub(super) state: State,
    /// The certificate of the settlement.
    pub(super) settlement: Vec<u8>,
    /// What that proves.
    pub(super) proven: Proven,
}

/// Made once a process.
pub(super) static STORY: LazyLock<Story> = LazyLock::new(tell);

/// Proofs hold, but for one.
struct Knows;

impl Judge for Knows {
    fn test_set(&self, _: &TestSetClaim) -> Option<Verdict> {
        Some(Verdict::Valid)
    }
    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        Some(match claim.proof.id == BlobId::of(WRONG) {
            true => Verdict::Invalid,
            false => Verdict::Valid,
        })
    }
}

/// A chain in memory.
struct Chain {
    genesis: Genesis,
    state: State,
    nonces: [u64; 4],
}

/// A block of it.
struct Made {
    certified: CertifiedBlock,
    shown: CertifiedState,
    transactions: Vec<SignedTransaction>,
    receipts: Vec<Receipt>,
}

impl Chain {
    fn add(&mut self, time_ms: u64, actions: Vec<(u8, Action)>) -> Made {
        let mut transactions = Vec::new();
        for (sender, action) in actions {
            let nonce = &mut self.nonces[usize::from(sender)];
            transactions.push(sign(&self.genesis, sender, *nonce, action));
            *nonce += 1;
        }
        let time = TimeMs::new(time_ms);
        let built = build_block(&self.state, &transactions, account(0), time, &Knows)
            .expect("the header follows the tip");
        assert_eq!(built.skipped, vec![]);
        let certified = certify(&self.genesis, built.block.height, built.block.to_bytes());
        self.state = built.applied.state;
        let shown = CertifiedState {
            certificate: certified.certificate.to_bytes(),
            block: built.block,
            parts: self.state.root_parts(),
        };
        Made {
            certified,
            shown,
            transactions,
            receipts: built.applied.receipts,
        }
    }
}

fn submit(registration: RegistrationId, proof: &[u8], hits: u32) -> Action {
    Action::SubmitProof {
        registration,
        tally: Tally::of_hits(hits),
        proof: BlobRef {
            id: BlobId::of(proof),
            length: proof.len() as u64,
        },
    }
}

fn tell() -> Story {
    let genesis = genesis("fuzzed");
    let mut chain = Chain {
        state: State::genesis(&genesis).expect("the genesis is a good one"),
        genesis: genesis.clone(),
        nonces: [0; 4],
    };
    // the rules look at no blob, and everything here is the same in every process, as corpora outlive one
    let key = DataKey::from_raw([9; 32]);
    let blob = b"a sealed test set";
    let open = Action::OpenCompetition {
        spec: Box::new(spec(blob, &key)),
        prize: Amount::new(100),
        bond: Amount::new(10),
    };
    let opened = chain.add(START_MS + 5, vec![(1, open)]);
    let competition = opened.transactions[0]
        .competition_id()
        .expect("it opens a competition");
    let more_power = Action::Approve {
        measure: Measure::SetPower {
            account: account(0),
            power: 2,
        },
        set_version: chain.state.governance().set_version,
    };
    let changed = chain.add(START_MS + 6, vec![(0, more_power)]);
    let register = |model: &[u8]| Action::Register {
        competition,
        model: ModelDigest::of(model),
    };
    let registers = vec![(2, register(b"a")), (3, register(b"b"))];
    let registered = chain.add(START_MS + 10, registers);
    let release = Action::ReleaseKey { competition, key };
    let released = chain.add(START_MS + 1_010, vec![(1, release)]);
    let folder = super::folder("ledger");
    let ledger = Ledger::open(&folder, genesis.clone()).expect("a fuzzer has a temporary folder");
    for made in [&opened, &changed, &registered, &released] {
        let certified = &made.certified;
        let applied = ledger.apply(&certified.block, &Knows);
        let (block, applied) = applied.expect("the block was built on the tip");
        let committed = ledger.commit(certified, &block, &applied);
        committed.expect("a fuzzer can write temporary files");
    }
    let id = |index: usize| registered.transactions[index].registration_id();
    let id = |index| id(index).expect("it registers a model");
    let give = Action::Transfer {
        to: account(9),
        amount: Amount::new(1),
    };
    let proofs = vec![
        (2, submit(id(0), b"one", 2)),
        (3, submit(id(1), WRONG, 3)),
        (3, submit(id(1), b"two", 1)),
        (1, give),
    ];
    let proofs = chain.add(PROOFS_MS, proofs);
    let settled = chain.add(START_MS + 3_000, Vec::new());
    let changes = vec![changed.shown];
    let settlement = SettlementCertificate::new(changes, settled.shown, &chain.state, &competition);
    let settlement = settlement.expect("the competition is there").to_bytes();
    let proven = verify_settlement(&settlement, &genesis).expect("the settlement is honest");
    Story {
        genesis,
        ledger,
        folder,
        verdicts: encode_verdicts(&proofs.receipts),
        transactions: proofs.transactions.iter().map(Encode::to_bytes).collect(),
        proofs: proofs.certified.block,
        state: chain.state,
        settlement,
        proven,
    }
}
