//! A store's records against what follows from its blocks: every value of every key.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agon_consensus::{Evidence, Validator};
use agon_protocol::codec::Decode;
use agon_protocol::digest::TransactionId;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::Verdict;
use agon_protocol::state::State;
use agon_protocol::transactions::SignedTransaction;

use super::claims::Claims;
use super::folder::{DataFolder, reading};
use super::replay::Step;
use super::report::{Place, Report, Subject};
use super::source::SourceError;
use crate::ledger::{BlockOutcome, RecordKey, Store, encode_validators, members};

/// What the blocks say that the store must hold.
#[derive(Debug)]
pub(super) struct Expected {
    places: HashMap<TransactionId, (u64, u32)>,
    /// The validators from each height on at which they are others than before.
    sets: BTreeMap<u64, Vec<Validator>>,
    heights: u64,
}

impl Expected {
    /// Before the first block.
    pub(super) fn new(first: &State) -> Self {
        Self {
            places: HashMap::new(),
            sets: BTreeMap::from([(1, members(first.validators()))]),
            heights: 0,
        }
    }

    /// Who signs a block.
    fn validators_at(&self, height: u64) -> &[Validator] {
        let set = self.sets.range(..=height).next_back();
        set.map_or(&[], |(_, set)| set)
    }

    /// Compares the receipts and events of a block, and remembers where its transactions are.
    pub(super) fn step(&mut self, step: &Step, folder: &DataFolder, report: &mut Report) {
        let height = step.block.height.get();
        self.heights = height;
        let set = members(step.applied.state.validators());
        if set != self.validators_at(height) {
            self.sets.insert(height.saturating_add(1), set);
        }
        let expected = BlockOutcome {
            receipts: step.applied.receipts.clone(),
            events: step.applied.events.clone(),
        };
        for receipt in &expected.receipts {
            let place = (height, receipt.index);
            self.places.insert(receipt.transaction, place);
        }
        let stored = reading(|| {
            let stored = folder.store()?.block(height);
            stored.map_err(|error| SourceError::Damaged(error.to_string()))
        });
        let place = Place::block(height);
        match stored {
            Ok(Some(stored)) if stored.outcome == expected.to_bytes() => {
                report.all_right(Subject::Receipts, expected.receipts.len() as u64);
                report.right(Subject::Records);
            }
            Ok(Some(stored)) => {
                let (field, transaction) = first_difference(&expected, &stored.outcome);
                let place = Place {
                    transaction,
                    ..place.field(field)
                };
                let what = "the stored receipts and events are not what the execution gives";
                report.wrong(Subject::Receipts, place, what);
            }
            Ok(None) => report.wrong(Subject::Records, place, "the block is gone"),
            Err(error) => report.wrong(Subject::Records, place, error),
        }
    }

    /// Compares every record; `state` is the one after the last executed block, `complete` says whether that was the last
    /// block of the store.
    pub(super) fn records(
        &self,
        folder: &DataFolder,
        state: &State,
        claims: &Claims,
        complete: bool,
        report: &mut Report,
    ) {
        let Ok(store) = folder.store() else { return };
        let mut pass = Pass {
            expected: self,
            state,
            complete,
            verdicts: claims.verdicts(),
            openings: claims.openings(),
            seen: BTreeSet::new(),
            place: Place::file(&folder.ledger()),
            report,
        };
        let read = reading(|| {
            pass.all(store);
            Ok(())
        });
        pass.missing();
        if let Err(error) = read {
            let place = pass.place.clone();
            pass.report.wrong(Subject::Records, place, error);
        }
    }
}

struct Pass<'a> {
    expected: &'a Expected,
    state: &'a State,
    complete: bool,
    verdicts: HashMap<crate::verification::ClaimDigest, Verdict>,
    openings: HashMap<agon_protocol::digest::DataDigest, agon_protocol::judge::TestSetClaim>,
    seen: BTreeSet<RecordKey>,
    place: Place,
    report: &'a mut Report,
}

