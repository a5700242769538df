//! Why a registration ranks where it does, in words and with the rule: a function of the competition's record alone.

use std::collections::HashMap;
use std::sync::Arc;

use agon_protocol::competition::{Competition, Deposit, Ending, Registration, VoidReason};
use agon_protocol::digest::RegistrationId;
use agon_protocol::judge::Verdict;
use agon_protocol::metric::Tally;
use agon_protocol::scorer::{Rank, leaderboard};
use agon_protocol::transition::PaymentReason;
use serde::Serialize;

/// An answer and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The kind of answer, a fixed word: `not_registered`, `withdrawn`, `no_proof`, `invalid_proof`, `below_minimum`,
    /// `key_missed`, `cancelled`, `first`, `outscored` or `tied_and_later`.
    pub outcome: &'static str,
    /// The rule.
    pub rule: &'static str,
    /// The answer in words.
    pub what: String,
}

impl Why {
    pub(crate) fn new(outcome: &'static str, rule: &'static str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            outcome,
            rule,
            what,
        }
    }
}

/// A competition's ranking with its reasons.
#[derive(Debug)]
pub(crate) struct Reasons {
    competition: Arc<Competition>,
    ranks: Vec<Rank>,
    /// Of each rank.
    points: Vec<i128>,
    /// Where each registration is in the competition's list, and in the ranks.
    places: HashMap<RegistrationId, (usize, Option<usize>)>,
}

impl Reasons {
    pub(crate) fn new(competition: Arc<Competition>) -> Self {
        let ranks = leaderboard(&competition);
        let metric = competition.spec.metric;
        let points = ranks.iter().map(|rank| metric.points(&rank.tally));
        let registrations = competition.registrations.iter().enumerate();
        let mut places: HashMap<_, _> = registrations
            .map(|(at, registration)| (registration.id, (at, None)))
            .collect();
        for (at, rank) in ranks.iter().enumerate() {
            if let Some((_, place)) = places.get_mut(&rank.registration) {
                *place = Some(at);
            }
        }
        Self {
            points: points.collect(),
            competition,
            ranks,
            places,
        }
    }

    /// The competition.
    pub(crate) fn competition(&self) -> &Arc<Competition> {
        &self.competition
    }

    /// A registration.
    pub(crate) fn registration(&self, id: &RegistrationId) -> Option<&Registration> {
        let (at, _) = self.places.get(id)?;
        self.competition.registrations.get(*at)
    }

    /// The ranks, provisional while the competition runs.
    pub(crate) fn ranks(&self) -> &[Rank] {
        &self.ranks
    }

    /// The rank of a registration.
    pub(crate) fn rank(&self, registration: &RegistrationId) -> Option<&Rank> {
        let (_, at) = self.places.get(registration)?;
        self.ranks.get((*at)?)
    }

    /// Whether a rank has as many points as the one before or after.
    pub(crate) fn is_tied(&self, rank: &Rank) -> bool {
        let points = |at: Option<usize>| at.and_then(|at| self.points.get(at));
        let next = rank.rank as usize;
        let own = points(next.checked_sub(1));
        points(next.checked_sub(2)) == own || points(Some(next)) == own
    }

    /// The answer, and the rule that it comes from.
    pub(crate) fn why(&self, record: &Registration) -> Why {
        match self.competition.ending {
            Some(Ending::Cancelled { .. }) => {
                return Why::new("cancelled", "CAN-3", "the host took the competition back");
            }
            Some(Ending::Void {
                reason: VoidReason::KeyMissed,
                ..
            }) => {
                let what = "the host did not release the key of the test set in time, so nobody could prove a score; \
                            the deposit went back and the host's bond was split among the registrations";
                return Why::new("key_missed", "VOID-1", what);
            }
            _ => {}
        }
        match self.rank(&record.id) {
            Some(rank) => self.ranked(record, rank),
            None => self.unranked(record),
        }
    }

    fn unranked(&self, record: &Registration) -> Why {
        let spec = &self.competition.spec;
        if let Some(best) = record.best(&spec.metric) {
            let least = spec.minimum.display(&spec.metric, spec.samples, &spec.task);
            let what = format!(
                "it proved {}, the competition asks for {}",
                self.words(best),
                least.unwrap_or_default()
            );
            return Why::new("below_minimum", "SET-2", what);
        }
        if record
            .submissions
            .iter()
            .any(|one| one.verdict == Verdict::Invalid)
        {
            let what = format!(
                "its proof is invalid, so its deposit of {} was lost and no further proof was taken",
                spec.deposit
            );
            return Why::new("invalid_proof", "SUB-9", what);
        }
        let what = match (self.competition.ending, self.competition.key) {
            (None, None) => {
                "the key of the test set is not released yet, so there is nothing to prove"
            }
            (None, Some(_)) => "it has proven nothing yet",
            (Some(_), _) => "no block holds a proof of it that came before the deadline",
        };
        Why::new("no_proof", "SET-2", what)
    }

    fn ranked(&self, record: &Registration, rank: &Rank) -> Why {
        let running = self.competition.ending.is_none();
        let place = format!("rank {} of {}", rank.rank, self.ranks.len());
        let prize = match (running, rank.amount.get()) {
            (true, _) => "the ranking is not final yet".to_owned(),
            (false, 0) => "the payout table gives this rank nothing".to_owned(),
            (false, amount) => format!(
                "it earned {amount} of the prize of {}",
                self.competition.prize
            ),
        };
        let late = match record.deposit {
            Deposit::Forfeited => {
                "; a later proof was invalid and cost the deposit, the valid one stays"
            }
            _ => "",
        };
        let Some(ahead) = (rank.rank as usize)
            .checked_sub(2)
            .and_then(|at| self.ranks.get(at))
        else {
            let what = format!("{place} with {}: {prize}{late}", self.words(&rank.tally));
            return Why::new("first", "SET-2", what);
        };
        let at = rank.rank as usize - 1;
        if self.points.get(at - 1) != self.points.get(at) {
            let what = format!(
                "{place} with {}: {} ahead of it proved {}; {prize}{late}",
                self.words(&rank.tally),
                ahead.competitor,
                self.words(&ahead.tally)
            );
            return Why::new("outscored", "SET-2", what);
        }
        let first = self.registration(&ahead.registration);
        let position = |record: &Registration| {
            let at = record.registered;
            format!("block {}, transaction {}", at.height, at.index)
        };
        let what = format!(
            "{place} with {}: {} ahead of it proved a score with the same points and registered earlier ({}, this one in {}); {prize}{late}",
            self.words(&rank.tally),
            ahead.competitor,
            first.map(position).unwrap_or_default(),
            position(record),
        );
        Why::new("tied_and_later", "SET-2", what)
    }

    /// A score in words that fit behind "proved".
    pub(crate) fn words(&self, tally: &Tally) -> String {
        let spec = &self.competition.spec;
        let words = spec.metric.describe(tally, spec.samples, &spec.task);
        match spec.metric.hits(tally) {
            Some(_) => words,
            None => format!("a {words}"),
        }
    }
}

/// What became of a deposit, in a word; a withdrawn registration has no record.
pub(crate) fn deposit(record: Option<&Registration>) -> &'static str {
    match record.map(|record| record.deposit) {
        None | Some(Deposit::Returned) => "returned",
        Some(Deposit::Held) => "held",
        Some(Deposit::Forfeited) => "lost",
    }
}

/// The rule that a payment follows.
pub(crate) fn payment_rule(reason: PaymentReason) -> &'static str {
    match reason {
        PaymentReason::Prize => "SET-3",
        PaymentReason::BondShare => "VOID-2",
        _ => "SET-4",
    }
}
