//! The scorer: from proven scores to ranks and payments. A pure function of its arguments, in integers; the vectors in
//! `vectors/scoring.json` fix it for other implementations.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::competition::{Competition, Position};
use crate::digest::RegistrationId;
use crate::identity::AccountId;
use crate::limits::PAYOUT_TOTAL;
use crate::metric::{Metric, Tally, Threshold};
use crate::units::Amount;

/// A registration that proved a score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The registration.
    pub registration: RegistrationId,
    /// Its owner.
    pub competitor: AccountId,
    /// Its place in the order of registrations.
    pub registered: Position,
    /// The best proven tally.
    pub tally: Tally,
}

/// A place in the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    /// From 1.
    pub rank: u32,
    /// The registration.
    pub registration: RegistrationId,
    /// Its owner, who is paid.
    pub competitor: AccountId,
    /// The proven tally.
    pub tally: Tally,
    /// What it earns.
    pub amount: Amount,
}

/// What the scorer needs of a competition's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scoring<'a> {
    /// What decides.
    pub metric: Metric,
    /// The least score that earns a rank.
    pub minimum: Threshold,
    /// Samples of the test set.
    pub samples: u32,
    /// What the ranks share.
    pub prize: Amount,
    /// The prize in basis points, first rank first.
    pub payouts: &'a [u16],
}

/// # Rule SET-2
/// An entry whose tally reaches the minimum is ranked: most points first; of equals, the earliest registration (height,
/// then index in the block) first; then the smaller registration id.
///
/// # Rule SET-3
/// Rank i earns the prize times the i-th entry of the payout table divided by 10,000, rounded down; ranks behind the
/// table earn nothing.
pub fn rank(mut entries: Vec<Entry>, scoring: &Scoring<'_>) -> Vec<Rank> {
    let Scoring {
        metric,
        minimum,
        samples,
        prize,
        payouts,
    } = scoring;
    entries.retain(|entry| minimum.is_reached(metric, &entry.tally, *samples));
    entries.sort_by_cached_key(|entry| {
        let points = Reverse(metric.points(&entry.tally));
        (points, entry.registered, entry.registration)
    });
    let mut ranks = Vec::with_capacity(entries.len());
    for (rank, entry) in (1..).zip(entries) {
        let Entry {
            registration,
            competitor,
            registered: _,
            tally,
        } = entry;
        let share = payouts.get(ranks.len()).copied().unwrap_or(0);
        let amount = prize
            .fraction(u32::from(share), PAYOUT_TOTAL)
            .expect("an opened competition's shares add up to the total, so none is above it");
        ranks.push(Rank {
            rank,
            registration,
            competitor,
            tally,
            amount,
        });
    }
    ranks
}

/// The ranks that a competition has now: provisional while it runs, final once its proving has ended.
pub fn leaderboard(competition: &Competition) -> Vec<Rank> {
    let spec = &competition.spec;
    let entries = competition.registrations.iter().filter_map(|registration| {
        Some(Entry {
            registration: registration.id,
            competitor: registration.competitor,
            registered: registration.registered,
            tally: registration.best(&spec.metric)?.clone(),
        })
    });
    let scoring = Scoring {
        metric: spec.metric,
        minimum: spec.minimum,
        samples: spec.samples,
        prize: competition.prize,
        payouts: &spec.payouts,
    };
    rank(entries.collect(), &scoring)
}
