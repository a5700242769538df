//! CERT: results that prove themselves to whoever has the genesis.

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::competition::{CompetitionSpec, Ending};
use agon_protocol::digest::{BlockId, CompetitionId};
use agon_protocol::genesis::{Genesis, GenesisValidator};
use agon_protocol::governance::Measure;
use agon_protocol::identity::AccountId;
use agon_protocol::metric::Threshold;
use agon_protocol::settlement_certificate::{
    CertifiedState, Commitment, Proven, SettlementCertificate, SettlementError,
};
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::{PaymentReason, build_block};
use agon_protocol::units::{Amount, TimeMs};
use proptest::prelude::*;

use crate::world::{
    KEY_UNTIL, OPENS_AT, PRIZE, PROVE_UNTIL, REGISTER_UNTIL, Who, World, genesis, spec,
};

const FOUR: [Who; 4] = [Who::Validator, Who::Alice, Who::Bob, Who::Carol];

/// Stands in for signatures: the bytes that only this set's votes for this block have.
fn signed(validators: &[(AccountId, u64)], block: &BlockId) -> Vec<u8> {
    let mut bytes = b"votes".to_vec();
    for (account, power) in validators {
        account.encode(&mut bytes);
        power.encode(&mut bytes);
    }
    block.encode(&mut bytes);
    bytes
}

fn is_certified(commitment: &Commitment<'_>) -> Result<(), String> {
    let members: Vec<_> = commitment
        .validators
        .iter()
        .map(|v| (v.account, v.power))
        .collect();
    match commitment.certificate == signed(&members, &commitment.block) {
        true => Ok(()),
        false => Err("these are not the votes".into()),
    }
}

/// A chain whose blocks are kept as a certificate shows them.
struct Chain {
    world: World,
    shown: Vec<CertifiedState>,
}

impl Chain {
    fn new() -> Self {
        let validator = |who: Who| GenesisValidator {
            account: who.account(),
            power: 10,
        };
        let validators = FOUR.into_iter().map(validator).collect();
        Self {
            world: World::on(Genesis {
                validators,
                ..genesis()
            }),
            shown: Vec::new(),
        }
    }

    fn block(&mut self, time: u64, transactions: &[SignedTransaction]) {
        let state = &self.world.state;
        let members: Vec<_> = state
            .validators()
            .iter()
            .map(|v| (v.account, v.power))
            .collect();
        let (proposer, at) = (Who::Validator.account(), TimeMs::new(time));
        let built = build_block(state, transactions, proposer, at, &self.world.judge).unwrap();
        assert_eq!(built.skipped, vec![]);
        let certificate = signed(&members, &built.block.id());
        self.world.state = built.applied.state;
        let parts = self.world.state.root_parts();
        self.shown.push(CertifiedState {
            certificate,
            block: built.block,
            parts,
        });
    }

    fn act(&mut self, time: u64, who: Who, action: Action) -> SignedTransaction {
        let transaction = self.world.sign(who, action);
        self.block(time, std::slice::from_ref(&transaction));
        transaction
    }

    /// Three of the four approve a change of the set.
    fn change(&mut self, time: u64, account: AccountId, power: u64) {
        let set_version = self.world.state.governance().set_version;
        let measure = Measure::SetPower { account, power };
        let approve = |who: &Who| {
            self.world.sign(
                *who,
                Action::Approve {
                    measure,
                    set_version,
                },
            )
        };
        let transactions: Vec<_> = FOUR[..3].iter().map(approve).collect();
        self.block(time, &transactions);
        assert_eq!(self.world.state.governance().set_version, set_version + 1);
    }

    fn open(&mut self, spec: CompetitionSpec) -> CompetitionId {
        let open = Action::OpenCompetition {
            spec: Box::new(spec),
            prize: Amount::new(PRIZE),
            bond: Amount::new(1_000),
        };
        self.act(5_000, Who::Host, open).competition_id().unwrap()
    }

    fn last(&self) -> CertifiedState {
        self.shown.last().unwrap().clone()
    }

    fn certificate(
        &self,
        changes: Vec<CertifiedState>,
        id: &CompetitionId,
    ) -> SettlementCertificate {
        SettlementCertificate::new(changes, self.last(), &self.world.state, id).unwrap()
    }

    fn verify(&self, certificate: &SettlementCertificate) -> Result<Proven, SettlementError> {
        certificate.verify(&self.world.genesis, &is_certified)
    }
}

