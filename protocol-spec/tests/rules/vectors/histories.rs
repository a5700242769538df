//! `vectors/histories.json`: whole competitions, block by block, with the state root after each block, what was left out of
//! it by which rule, and blocks that may not take its place. [`Recorder`] writes them down while they happen.

use agon_protocol::block::Block;
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::competition::{Competition, CompetitionSpec};
use agon_protocol::digest::{BlobId, BlockId, CompetitionId, RegistrationId, StateRoot};
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::state::{Account, State};
use agon_protocol::statement::Task;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::{
    Applied, BlockError, Event, Receipt, Skipped, apply_block, build_block,
};
use agon_protocol::units::{Amount, TimeMs};
use serde::{Deserialize, Serialize};

use super::pinned;
use crate::world::{
    KEY_UNTIL, OPENING, OPENS_AT, PROVE_UNTIL, REGISTER_UNTIL, Script, Who, World, bad_proof,
    data_key, open, spec,
};

/// A history. A proof is valid in it when its blob is named by the encoding of its claim, as
/// [`crate::world::honest_proof`] says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct History {
    name: String,
    genesis: Genesis,
    genesis_root: StateRoot,
    /// Sealed blobs that no key opens to the committed test set.
    rotten: Vec<BlobId>,
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
    /// Blobs on which no verdict is known yet.
    missing: Vec<BlobId>,
    receipts: Vec<Receipt>,
    events: Vec<Event>,
    left_out: Vec<LeftOut>,
    invalid: Vec<InvalidBlock>,
}

/// A transaction that a proposer could not put into the block, before the one of this index.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOut {
    before: usize,
    bytes: String,
    /// The rule that it breaks; BLK-7 when there is no room, BLK-11 when its verdict is missing.
    rule: String,
}

/// A block that may not follow the same parent.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidBlock {
    bytes: String,
    /// The rule that it breaks, or BLK-11.
    rule: String,
    /// The rule that a transaction of it breaks, if it is BLK-8.
    cause: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountVector {
    account: AccountId,
    balance: Amount,
    nonce: u64,
}

/// Writes a history down while it happens.
pub(crate) struct Recorder {
    pub(crate) world: World,
    genesis_root: StateRoot,
    blocks: Vec<BlockVector>,
}

impl Recorder {
    fn new() -> Self {
        Self::of(World::new())
    }

    pub(crate) fn of(world: World) -> Self {
        Self {
            genesis_root: world.state.root(),
            world,
            blocks: Vec::new(),
        }
    }

    /// Makes a block of whatever is valid among the candidates, and moves on.
    pub(crate) fn offer(&mut self, time: u64, candidates: &[SignedTransaction]) -> Block {
        let World { state, judge, .. } = &self.world;
        let (proposer, at) = (state.validators()[0].account, TimeMs::new(time));
        let built = build_block(state, candidates, proposer, at, judge).unwrap();
        let block = built.block;
        let Applied {
            state: after,
            receipts,
            events,
        } = apply_block(state, &block, judge).unwrap();
        let mut reasons = built.skipped.iter().peekable();
        let (mut before, mut left_out) = (0, Vec::new());
        for candidate in candidates {
            let Some((_, reason)) = reasons.next_if(|(id, _)| *id == candidate.id()) else {
                before += 1;
                continue;
            };
            let rule = match reason {
                Skipped::Invalid(error) => error.rule(),
                Skipped::Undecided(_) => "BLK-11",
                Skipped::NoRoom => "BLK-7",
            };
            left_out.push(LeftOut {
                before,
                bytes: hex::encode(candidate.to_bytes()),
                rule: rule.to_owned(),
            });
        }
        self.blocks.push(BlockVector {
            bytes: hex::encode(block.to_bytes()),
            id: block.id(),
            state_root: after.root(),
            missing: judge.missing.iter().copied().collect(),
            receipts,
            events,
            left_out,
            invalid: Vec::new(),
        });
        self.world.state = after;
        block
    }

