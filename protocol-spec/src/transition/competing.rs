//! What a competitor does: register a hidden model, take it back, prove its score.

use crate::competition::{BlobRef, Competition, Deposit, Refusal, Registration, Submission};
use crate::digest::{CompetitionId, ModelDigest, RegistrationId};
use crate::identity::AccountId;
use crate::judge::{ProofClaim, Verdict};
use crate::limits::{MAX_PROOF_BYTES, MAX_REGISTRATIONS};
use crate::metric::Tally;
use crate::state::State;
use crate::transactions::Transaction;
use crate::transition::admission::check_balance;
use crate::transition::hosting::{check_running, find_competition};
use crate::transition::{Event, Outcome, Place, TransactionError};
use crate::units::{Amount, TimeMs};

/// # Rule REG-1
/// A registration names the digest of a hidden model; the sender becomes its owner.
///
/// # Rule REG-2
/// It is made in a block whose time is at or after `opens_at` and before `register_until`.
///
/// # Rule REG-3
/// The host does not register in its own competition: it knows the test set.
///
/// # Rule REG-4
/// An account holds at most `registrations_per_account` registrations; withdrawn ones do not count.
///
/// # Rule REG-5
/// An account registers a model digest once in a competition.
///
/// # Rule REG-6
/// A competition holds at most 4,096 registrations; withdrawn ones do not count.
///
/// # Rule REG-7
/// The deposit moves from the competitor to the competition's escrow.
pub(super) fn check_register(
    state: &State,
    sender: &AccountId,
    id: &CompetitionId,
    model: &ModelDigest,
    time: TimeMs,
) -> Result<(), TransactionError> {
    let competition = find_competition(state, id)?;
    check_running(competition)?;
    let spec = &competition.spec;
    let (what, rule) = ("registration", "REG-2");
    if time < spec.opens_at {
        return Err(TransactionError::TooEarly {
            what,
            from: spec.opens_at,
            time,
            rule,
        });
    }
    if time >= spec.register_until {
        return Err(TransactionError::TooLate {
            what,
            until: spec.register_until,
            time,
            rule,
        });
    }
    if competition.host == *sender {
        return Err(TransactionError::HostRegisters);
    }
    let held = competition
        .registrations
        .iter()
        .filter(|r| r.competitor == *sender)
        .count();
    if held >= usize::from(spec.registrations_per_account) {
        return Err(TransactionError::RegistrationQuota {
            limit: spec.registrations_per_account,
        });
    }
    // another account's registration of the same digest is no obstacle: see decision 0009
    let mut own = competition
        .registrations
        .iter()
        .filter(|r| r.competitor == *sender);
    if own.any(|r| r.model == *model) {
        return Err(TransactionError::DuplicateModel);
    }
    if competition.registrations.len() >= MAX_REGISTRATIONS {
        return Err(TransactionError::Full {
            limit: MAX_REGISTRATIONS,
        });
    }
    check_balance(state, sender, [spec.deposit])
}

pub(super) fn register(
    state: &mut State,
    competitor: &AccountId,
    id: &CompetitionId,
    model: ModelDigest,
    place: Place,
    events: &mut Vec<Event>,
) {
    let competition = state.competition_mut(id);
    let deposit = competition.spec.deposit;
    let escrow = competition.escrow.checked_add(deposit);
    competition.escrow =
        escrow.expect("all money together is the genesis supply, which fits an amount");
    state.accounts.debit(competitor, deposit);
    let registration = RegistrationId::of(place.transaction.as_bytes());
    state.insert_registration(Registration {
        id: registration,
        competition: *id,
        competitor: *competitor,
        model,
        registered: place.position,
        registered_at: place.time,
        deposit: Deposit::Held,
        submissions: Vec::new(),
        rank: None,
        paid: Amount::ZERO,
    });
    events.push(Event::Registered {
        competition: *id,
        registration,
        competitor: *competitor,
        model,
        deposit,
    });
}

fn find_registration<'a>(
    state: &'a State,
    id: &RegistrationId,
    sender: &AccountId,
    rule: &'static str,
) -> Result<(&'a Competition, &'a Registration), TransactionError> {
    let registration = state
        .registration(id)
        .ok_or(TransactionError::UnknownRegistration { id: *id })?;
    let competition = find_competition(state, &registration.competition)?;
    check_running(competition)?;
    match registration.competitor == *sender {
        true => Ok((competition, registration)),
        false => Err(TransactionError::NotOwner {
            owner: registration.competitor,
            rule,
        }),
    }
}

/// # Rule WD-1
/// Only its owner withdraws a registration.
///
/// # Rule WD-2
/// It does so in a block whose time is before `register_until`.
pub(super) fn check_withdraw<'a>(
    state: &'a State,
    sender: &AccountId,
    id: &RegistrationId,
    time: TimeMs,
) -> Result<&'a Registration, TransactionError> {
    let (competition, registration) = find_registration(state, id, sender, "WD-1")?;
    let until = competition.spec.register_until;
    if time >= until {
        return Err(TransactionError::TooLate {
            what: "withdrawal",
            until,
            time,
            rule: "WD-2",
        });
    }
    Ok(registration)
}

