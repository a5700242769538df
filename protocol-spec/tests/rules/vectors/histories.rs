//! `vectors/histories.json`: whole competitions, block by block, with the state root after each block.

use agon_protocol::block::Block;
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::competition::Competition;
use agon_protocol::digest::{BlobId, BlockId, StateRoot};
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Judge, ProofClaim, TestSetClaim, Verdict};
use agon_protocol::state::{Account, State};
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::{Event, Receipt, apply_block, build_block};
use agon_protocol::units::{Amount, TimeMs};
use serde::{Deserialize, Serialize};

use super::pinned;
use crate::world::{
    KEY_UNTIL, OPENING, OPENS_AT, PROVE_UNTIL, REGISTER_UNTIL, Who, World, bad_proof, data_key,
    genesis, open, spec,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    name: String,
    genesis: Genesis,
    genesis_root: StateRoot,
    /// The proofs whose verdict is invalid; every other verdict is valid.
    invalid_proofs: Vec<BlobId>,
    blocks: Vec<BlockVector>,
    accounts: Vec<AccountVector>,
    competitions: Vec<Competition>,
    treasury: Amount,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockVector {
    bytes: String,
    id: BlockId,
    state_root: StateRoot,
    receipts: Vec<Receipt>,
    events: Vec<Event>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountVector {
    account: AccountId,
    balance: Amount,
    nonce: u64,
}

/// Writes a history down while it happens.
struct Recorder {
    world: World,
    blocks: Vec<BlockVector>,
}

impl Recorder {
    fn new() -> Self {
        Self {
            world: World::new(),
            blocks: Vec::new(),
        }
    }

    fn block(&mut self, time: u64, transactions: &[SignedTransaction]) {
        let (proposer, at) = (Who::Validator.account(), TimeMs::new(time));
        let world = &self.world;
        let block = build_block(&world.state, transactions, proposer, at, &world.judge)
            .unwrap()
            .block;
        let applied = self.world.accept_all(time, transactions);
        self.blocks.push(BlockVector {
            bytes: hex::encode(block.to_bytes()),
            id: block.id(),
            state_root: applied.state.root(),
            receipts: applied.receipts,
            events: applied.events,
        });
    }

    fn step(&mut self, time: u64, who: Who, action: Action) -> SignedTransaction {
        let transaction = self.world.sign(who, action);
        self.block(time, std::slice::from_ref(&transaction));
        transaction
    }

    fn finish(self, name: &str, invalid_proofs: Vec<BlobId>) -> History {
        let state = &self.world.state;
        History {
            name: name.to_owned(),
            genesis: genesis(),
            genesis_root: State::genesis(&genesis()).unwrap().root(),
            invalid_proofs,
            blocks: self.blocks,
            accounts: accounts(state),
            competitions: competitions(state),
            treasury: state.treasury(),
        }
    }
}

fn accounts(state: &State) -> Vec<AccountVector> {
    let vector = |(account, found): (&AccountId, &Account)| {
        let Account { balance, nonce } = *found;
        AccountVector {
            account: *account,
            balance,
            nonce,
        }
    };
    state.accounts().map(vector).collect()
}

fn competitions(state: &State) -> Vec<Competition> {
    state
        .competitions()
        .map(|competition| competition.as_ref().clone())
        .collect()
}

/// Opening, three registrations in one block, a withdrawal, key, proofs of which one is forged, settlement.
fn won() -> History {
    let mut recorder = Recorder::new();
    let opened = recorder.step(OPENING, Who::Host, open(spec()));
    let competition = opened.competition_id().unwrap();
    let people = [Who::Alice, Who::Bob, Who::Carol];
    let register = |recorder: &Recorder, who: Who, name: &str| {
        recorder.world.sign(
            who,
            Action::Register {
                competition,
                model: crate::world::model(name),
            },
        )
    };
    let made = people.map(|who| register(&recorder, who, &format!("{who:?}")));
    recorder.block(OPENS_AT, &made);
    let spare = register(&recorder, Who::Alice, "spare");
    recorder.block(OPENS_AT + 1, std::slice::from_ref(&spare));
    let registration = spare.registration_id().unwrap();
    recorder.step(
        REGISTER_UNTIL - 1,
        Who::Alice,
        Action::Withdraw { registration },
    );
    recorder.step(
        REGISTER_UNTIL,
        Who::Host,
        Action::ReleaseKey {
            competition,
            key: data_key(),
        },
    );
    let names = made.map(|transaction| transaction.registration_id().unwrap());
    let proofs = [
        recorder.world.prove(Who::Alice, names[0], 450),
        recorder.world.prove(Who::Bob, names[1], 450),
    ];
    recorder.block(REGISTER_UNTIL + 1, &proofs);
    recorder.step(
        PROVE_UNTIL - 1,
        Who::Carol,
        bad_proof(names[2], 500, "forged"),
    );
    let tip = Action::Transfer {
        to: Who::Pauper.account(),
        amount: Amount::new(1_000),
    };
    recorder.step(PROVE_UNTIL, Who::Alice, tip);
    recorder.finish(
        "a prize is won, a tie is broken, a forged proof costs its deposit",
        vec![BlobId::of(b"forged")],
    )
}

fn key_missed() -> History {
    let mut recorder = Recorder::new();
    let opened = recorder.step(OPENING, Who::Host, open(spec()));
    let competition = opened.competition_id().unwrap();
    for (time, who) in (OPENS_AT..).zip([Who::Carol, Who::Alice, Who::Bob]) {
        let model = crate::world::model(&format!("{who:?}"));
        recorder.step(time, who, Action::Register { competition, model });
    }
    recorder.block(KEY_UNTIL, &[]);
    recorder.finish("the key is missed and the bond is split", vec![])
}

fn nobody_scores() -> History {
    let mut recorder = Recorder::new();
    let opened = recorder.step(OPENING, Who::Host, open(spec()));
    let competition = opened.competition_id().unwrap();
    let model = crate::world::model("weak");
    let made = recorder.step(OPENS_AT, Who::Bob, Action::Register { competition, model });
    recorder.step(
        KEY_UNTIL - 1,
        Who::Host,
        Action::ReleaseKey {
            competition,
            key: data_key(),
        },
    );
    let proof = recorder
        .world
        .prove(Who::Bob, made.registration_id().unwrap(), 49);
    recorder.block(KEY_UNTIL, &[proof]);
    recorder.block(PROVE_UNTIL + 12_345, &[]);
    recorder.finish("nobody reaches the minimum", vec![])
}

fn cancelled() -> History {
    let mut recorder = Recorder::new();
    let opened = recorder.step(OPENING, Who::Host, open(spec()));
    let competition = opened.competition_id().unwrap();
    recorder.step(
        OPENING + 1,
        Who::Host,
        Action::CancelCompetition { competition },
    );
    recorder.finish("the host takes the competition back", vec![])
}

/// A judge that knows nothing but what the file says.
struct FromFile(Vec<BlobId>);

impl Judge for FromFile {
    fn test_set(&self, _: &TestSetClaim) -> Option<Verdict> {
        Some(Verdict::Valid)
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        Some(if self.0.contains(&claim.proof.id) {
            Verdict::Invalid
        } else {
            Verdict::Valid
        })
    }
}

#[test]
fn whole_histories_are_pinned() {
    let current = vec![won(), key_missed(), nobody_scores(), cancelled()];
    for history in pinned("histories.json", &current) {
        let History {
            name,
            genesis,
            genesis_root,
            invalid_proofs,
            blocks,
            ..
        } = &history;
        let mut state = State::genesis(genesis).unwrap();
        assert_eq!(state.root(), *genesis_root, "{name}");
        let judge = FromFile(invalid_proofs.clone());
        for BlockVector {
            bytes,
            id,
            state_root,
            receipts,
            events,
        } in blocks
        {
            let block = Block::from_bytes(&hex::decode(bytes).unwrap()).unwrap();
            let applied = apply_block(&state, &block, &judge).unwrap();
            assert_eq!(
                (block.id(), applied.state.root()),
                (*id, *state_root),
                "{name}"
            );
            assert_eq!(
                (&applied.receipts, &applied.events),
                (receipts, events),
                "{name}"
            );
            state = applied.state;
        }
        assert_eq!(accounts(&state), history.accounts, "{name}");
        assert_eq!(competitions(&state), history.competitions, "{name}");
        assert_eq!(state.treasury(), history.treasury, "{name}");
    }
}
