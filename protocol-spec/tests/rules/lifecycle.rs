//! Every interleaving of a small competition: an explicit-state, breadth-first search over the real transition. At each of a
//! few times around the deadlines, everybody tries everything, sensible or not, and after each block the properties of
//! [`violation`] must hold. Decision 0029 says why the search is our own.
//!
//! Two states are the same when their [`View`] is: all that the rules compare but for names, nonces and heights. A nonce and a
//! height only count, and every transaction here has the right one; the name of a registration breaks ties between
//! equal places in the order of registrations, which do not exist. So states with one view have the same futures.
//!
//! `cargo test -p agon-protocol --release --test rules lifecycle -- --include-ignored --nocapture` prints how many there are.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use agon_protocol::competition::{BlobRef, CompetitionSpec, Deposit, Phase};
use agon_protocol::digest::{BlobId, CompetitionId, RegistrationId};
use agon_protocol::genesis::{Genesis, GenesisBalance};
use agon_protocol::governance::Measure;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Judge, ProofClaim, TestSetClaim, Verdict};
use agon_protocol::metric::{Tally, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::state::State;
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use agon_protocol::transition::{Applied, Event, Payment, apply_block, build_block};
use agon_protocol::units::{Amount, TimeMs};

use crate::world::{Who, data_key, genesis, model, spec};

const PRIZE: u64 = 5;
const BOND: u64 = 3;
const DEPOSIT: u64 = 2;

/// Verdicts without proofs: a blob's length says which, and its name what it is a proof of.
struct Abstract;

const VALID: u64 = 1;
const INVALID: u64 = 2;
const UNKNOWN: u64 = 3;

impl Judge for Abstract {
    fn test_set(&self, _: &TestSetClaim) -> Option<Verdict> {
        Some(Verdict::Valid)
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        let own = claim.proof.id == proof_name(claim.context.registration, &claim.tally);
        match claim.proof.length {
            UNKNOWN => None,
            VALID if own => Some(Verdict::Valid),
            _ => Some(Verdict::Invalid),
        }
    }
}

fn proof_name(registration: RegistrationId, tally: &Tally) -> BlobId {
    let hits = tally.numbers()[0].to_le_bytes();
    BlobId::of(&[registration.as_bytes().as_slice(), &hits].concat())
}

/// What is searched.
struct Model {
    competitors: Vec<Who>,
    /// Times of blocks; one is skipped or has one transaction or none.
    times: Vec<u64>,
    registrations_per_account: u8,
    submissions_per_registration: u8,
    /// Scores that are proven.
    hits: Vec<u32>,
}

impl Model {
    fn genesis(&self) -> Genesis {
        let balance = |who: Who, amount: u64| GenesisBalance {
            account: who.account(),
            amount: Amount::new(amount),
        };
        let mut genesis = genesis();
        genesis.parameters.min_deposit = Amount::new(1);
        genesis.parameters.min_bond = Amount::new(1);
        genesis.balances = vec![balance(Who::Host, PRIZE + BOND)];
        let rest = self.competitors.iter().map(|who| balance(*who, DEPOSIT));
        genesis.balances.extend(rest);
        genesis
    }

    fn terms(&self) -> CompetitionSpec {
        CompetitionSpec {
            payouts: vec![7_000, 3_000],
            deposit: Amount::new(DEPOSIT),
            registrations_per_account: self.registrations_per_account,
            submissions_per_registration: self.submissions_per_registration,
            minimum: Threshold::AtLeast {
                millionths: 100_000,
            },
            ..spec()
        }
    }

    /// Everything that anybody may try, by what it is called in a trace.
    fn attempts(&self, state: &State) -> Vec<(String, Who, Action)> {
        let mut tried = Vec::new();
        let everybody = [&[Who::Host], self.competitors.as_slice()].concat();
        let (from, to) = (self.competitors[0], self.competitors[1].account());
        let amount = Amount::new(1);
        let mut attempt = |name: String, who: Who, action| {
            tried.push((format!("{who:?} {name}"), who, action));
        };
        attempt("pays".to_owned(), from, Action::Transfer { to, amount });
        for power in [0, 1] {
            let (account, set_version) = (to, state.governance().set_version);
            let measure = Measure::SetPower { account, power };
            let action = Action::Approve {
                measure,
                set_version,
            };
            attempt(format!("approves power {power}"), Who::Validator, action);
        }
        let Some(competition) = state.competitions().next() else {
            let spec = Box::new(self.terms());
            let (prize, bond) = (Amount::new(PRIZE), Amount::new(BOND));
            let action = Action::OpenCompetition { spec, prize, bond };
            attempt("opens".to_owned(), Who::Host, action);
            return tried;
        };
        let id = competition.id;
        for who in &everybody {
            let competition = id;
            attempt(
                "cancels".to_owned(),
                *who,
                Action::CancelCompetition { competition },
            );
            for name in ["a", "b"] {
                let model = model(name);
                let action = Action::Register { competition, model };
                attempt(format!("registers {name}"), *who, action);
            }
        }
        for (who, key) in [
            (Who::Host, data_key()),
            (Who::Host, DataKey::from_raw([1; 32])),
            (everybody[1], data_key()),
        ] {
            let competition = id;
            let action = Action::ReleaseKey { competition, key };
            let name = if key == data_key() { "right" } else { "wrong" };
            attempt(format!("releases the {name} key"), who, action);
        }
        for (index, found) in competition.registrations.iter().enumerate() {
            let owner = |who: &&Who| who.account() == found.competitor;
            let owner = *everybody.iter().find(owner).unwrap();
            for who in [owner, Who::Host] {
                let registration = found.id;
                let action = Action::Withdraw { registration };
                attempt(format!("withdraws {index}"), who, action);
            }
            for (who, hits, verdict) in self.proofs(owner) {
                let action = submission(found.id, hits, verdict);
                attempt(format!("proves {hits} {verdict} for {index}"), who, action);
            }
        }
        tried
    }

    /// Who submits which hits, and what the verdict is: valid ones, an invalid and an unknown one, an impossible tally, and one
    /// for somebody else's registration.
    fn proofs(&self, owner: Who) -> Vec<(Who, u32, u64)> {
        let valid = self.hits.iter().map(|hits| (owner, *hits, VALID));
        let others = [
            (owner, 500, INVALID),
            (owner, 500, UNKNOWN),
            (owner, 501, VALID),
            (Who::Host, 500, VALID),
        ];
        valid.chain(others).collect()
    }
}

fn submission(registration: RegistrationId, hits: u32, verdict: u64) -> Action {
    let tally = Tally::of_hits(hits);
    let proof = BlobRef {
        id: proof_name(registration, &tally),
        length: verdict,
    };
    Action::SubmitProof {
        registration,
        tally,
        proof,
    }
}

/// All that the rules compare, but for names, nonces and heights.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct View {
    time: TimeMs,
    balances: BTreeMap<AccountId, Amount>,
    treasury: Amount,
    validators: Vec<(AccountId, u64)>,
    competitions: Vec<CompetitionView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CompetitionView {
    phase: Phase,
    escrow: Amount,
    registrations: Vec<RegistrationView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RegistrationView {
    competitor: AccountId,
    model: String,
    deposit: String,
    submissions: Vec<(Tally, bool)>,
    rank: Option<u32>,
    paid: Amount,
}

fn view(state: &State) -> View {
    let competitions = state.competitions().map(|competition| CompetitionView {
        phase: competition.phase(state.time()),
        escrow: competition.escrow,
        registrations: competition
            .registrations
            .iter()
            .map(|registration| RegistrationView {
                competitor: registration.competitor,
                model: registration.model.to_string(),
                deposit: format!("{:?}", registration.deposit),
                submissions: registration
                    .submissions
                    .iter()
                    .map(|s| (s.tally.clone(), s.verdict == Verdict::Valid))
                    .collect(),
                rank: registration.rank,
                paid: registration.paid,
            })
            .collect(),
    });
    let (balances, validators) = (state.accounts(), state.validators().iter());
    View {
        time: state.time(),
        balances: balances
            .filter(|(_, account)| account.balance > Amount::ZERO)
            .map(|(id, account)| (*id, account.balance))
            .collect(),
        treasury: state.treasury(),
        validators: validators.map(|v| (v.account, v.power)).collect(),
        competitions: competitions.collect(),
    }
}

impl View {
    fn money(&self) -> u64 {
        let balances = self.balances.values().copied();
        let escrows = self.competitions.iter().map(|c| c.escrow);
        let all = balances.chain(escrows).chain([self.treasury]);
        Amount::checked_sum(all).unwrap().get()
    }
}

/// A block's effect, as the search sees it.
struct Step {
    state: State,
    view: View,
    /// What was paid out of each competition that ended.
    paid: Vec<(CompetitionId, u64)>,
    included: bool,
}

/// What is under test: a block of at most one transaction.
type Transition = fn(&State, u64, Option<&SignedTransaction>) -> Step;

fn real(state: &State, time: u64, transaction: Option<&SignedTransaction>) -> Step {
    let (proposer, at) = (Who::Validator.account(), TimeMs::new(time));
    let built = build_block(state, transaction, proposer, at, &Abstract).unwrap();
    let included = !built.block.transactions.is_empty();
    let Applied { state, events, .. } = match included || transaction.is_none() {
        true => apply_block(state, &built.block, &Abstract).unwrap(),
        // the block is the empty one, or its root differs
        false => built.applied,
    };
    assert_eq!(state.root(), built.block.state_root);
    Step {
        view: view(&state),
        paid: events.iter().filter_map(paid).collect(),
        included,
        state,
    }
}

fn paid(event: &Event) -> Option<(CompetitionId, u64)> {
    let sum = |payments: &[Payment]| payments.iter().map(|p| p.amount.get()).sum::<u64>();
    match event {
        Event::Settled {
            competition,
            payments,
            ..
        }
        | Event::Cancelled {
            competition,
            payments,
        } => Some((*competition, sum(payments))),
        Event::Voided {
            competition,
            payments,
            to_treasury,
            ..
        } => Some((*competition, sum(payments) + to_treasury.get())),
        _ => None,
    }
}

/// What must hold of every block. `empty` is the block without the transaction, at the same time.
fn violation(supply: u64, before: &State, after: &Step, empty: &Step) -> Option<&'static str> {
    if after.view.money() != supply {
        return Some("money is made or lost");
    }
    if !after.included && (after.state.root() != empty.state.root() || after.view != empty.view) {
        return Some("a refused transaction leaves a trace");
    }
    for (shown, found) in after
        .view
        .competitions
        .iter()
        .zip(after.state.competitions())
    {
        let held = found
            .registrations
            .iter()
            .filter(|r| r.deposit == Deposit::Held);
        let stakes = PRIZE + BOND + DEPOSIT * held.count() as u64;
        let expected = if found.ending.is_some() { 0 } else { stakes };
        if shown.escrow.get() != expected {
            return Some("an escrow does not hold what it should");
        }
    }
    let old = view(before);
    for (index, earlier) in before.competitions().enumerate() {
        let later = after.state.competition(&earlier.id);
        let kept =
            later == Some(earlier) && after.view.competitions[index] == old.competitions[index];
        if earlier.ending.is_some() && !kept {
            return Some("a settled competition changes");
        }
    }
    for (id, sum) in &after.paid {
        let escrow = before
            .competition(id)
            .map(|competition| competition.escrow.get());
        if escrow != Some(*sum) {
            return Some("another sum is paid than the escrow held");
        }
    }
    None
}

/// Whether a block after every deadline leaves nothing in an escrow and nothing to wait for.
fn is_stuck(end: &Step) -> bool {
    let held = |competition: &CompetitionView| competition.escrow > Amount::ZERO;
    end.view.competitions.iter().any(held) || end.state.next_deadline().is_some()
}

#[derive(Debug, PartialEq)]
struct Explored {
    states: usize,
    blocks: usize,
    refused: usize,
    /// How often the competition was found in each phase.
    phases: BTreeMap<Phase, usize>,
}

/// A violated property and the blocks that lead to it.
type Counterexample = (&'static str, Vec<String>);

struct Search {
    model: Model,
    transition: Transition,
    supply: u64,
    /// Index of each view in `found`.
    seen: HashMap<View, usize>,
    /// Each state, the one before it, and the block between.
    found: Vec<(State, usize, String)>,
    blocks: usize,
    refused: usize,
}

impl Search {
    fn new(model: Model, transition: Transition) -> Self {
        let start = State::genesis(&model.genesis()).unwrap();
        Self {
            supply: start.supply().get(),
            seen: HashMap::from([(view(&start), 0)]),
            found: vec![(start, 0, "genesis".to_owned())],
            model,
            transition,
            blocks: 0,
            refused: 0,
        }
    }

    fn run(mut self) -> Result<Explored, Counterexample> {
        let mut next = 0;
        while next < self.found.len() {
            self.expand(next)?;
            next += 1;
        }
        let mut phases = BTreeMap::new();
        for (state, ..) in &self.found {
            for competition in state.competitions() {
                *phases.entry(competition.phase(state.time())).or_insert(0) += 1;
            }
        }
        Ok(Explored {
            states: self.found.len(),
            blocks: self.blocks,
            refused: self.refused,
            phases,
        })
    }

    /// Every block that may follow a state, at each of the next two times: the one between them is skipped by the second.
    fn expand(&mut self, index: usize) -> Result<(), Counterexample> {
        let state = self.found[index].0.clone();
        let stored = State::restore(&self.model.genesis(), &state.snapshot()).unwrap();
        let end = (self.transition)(&state, 1_000_000, None);
        if is_stuck(&end) {
            return Err(self.counterexample(index, "an escrow is stuck", "the last block"));
        }
        let later = |time: &&u64| TimeMs::new(**time) > state.time();
        let times: Vec<u64> = self
            .model
            .times
            .iter()
            .filter(later)
            .copied()
            .take(2)
            .collect();
        for time in times {
            let empty = (self.transition)(&state, time, None);
            for (name, who, action) in self.model.attempts(&state) {
                let transaction = transaction(&state, who, action);
                let step = (self.transition)(&state, time, Some(&transaction));
                self.take(index, format!("{time}: {name}"), step, &empty)?;
            }
            // the same block has the same effect on whoever starts from a stored state
            let again = (self.transition)(&stored, time, None);
            assert_eq!(again.state.root(), empty.state.root(), "{time}");
            self.take(index, format!("{time}: nothing"), again, &empty)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        before: usize,
        name: String,
        step: Step,
        empty: &Step,
    ) -> Result<(), Counterexample> {
        self.blocks += 1;
        self.refused += usize::from(!step.included);
        let parent = &self.found[before].0;
        if let Some(what) = violation(self.supply, parent, &step, empty) {
            return Err(self.counterexample(before, what, &name));
        }
        let Step { state, view, .. } = step;
        if self.seen.contains_key(&view) {
            return Ok(());
        }
        self.seen.insert(view, self.found.len());
        self.found.push((state, before, name));
        Ok(())
    }

    fn counterexample(&self, index: usize, what: &'static str, last: &str) -> Counterexample {
        let (mut trace, mut index) = (vec![last.to_owned()], index);
        while index > 0 {
            let (_, before, name) = &self.found[index];
            trace.push(name.clone());
            index = *before;
        }
        trace.reverse();
        (what, trace)
    }
}

fn transaction(state: &State, who: Who, action: Action) -> SignedTransaction {
    let transaction = Transaction {
        network: state.network(),
        sender: who.account(),
        nonce: state.account(&who.account()).nonce,
        action,
    };
    transaction.sign(&who.key())
}

/// Two competitors, one proof each, the times around each deadline.
fn small() -> Model {
    Model {
        competitors: vec![Who::Alice, Who::Bob],
        times: vec![
            5_000, 9_999, 10_000, 10_001, 19_999, 20_000, 29_999, 30_000, 39_999, 40_000, 40_001,
        ],
        registrations_per_account: 1,
        submissions_per_registration: 1,
        hits: vec![49, 450],
    }
}

/// Three competitors, two proofs each.
fn large() -> Model {
    Model {
        competitors: vec![Who::Alice, Who::Bob, Who::Carol],
        times: vec![
            5_000, 10_000, 10_001, 10_002, 19_999, 20_000, 20_001, 29_999, 30_000, 39_999, 40_000,
            40_001,
        ],
        registrations_per_account: 1,
        submissions_per_registration: 2,
        hits: vec![49, 450],
    }
}

fn explored(model: Model) -> Explored {
    let found = Search::new(model, real).run();
    let found = found.unwrap_or_else(|(what, trace)| panic!("{what} after {trace:#?}"));
    eprintln!("{found:?}");
    found
}

#[test]
fn no_interleaving_loses_money_or_leaves_it_stuck() {
    // Rule SUP-1: accept
    let found = explored(small());
    assert!(
        found.states > 500 && found.refused > found.states,
        "{found:?}"
    );
    assert_eq!(found.phases.len(), 7, "every phase is met: {found:?}");
}

#[test]
#[ignore = "takes minutes: a search of the larger model"]
fn no_interleaving_of_three_competitors_loses_money_or_leaves_it_stuck() {
    explored(large());
}

// Broken rules, which the search must find.

/// Changes a balance in what the search sees.
fn change(step: &mut Step, who: Who, by: i64) {
    let balance = step.view.balances.entry(who.account()).or_default();
    *balance = Amount::new(balance.get().checked_add_signed(by).unwrap());
}

fn keeps_a_withdrawn_deposit(state: &State, time: u64, tx: Option<&SignedTransaction>) -> Step {
    let mut step = real(state, time, tx);
    let withdraws =
        |tx: &SignedTransaction| matches!(tx.transaction.action, Action::Withdraw { .. });
    if step.included && tx.is_some_and(withdraws) {
        change(&mut step, Who::Alice, -(DEPOSIT as i64));
    }
    step
}

fn pays_the_prize_twice(state: &State, time: u64, tx: Option<&SignedTransaction>) -> Step {
    let mut step = real(state, time, tx);
    let ends = step
        .view
        .competitions
        .iter()
        .any(|c| c.phase == Phase::Paid);
    if ends && !step.paid.is_empty() {
        change(&mut step, Who::Alice, PRIZE as i64);
    }
    step
}

/// Moves money between escrow and an account, so that the sum stays.
fn pays_from_the_escrow(state: &State, time: u64, tx: Option<&SignedTransaction>) -> Step {
    let mut step = real(state, time, tx);
    let mut running = step.view.competitions.iter_mut();
    if let Some(competition) = running.find(|c| c.phase == Phase::Proving) {
        competition.escrow = competition.escrow.checked_sub(Amount::new(1)).unwrap();
        change(&mut step, Who::Host, 1);
    }
    step
}

/// Time stands still one millisecond before the key must be there.
fn never_voids(state: &State, time: u64, tx: Option<&SignedTransaction>) -> Step {
    let sealed = state
        .competitions()
        .any(|c| c.key.is_none() && c.ending.is_none());
    let late = state.time().get() + 1;
    match sealed && late < crate::world::KEY_UNTIL {
        true => real(state, time.min(crate::world::KEY_UNTIL - 1).max(late), tx),
        false => real(state, time, tx),
    }
}

/// A refused transaction uses its nonce up: a transfer of the sender to itself stands in for it.
fn counts_refused_transactions(state: &State, time: u64, tx: Option<&SignedTransaction>) -> Step {
    let step = real(state, time, tx);
    let Some(signed) = tx.filter(|_| !step.included) else {
        return step;
    };
    let (who, account) = (Who::Alice, Who::Alice.account());
    if signed.transaction.sender != account {
        return step;
    }
    let (to, amount) = (account, Amount::new(1));
    let own = transaction(state, who, Action::Transfer { to, amount });
    let included = false;
    Step {
        included,
        ..real(state, time, Some(&own))
    }
}

fn ranks_again_after_the_end(state: &State, time: u64, tx: Option<&SignedTransaction>) -> Step {
    let ended = state
        .competitions()
        .any(|c| c.phase(state.time()) == Phase::Paid);
    let mut step = real(state, time, tx);
    if ended {
        step.view.competitions[0].registrations.reverse();
    }
    step
}

#[test]
fn broken_rules_are_found() {
    // Rule SUP-1: reject
    let broken: [(Transition, &str); 6] = [
        (keeps_a_withdrawn_deposit, "money is made or lost"),
        (pays_the_prize_twice, "money is made or lost"),
        (
            pays_from_the_escrow,
            "an escrow does not hold what it should",
        ),
        (never_voids, "an escrow is stuck"),
        (
            counts_refused_transactions,
            "a refused transaction leaves a trace",
        ),
        (ranks_again_after_the_end, "a settled competition changes"),
    ];
    for (transition, expected) in broken {
        let (what, trace) = Search::new(small(), transition).run().unwrap_err();
        assert_eq!(what, expected, "{trace:#?}");
        assert!(!trace.is_empty());
    }
}