/// A competition that two of three have proven something in, ended; the set changes twice on the way.
fn played(with_changes: bool) -> (Chain, CompetitionId, Vec<CertifiedState>) {
    let mut chain = Chain::new();
    let mut changes = Vec::new();
    let id = chain.open(spec());
    let mut names = Vec::new();
    for (time, who) in (OPENS_AT..).zip([Who::Alice, Who::Bob, Who::Carol]) {
        let register = Action::Register {
            competition: id,
            model: crate::world::model(&format!("{who:?}")),
        };
        names.push(chain.act(time, who, register).registration_id().unwrap());
    }
    if with_changes {
        chain.change(OPENS_AT + 10, Who::Host.account(), 4);
        changes.push(chain.last());
        chain.change(OPENS_AT + 11, Who::Carol.account(), 0);
        changes.push(chain.last());
    }
    let key = crate::world::data_key();
    chain.act(
        REGISTER_UNTIL,
        Who::Host,
        Action::ReleaseKey {
            competition: id,
            key,
        },
    );
    for (index, who, hits) in [(0, Who::Alice, 300), (1, Who::Bob, 400)] {
        let proof = chain.world.prove(who, names[index], hits);
        chain.block(REGISTER_UNTIL + 1 + index as u64, &[proof]);
    }
    chain.block(PROVE_UNTIL, &[]);
    (chain, id, changes)
}

#[test]
fn a_result_is_proven_by_the_genesis_alone() {
    // Rule CERT-1: accept
    // Rule CERT-2: accept
    // Rule CERT-3: accept
    // Rule CERT-4: accept
    for with_changes in [false, true] {
        let (chain, id, changes) = played(with_changes);
        let certificate = chain.certificate(changes, &id);
        let read = SettlementCertificate::from_bytes(&certificate.to_bytes()).unwrap();
        let proven = chain.verify(&read).unwrap();
        assert_eq!(
            &proven.competition,
            chain.world.state.competition(&id).unwrap()
        );
        assert_eq!(proven.height, chain.world.state.height());
        let ranks: Vec<_> = proven
            .settlement
            .ranks
            .iter()
            .map(|rank| (rank.competitor, rank.amount.get()))
            .collect();
        assert_eq!(
            ranks,
            [(Who::Bob.account(), 35_000), (Who::Alice.account(), 10_000)]
        );
        let reasons = proven
            .settlement
            .payments
            .iter()
            .map(|payment| payment.reason);
        assert_eq!(
            reasons
                .filter(|reason| *reason == PaymentReason::Deposit)
                .count(),
            3
        );
    }
}

#[test]
fn every_ending_can_be_proven() {
    let mut chain = Chain::new();
    let id = chain.open(spec());
    chain.act(
        6_000,
        Who::Host,
        Action::CancelCompetition { competition: id },
    );
    let proven = chain.verify(&chain.certificate(vec![], &id)).unwrap();
    assert!(matches!(
        proven.competition.ending,
        Some(Ending::Cancelled { .. })
    ));
    assert_eq!(proven.settlement.payments.len(), 2);

    let mut chain = Chain::new();
    let id = chain.open(spec());
    for (time, who) in (OPENS_AT..).zip([Who::Alice, Who::Bob, Who::Carol]) {
        let register = Action::Register {
            competition: id,
            model: crate::world::model("m"),
        };
        chain.act(time, who, register);
    }
    chain.block(KEY_UNTIL, &[]);
    let proven = chain.verify(&chain.certificate(vec![], &id)).unwrap();
    // 1,000 by three
    assert_eq!(proven.settlement.to_treasury.get(), 1);

    let mut high = spec();
    high.minimum = Threshold::AtLeast {
        millionths: 1_000_000,
    };
    let mut chain = Chain::new();
    let id = chain.open(high);
    let key = crate::world::data_key();
    chain.act(
        REGISTER_UNTIL,
        Who::Host,
        Action::ReleaseKey {
            competition: id,
            key,
        },
    );
    chain.block(PROVE_UNTIL, &[]);
    let proven = chain.verify(&chain.certificate(vec![], &id)).unwrap();
    assert_eq!(proven.settlement.ranks, vec![]);
}