    /// Notes that `block` may not follow `parent`, the state before the last block.
    pub(crate) fn reject(&mut self, parent: &State, block: &Block) {
        let applied = apply_block(parent, block, &self.world.judge);
        let error = applied.expect_err("a spoilt block is refused");
        let cause = match &error {
            BlockError::Transaction { error, .. } => Some(error.rule().to_owned()),
            _ => None,
        };
        let invalid = InvalidBlock {
            bytes: hex::encode(block.to_bytes()),
            rule: error.rule().to_owned(),
            cause,
        };
        self.blocks.last_mut().unwrap().invalid.push(invalid);
    }

    fn block(&mut self, time: u64, transactions: &[SignedTransaction]) {
        self.offer(time, transactions);
        let left_out = &self.blocks.last().unwrap().left_out;
        assert_eq!(left_out, &vec![], "every transaction is accepted");
    }

    fn step(&mut self, time: u64, who: Who, action: Action) -> SignedTransaction {
        let transaction = self.world.sign(who, action);
        self.block(time, std::slice::from_ref(&transaction));
        transaction
    }

    fn refuse(&mut self, time: u64, who: Who, action: Action, rule: &str) {
        let transaction = self.world.sign(who, action);
        self.offer(time, std::slice::from_ref(&transaction));
        assert_eq!(self.blocks.last().unwrap().left_out[0].rule, rule);
    }

    pub(crate) fn finish(self, name: &str) -> History {
        let World {
            genesis,
            state,
            judge,
        } = self.world;
        History {
            name: name.to_owned(),
            genesis,
            genesis_root: self.genesis_root,
            rotten: judge.rotten.into_iter().collect(),
            blocks: self.blocks,
            accounts: accounts(&state),
            competitions: competitions(&state),
            treasury: state.treasury(),
        }
    }
}

impl History {
    /// Every rule by which something was left out or refused.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().flat_map(|block| {
            let left_out = block.left_out.iter().map(|left_out| left_out.rule.as_str());
            let causes = block.invalid.iter().filter_map(|bad| bad.cause.as_deref());
            let invalid = block.invalid.iter().map(|bad| bad.rule.as_str());
            left_out.chain(invalid).chain(causes)
        })
    }

    /// Makes the history wrong about its last block.
    pub(crate) fn change_root(&mut self) {
        self.blocks.last_mut().unwrap().state_root = self.genesis_root;
    }

    /// Makes the history wrong about its first refusal.
    pub(crate) fn change_rule(&mut self) {
        let mut left_out = self.blocks.iter_mut().flat_map(|block| &mut block.left_out);
        left_out.next().unwrap().rule = "TX-0".to_owned();
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
    recorder.finish("a prize is won, a tie is broken, a forged proof costs its deposit")
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
    recorder.finish("the key is missed and the bond is split")
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
    recorder.finish("nobody reaches the minimum")
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
    recorder.finish("the host takes the competition back")
}

/// A competition of another metric, from its opening to its settlement: each of `tallies` is proven by Alice, Bob and Carol in
/// turn, the next round after the first.
fn of_metric(name: &str, spec: CompetitionSpec, tallies: &[&[u128]]) -> History {
    let mut recorder = Recorder::new();
    let (opened, people) = (
        recorder.step(OPENING, Who::Host, open(spec)),
        [Who::Alice, Who::Bob, Who::Carol],
    );
    let competition = opened.competition_id().unwrap();
    let mut registrations: Vec<RegistrationId> = Vec::new();
    for (time, who) in (OPENS_AT..).zip(people) {
        let model = crate::world::model(&format!("{who:?}"));
        let made = recorder.step(time, who, Action::Register { competition, model });
        registrations.extend(made.registration_id());
    }
    release(&mut recorder, competition);
    for (index, numbers) in tallies.iter().enumerate() {
        let (who, registration) = (people[index % 3], registrations[index % 3]);
        let tally = Tally::new(numbers.to_vec()).unwrap();
        let proof = recorder.world.prove_tally(who, registration, tally);
        recorder.block(REGISTER_UNTIL + 1 + index as u64, &[proof]);
    }
    let action = bad_proof(registrations[0], 1, "forged");
    let rule = if tallies.len() > 3 { "SUB-3" } else { "SUB-4" };
    recorder.refuse(PROVE_UNTIL - 2, Who::Alice, action.clone(), rule);
    recorder.refuse(PROVE_UNTIL - 1, Who::Bob, action.clone(), "SUB-1");
    recorder.refuse(PROVE_UNTIL, Who::Alice, action, "CMP-2");
    recorder.finish(name)
}