/// What a record is worth.
enum Worth {
    Right,
    Wrong(Box<Place>, String),
    /// Nothing in the blocks says what it should be.
    Free,
}

impl Pass<'_> {
    fn all(&mut self, store: &Store) {
        for item in store.records() {
            let (key, value) = match item {
                Ok(record) => record,
                Err(error) => {
                    self.report
                        .wrong(Subject::Records, self.place.clone(), error);
                    return;
                }
            };
            self.seen.insert(key);
            match self.worth(&key, &value) {
                Worth::Right => self.report.right(Subject::Records),
                Worth::Wrong(place, what) => self.report.wrong(Subject::Records, *place, what),
                Worth::Free => {}
            }
        }
    }

    fn worth(&self, key: &RecordKey, value: &[u8]) -> Worth {
        let here = || self.place.clone();
        let is = |right: bool, place: Place, what: &str| match right {
            true => Worth::Right,
            false => Worth::Wrong(Box::new(place), what.to_owned()),
        };
        match key {
            // opening the store has compared it
            RecordKey::Format => Worth::Right,
            RecordKey::Network => {
                let right = value == self.state.network().as_bytes();
                is(right, here().field("network"), "it names another network")
            }
            // a chain that could not be followed to its end says nothing about the tip
            RecordKey::Tip | RecordKey::State if !self.complete => Worth::Free,
            RecordKey::Tip => {
                let right = value == self.state.height().get().to_be_bytes();
                is(
                    right,
                    here().field("tip"),
                    "it is not the height of the last block",
                )
            }
            RecordKey::State => {
                let right = value == self.state.snapshot();
                let what = "the stored state is not what the blocks lead to";
                is(right, here().field(self.state_field(value)), what)
            }
            RecordKey::Base => Worth::Wrong(
                Box::new(here().field("base")),
                "this node started from a snapshot: audit one that started from the genesis".into(),
            ),
            RecordKey::Validators(height) => self.validators(*height, value),
            RecordKey::Evidence(validator, height) => self.evidence(validator, *height, value),
            // the snapshots are checked by whoever starts from one
            RecordKey::Snapshots => Worth::Free,
            RecordKey::Block(height)
            | RecordKey::Certificate(height)
            | RecordKey::Outcome(height) => {
                // their values were compared block by block
                let known = !self.complete || (1..=self.expected.heights).contains(height);
                is(
                    known,
                    Place::block(*height),
                    "a record of a block beyond the tip",
                )
            }
            RecordKey::Transaction(id) => self.transaction(id, value),
            RecordKey::Waiting(arrival) => {
                let signed = SignedTransaction::from_bytes(value);
                let right = signed.is_ok_and(|signed| signed.check_signature());
                let place = here().field(format!("waiting transaction {arrival}"));
                is(right, place, "it is no signed transaction")
            }
            RecordKey::Verdict(claim) => match self.verdicts.get(claim) {
                // a proof that never came into a block
                None => Worth::Free,
                Some(verdict) => {
                    let right = value.first() == Some(&u8::from(*verdict == Verdict::Valid));
                    let place = here().field(format!("verdict {}", hex::encode(claim)));
                    is(
                        right,
                        place,
                        "the remembered verdict is not that of the blocks",
                    )
                }
            },
            RecordKey::Opening(data) => match self.openings.get(data) {
                None => Worth::Free,
                Some(claim) => {
                    let right = [*claim.sealed.id.as_bytes(), *claim.key.as_bytes()].concat();
                    let place = here().field(format!("opening of test set {data}"));
                    is(
                        value == right,
                        place,
                        "it is not the blob and key of the blocks",
                    )
                }
            },
            // for people: nothing in the blocks says how long a verdict took
            RecordKey::Judging(_) => Worth::Free,
            RecordKey::Other => Worth::Wrong(
                Box::new(here()),
                "a record with a key that no version writes".into(),
            ),
        }
    }

    /// Whether nothing is known of a height: the chain could not be followed as far.
    fn is_unknown(&self, height: u64) -> bool {
        !self.complete && height > self.expected.heights.saturating_add(1)
    }

    fn validators(&self, height: u64, value: &[u8]) -> Worth {
        if self.is_unknown(height) {
            return Worth::Free;
        }
        // those of the genesis are in no record
        let set = self.expected.sets.get(&height).filter(|_| height > 1);
        match set.is_some_and(|set| value == encode_validators(set)) {
            true => Worth::Right,
            false => Worth::Wrong(
                Box::new(Place::block(height).field("validators")),
                "they are not the validators that the blocks make".into(),
            ),
        }
    }

    fn evidence(&self, validator: &AccountId, height: u64, value: &[u8]) -> Worth {
        if self.is_unknown(height) {
            return Worth::Free;
        }
        let proven = Evidence::from_bytes(value).is_ok_and(|evidence| {
            let set = self.expected.validators_at(height);
            (evidence.validator, evidence.height.get()) == (*validator, height)
                && evidence.verify(&self.state.network(), set).is_ok()
        });
        match proven {
            true => Worth::Right,
            false => {
                let account = Some(*validator);
                let place = Place::block(height).field("evidence");
                Worth::Wrong(
                    Box::new(Place { account, ..place }),
                    "it does not prove that a validator of this height signed twice".into(),
                )
            }
        }
    }

    fn transaction(&self, id: &TransactionId, value: &[u8]) -> Worth {
        let place = self.place.clone().transaction(*id);
        let Some((height, index)) = self.expected.places.get(id) else {
            return match self.complete {
                true => Worth::Wrong(
                    Box::new(place),
                    "it is in the index, and in no block".into(),
                ),
                false => Worth::Free,
            };
        };
        let right = [&height.to_be_bytes()[..], &index.to_be_bytes()].concat();
        match value == right {
            true => Worth::Right,
            false => {
                let height = Some(*height);
                let place = Box::new(Place { height, ..place });
                Worth::Wrong(place, "the index gives another place".into())
            }
        }
    }

    /// Which part of a stored state differs first.
    fn state_field(&self, stored: &[u8]) -> String {
        let right = self.state.snapshot();
        let at = right.iter().zip(stored).position(|(a, b)| a != b);
        let at = at.unwrap_or(right.len().min(stored.len()));
        format!("state, byte {at}")
    }

    /// Records that the blocks ask for and the store does not have.
    fn missing(&mut self) {
        let gone = |key: &RecordKey| !self.seen.contains(key);
        let mut faults = Vec::new();
        for id in self.expected.places.keys() {
            if gone(&RecordKey::Transaction(*id)) {
                let place = self.place.clone().transaction(*id);
                faults.push((place, "the transaction is not in the index"));
            }
        }
        let metas = [
            (RecordKey::Tip, "tip"),
            (RecordKey::State, "state"),
            (RecordKey::Network, "network"),
        ];
        for height in self.expected.sets.keys().filter(|height| **height > 1) {
            if gone(&RecordKey::Validators(*height)) {
                let place = Place::block(*height).field("validators");
                faults.push((place, "the record is gone"));
            }
        }
        for (key, name) in metas {
            if gone(&key) && self.expected.heights > 0 {
                faults.push((self.place.clone().field(name), "the record is gone"));
            }
        }
        for (place, what) in faults {
            self.report.wrong(Subject::Records, place, what);
        }
    }
}

/// Where stored receipts and events first differ from the right ones.
fn first_difference(right: &BlockOutcome, stored: &[u8]) -> (String, Option<TransactionId>) {
    let Ok(found) = serde_json::from_slice::<BlockOutcome>(stored) else {
        return ("outcome".into(), None);
    };
    for (index, receipt) in right.receipts.iter().enumerate() {
        if found.receipts.get(index) != Some(receipt) {
            return (format!("receipt {index}"), Some(receipt.transaction));
        }
    }
    let count = right.events.len().max(found.events.len());
    let differs = (0..count).find(|index| right.events.get(*index) != found.events.get(*index));
    match differs {
        Some(index) => (format!("event {index}"), None),
        None => ("outcome".into(), None),
    }
}
