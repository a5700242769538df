//! The scorer: from proven scores to ranks and payments. A pure function of its arguments, in integers; the vectors in
//! `vectors/scoring.json` fix it for other implementations.

use serde::{Deserialize, Serialize};

use crate::competition::{Competition, Position};
use crate::digest::RegistrationId;
use crate::identity::AccountId;
use crate::limits::PAYOUT_TOTAL;
use crate::units::Amount;

/// A registration that proved a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The registration.
    pub registration: RegistrationId,
    /// Its owner.
    pub competitor: AccountId,
    /// Its place in the order of registrations.
    pub registered: Position,
    /// The best proven number of correct predictions.
    pub correct: u32,
}

/// A place in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    /// From 1.
    pub rank: u32,
    /// The registration.
    pub registration: RegistrationId,
    /// Its owner, who is paid.
    pub competitor: AccountId,
    /// The proven number of correct predictions.
    pub correct: u32,
    /// What it earns.
    pub amount: Amount,
}

/// # Rule SET-2
/// An entry with at least `minimum_correct` correct predictions is ranked: most correct predictions first; of equals,
/// the earliest registration (height, then index in the block) first; then the smaller registration id.
///
/// # Rule SET-3
/// Rank i earns the prize times the i-th entry of the payout table divided by 10,000, rounded down; ranks behind the
/// table earn nothing.
pub fn rank(
    mut entries: Vec<Entry>,
    minimum_correct: u32,
    prize: Amount,
    payouts: &[u16],
) -> Vec<Rank> {
    entries.retain(|entry| entry.correct >= minimum_correct);
    entries.sort_by(|a, b| {
        let most_correct = b.correct.cmp(&a.correct);
        most_correct
            .then(a.registered.cmp(&b.registered))
            .then(a.registration.cmp(&b.registration))
    });
    let mut ranks = Vec::with_capacity(entries.len());
    for (rank, entry) in (1..).zip(entries) {
        let Entry {
            registration,
            competitor,
            registered: _,
            correct,
        } = entry;
        let share = payouts.get(ranks.len()).copied().unwrap_or(0);
        let amount = prize
            .fraction(u32::from(share), PAYOUT_TOTAL)
            .expect("an opened competition's shares add up to the total, so none is above it");
        ranks.push(Rank {
            rank,
            registration,
            competitor,
            correct,
            amount,
        });
    }
    ranks
}

/// The ranks that a competition has now: provisional while it runs, final once its proving has ended.
pub fn leaderboard(competition: &Competition) -> Vec<Rank> {
    let entries = competition.registrations.iter().filter_map(|registration| {
        Some(Entry {
            registration: registration.id,
            competitor: registration.competitor,
            registered: registration.registered,
            correct: registration.best()?,
        })
    });
    let spec = &competition.spec;
    rank(
        entries.collect(),
        spec.minimum_correct,
        competition.prize,
        &spec.payouts,
    )
}