/// # Rule WD-3
/// The deposit returns, the registration leaves the state, and its place in the quotas is free again.
pub(super) fn withdraw(state: &mut State, id: &RegistrationId, events: &mut Vec<Event>) {
    let registration = state
        .registration(id)
        .expect("the registration was looked up in the check");
    let (name, competitor) = (registration.competition, registration.competitor);
    let competition = state.competition_mut(&name);
    let deposit = competition.spec.deposit;
    take_from_escrow(competition, deposit);
    state.remove_registration(&name, id);
    state.accounts.credit(&competitor, deposit);
    events.push(Event::Withdrawn {
        competition: name,
        registration: *id,
        competitor,
        deposit,
    });
}

/// # Rule SUB-1
/// Only its owner submits proofs for a registration.
///
/// # Rule SUB-2
/// Proofs are taken after the key is released, in a block whose time is before `prove_until`.
///
/// # Rule SUB-3
/// A registration submits at most `submissions_per_registration` proofs.
///
/// # Rule SUB-4
/// The claimed tally is possible: it has as many numbers as the metric shows of the task; hits are at most the samples;
/// true positives and false negatives of all classes add up to the samples, and false positives of all classes to their
/// false negatives.
///
/// # Rule SUB-5
/// A proof has 1 byte to 1 MiB.
///
/// # Rule SUB-6
/// A registration that lost its deposit does not submit again.
///
/// # Rule SUB-7
/// A registration does not submit the same proof twice.
///
/// # Rule SUB-10
/// The claim that the judge decides binds the proof to the network, the competition, the registration, the owner and
/// the transaction's nonce, to the registered model, the opened test set, the metric and the claimed tally.
pub(super) fn check_submit<'a>(
    state: &'a State,
    transaction: &Transaction,
    id: &RegistrationId,
    tally: &Tally,
    proof: BlobRef,
    time: TimeMs,
) -> Result<(&'a Registration, ProofClaim), TransactionError> {
    let (competition, registration) = find_registration(state, id, &transaction.sender, "SUB-1")?;
    let spec = &competition.spec;
    let until = spec.prove_until;
    if time >= until {
        return Err(TransactionError::TooLate {
            what: "proving",
            until,
            time,
            rule: "SUB-2",
        });
    }
    if competition.key.is_none() {
        return Err(TransactionError::KeyNotReleased);
    }
    if registration.deposit == Deposit::Forfeited {
        return Err(TransactionError::Forfeited);
    }
    if registration.submissions.len() >= usize::from(spec.submissions_per_registration) {
        return Err(TransactionError::SubmissionQuota {
            limit: spec.submissions_per_registration,
        });
    }
    spec.metric
        .check_claim(tally, spec.samples, &spec.task)
        .map_err(|error| TransactionError::ImpossibleTally(Box::new(error)))?;
    if proof.length == 0 || proof.length > MAX_PROOF_BYTES {
        return Err(TransactionError::ProofLength {
            length: proof.length,
            limit: MAX_PROOF_BYTES,
        });
    }
    if registration
        .submissions
        .iter()
        .any(|submission| submission.proof.id == proof.id)
    {
        return Err(TransactionError::DuplicateProof);
    }
    let (network, nonce) = (state.network(), transaction.nonce);
    let claim = ProofClaim::of(network, competition, registration, nonce, tally, proof);
    Ok((registration, claim))
}

/// # Rule SUB-8
/// A valid proof is recorded; the best of a registration's valid proofs counts.
///
/// # Rule SUB-9
/// An invalid proof is included and recorded; the deposit moves to the treasury. Proofs that were valid before stay.
pub(super) fn submit(
    state: &mut State,
    id: &RegistrationId,
    tally: &Tally,
    proof: BlobRef,
    verdict: Verdict,
    place: Place,
    events: &mut Vec<Event>,
) -> Outcome {
    let found = state
        .registration(id)
        .expect("the registration was looked up in the check");
    let (name, competitor) = (found.competition, found.competitor);
    let competition = state.competition_mut(&name);
    let spec = competition.spec.clone();
    let deposit = spec.deposit;
    if verdict == Verdict::Invalid {
        take_from_escrow(competition, deposit);
    }
    let found = competition
        .registrations
        .iter_mut()
        .find(|registration| registration.id == *id);
    let registration = found.expect("the registration was looked up in the check");
    registration.submissions.push(Submission {
        transaction: place.transaction,
        tally: tally.clone(),
        proof,
        verdict,
        height: place.position.height,
        time: place.time,
    });
    if verdict == Verdict::Valid {
        events.push(Event::ProofAccepted {
            competition: name,
            registration: *id,
            competitor,
            metric: spec.metric,
            tally: tally.clone(),
            samples: spec.samples,
            task: spec.task,
        });
        return Outcome::Applied;
    }
    registration.deposit = Deposit::Forfeited;
    let treasury = state.treasury.checked_add(deposit);
    state.treasury =
        treasury.expect("all money together is the genesis supply, which fits an amount");
    let reason = Refusal::InvalidProof;
    events.push(Event::ProofRefused {
        competition: name,
        registration: *id,
        competitor,
        claimed: tally.clone(),
        deposit,
        reason,
    });
    Outcome::Refused { reason }
}

fn take_from_escrow(competition: &mut Competition, amount: Amount) {
    let rest = competition.escrow.checked_sub(amount);
    competition.escrow =
        rest.expect("the escrow holds the deposit of every registration that did not lose it");
}