#[test]
fn rejects_what_the_validators_in_force_did_not_sign() {
    // Rule CERT-3: reject
    let (chain, id, changes) = played(true);
    let refused =
        |changes: Vec<CertifiedState>| chain.verify(&chain.certificate(changes, &id)).unwrap_err();
    // without the changes, the genesis' set did not sign the last block
    assert!(matches!(
        refused(vec![]),
        SettlementError::NotCertified { .. }
    ));
    assert!(matches!(
        refused(changes[..1].to_vec()),
        SettlementError::NotCertified { .. }
    ));
    let swapped = vec![changes[1].clone(), changes[0].clone()];
    assert!(matches!(
        refused(swapped),
        SettlementError::NotCertified { .. }
    ));
    // a block that changes nothing is no change
    let idle = vec![
        chain.shown[0].clone(),
        changes[0].clone(),
        changes[1].clone(),
    ];
    assert!(
        matches!(refused(idle), SettlementError::Chain { what, .. } if what.contains("does not change"))
    );
    let again = vec![changes[0].clone(), changes[1].clone(), changes[1].clone()];
    assert!(
        matches!(refused(again), SettlementError::Chain { what, .. } if what.contains("out of order"))
    );
    // the genesis of another network
    let other = Genesis {
        name: "other".into(),
        ..chain.world.genesis.clone()
    };
    let certificate = chain.certificate(changes, &id);
    let refused = certificate.verify(&other, &is_certified).unwrap_err();
    assert!(
        matches!(refused, SettlementError::Chain { what, .. } if what.contains("another network"))
    );

    // rules that this software does not know may rank and pay otherwise
    let (mut chain, id, changes) = played(false);
    let last = chain.shown.last_mut().unwrap();
    last.block.version += 1;
    let members = FOUR.map(|who| (who.account(), 10));
    last.certificate = signed(&members, &last.block.id());
    let refused = chain.verify(&chain.certificate(changes, &id)).unwrap_err();
    assert!(
        matches!(refused, SettlementError::Chain { what, .. } if what.contains("does not know its rules"))
    );

    // a last block that changes the set itself does not say who signs on
    let (mut chain, id, mut changes) = played(true);
    chain.change(PROVE_UNTIL + 1, Who::Carol.account(), 3);
    let refused = chain
        .verify(&chain.certificate(changes.clone(), &id))
        .unwrap_err();
    assert!(
        matches!(refused, SettlementError::Chain { what, .. } if what.contains("changed before or in it"))
    );
    changes.push(chain.last());
    chain.block(PROVE_UNTIL + 2, &[]);
    assert_eq!(chain.verify(&chain.certificate(changes, &id)).err(), None);
}

#[test]
fn rejects_parts_of_another_state_and_records_that_are_not_below_the_root() {
    // Rule CERT-1: reject
    // Rule CERT-2: reject
    // Rule CERT-4: reject
    let (chain, id, _) = played(false);
    let good = chain.certificate(vec![], &id);
    let mut richer = good.clone();
    richer.settled.parts.treasury = Amount::new(1);
    assert!(matches!(
        chain.verify(&richer),
        Err(SettlementError::Parts { .. })
    ));
    // the parts of the block before, whose competition still ran
    let before = chain.shown[chain.shown.len() - 2].clone();
    let running =
        SettlementCertificate::new(vec![], before.clone(), &chain.world.state, &id).unwrap();
    assert!(matches!(
        chain.verify(&running),
        Err(SettlementError::Record { .. })
    ));
    // one that has not ended
    let mut chain = Chain::new();
    let id = chain.open(spec());
    let open = chain.verify(&chain.certificate(vec![], &id));
    assert!(matches!(open, Err(SettlementError::Result { what }) if what.contains("not ended")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_changed_byte_is_refused(place in any::<prop::sample::Index>(), mask in 1u8..) {
        let (chain, id, changes) = played(true);
        let mut bytes = chain.certificate(changes, &id).to_bytes();
        let at = place.index(bytes.len());
        bytes[at] ^= mask;
        if let Ok(changed) = SettlementCertificate::from_bytes(&bytes) {
            prop_assert!(chain.verify(&changed).is_err(), "byte {} of {}", at, bytes.len());
            prop_assert_eq!(changed.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_shortened_document_is_refused(place in any::<prop::sample::Index>()) {
        let (chain, id, _) = played(false);
        let bytes = chain.certificate(vec![], &id).to_bytes();
        prop_assert!(SettlementCertificate::from_bytes(&bytes[..place.index(bytes.len())]).is_err());
        prop_assert!(SettlementCertificate::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }
}