fn release(recorder: &mut Recorder, competition: CompetitionId) {
    let key = data_key();
    let action = Action::ReleaseKey { competition, key };
    recorder.step(REGISTER_UNTIL, Who::Host, action);
}

fn least_errors() -> History {
    let mut spec = spec();
    spec.task = Task::Regression { exponent: -10 };
    spec.metric = Metric::R2;
    spec.minimum = Threshold::AtMost { sum: 1 << 70 };
    let spread = 1 << 80;
    let tallies: [&[u128]; 3] = [
        &[(1 << 70) + 1, spread],
        &[1 << 70, spread],
        &[(1 << 70) - 1, spread],
    ];
    of_metric("the least errors win, one has too many", spec, &tallies)
}

fn best_means(metric: Metric, name: &str) -> History {
    let mut spec = spec();
    spec.task = Task::Classification { classes: 3 };
    spec.metric = metric;
    spec.minimum = Threshold::AtLeast {
        millionths: 700_000,
    };
    // classes of 250, 150 and 100 samples
    let tallies: [&[u128]; 4] = [
        &[200, 30, 50, 100, 40, 50, 70, 60, 30],
        &[250, 100, 0, 150, 0, 0, 0, 0, 100],
        &[150, 0, 100, 120, 60, 30, 90, 80, 10],
        &[210, 30, 40, 110, 40, 40, 70, 40, 30],
    ];
    of_metric(name, spec, &tallies)
}

fn keys_that_open_nothing() -> History {
    let mut recorder = Recorder::new();
    recorder.world.judge.rotten.insert(spec().sealed_data.id);
    let opened = recorder.step(OPENING, Who::Host, open(spec()));
    let competition = opened.competition_id().unwrap();
    let key = data_key();
    let action = Action::ReleaseKey { competition, key };
    recorder.refuse(REGISTER_UNTIL - 1, Who::Host, action.clone(), "KEY-2");
    recorder.refuse(REGISTER_UNTIL, Who::Alice, action.clone(), "KEY-1");
    recorder.refuse(KEY_UNTIL - 1, Who::Host, action, "KEY-5");
    recorder.block(KEY_UNTIL, &[]);
    recorder.finish("a key that opens nothing is not released")
}

#[test]
fn whole_histories_are_pinned() {
    let current = vec![
        won(),
        key_missed(),
        nobody_scores(),
        cancelled(),
        least_errors(),
        best_means(Metric::BalancedAccuracy, "the best mean of recalls wins"),
        best_means(Metric::MacroF1, "the best mean of F1 scores wins"),
        keys_that_open_nothing(),
    ];
    for history in pinned("histories.json", &current) {
        let (name, mut state) = (&history.name, State::genesis(&history.genesis).unwrap());
        assert_eq!(state.root(), history.genesis_root, "{name}");
        for vector in &history.blocks {
            let judge = Script {
                missing: vector.missing.iter().copied().collect(),
                rotten: history.rotten.iter().copied().collect(),
            };
            let block = Block::from_bytes(&hex::decode(&vector.bytes).unwrap()).unwrap();
            let applied = apply_block(&state, &block, &judge).unwrap();
            let names = (block.id(), applied.state.root());
            assert_eq!(names, (vector.id, vector.state_root), "{name}");
            assert_eq!(applied.receipts, vector.receipts, "{name}");
            assert_eq!(applied.events, vector.events, "{name}");
            state = applied.state;
        }
        assert_eq!(accounts(&state), history.accounts, "{name}");
        assert_eq!(competitions(&state), history.competitions, "{name}");
        assert_eq!(state.treasury(), history.treasury, "{name}");
    }
}
