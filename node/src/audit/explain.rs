//! Why a competitor's result is what it is: from the blocks to words, with the rule that each answer comes from.

use agon_protocol::competition::{Competition, Deposit, Ending, Registration, VoidReason};
use agon_protocol::digest::{CompetitionId, RegistrationId};
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::Verdict;
use agon_protocol::metric::Tally;
use agon_protocol::scorer::{Rank, leaderboard};
use agon_protocol::transactions::Action;
use agon_protocol::transition::{Outcome, PaymentReason};

use super::explanation::{Explanation, PaymentTold, Told, TransactionTold, Why};
use super::history::{Acted, Entered, History, read};
use super::replay::Replay;
use super::run::AuditError;
use super::source::Source;
use crate::node::clock::next_block_time;
use crate::verification::ProofVerifier;

/// Who is asked about: an account, or one of its registrations.
#[derive(Debug, Clone, Copy)]
pub struct Asked(pub [u8; 32]);

/// Explains the result of `asked` in a competition, from the blocks of `source`; `None` when there is no such competition.
///
/// # Errors
/// When the genesis or the source's chain is not usable.
pub fn explain(
    source: &dyn Source,
    verifier: &dyn ProofVerifier,
    genesis: &Genesis,
    competition: CompetitionId,
    asked: Asked,
) -> Result<Option<Explanation>, AuditError> {
    let history = read(source, verifier, Replay::new(genesis)?, competition)?;
    Ok(history.map(|history| Explainer::new(&history, asked).explanation()))
}

struct Explainer<'a> {
    history: &'a History,
    competition: &'a Competition,
    competitor: AccountId,
    /// The one registration that was asked for, if it was one.
    only: Option<RegistrationId>,
    ranks: Vec<Rank>,
}

impl<'a> Explainer<'a> {
    fn new(history: &'a History, asked: Asked) -> Self {
        let registration = RegistrationId::from_raw(asked.0);
        let entered = history
            .entered
            .iter()
            .find(|entry| entry.id == registration);
        let (competitor, only) = match entered {
            Some(entry) => (entry.competitor, Some(registration)),
            None => (AccountId::from_raw(asked.0), None),
        };
        let competition = &*history.competition;
        Self {
            history,
            competition,
            competitor,
            only,
            ranks: leaderboard(competition),
        }
    }

    fn explanation(&self) -> Explanation {
        let (competition, state) = (self.competition, self.history.replay.state());
        let spec = &competition.spec;
        let entered = self.history.entered.iter().filter(|entry| {
            entry.competitor == self.competitor && self.only.is_none_or(|only| only == entry.id)
        });
        let registrations: Vec<Told> = entered.map(|entry| self.registration(entry)).collect();
        let payments = self.payments();
        let minimum = spec.minimum.display(&spec.metric, spec.samples, &spec.task);
        Explanation {
            network: state.network(),
            height: state.height().get(),
            competition: competition.id,
            title: spec.title.clone(),
            phase: competition.phase(next_block_time(state)).to_string(),
            settled_at: competition.ending.map(|ending| ending_height(ending).get()),
            metric: spec.metric.to_string(),
            minimum,
            prize: competition.prize.get(),
            ranked: self.ranks.len(),
            competitor: self.competitor,
            is_host: self.competitor == competition.host,
            without_registration: registrations.is_empty().then(|| self.not_registered()),
            registrations,
            transactions: self.transactions(),
            received: payments.iter().map(|payment| payment.amount).sum(),
            payments,
        }
    }

    fn not_registered(&self) -> Why {
        if self.competitor == self.competition.host {
            let what = "it is the host, who may not compete";
            return Why::new("not_registered", "REG-3", what);
        }
        let what = "no block holds a registration of this account; a registration that was refused never came into one";
        Why::new("not_registered", "REG-1", what)
    }

    fn registration(&self, entry: &Entered) -> Told {
        let record = self.competition.registration(&entry.id);
        let best = record.and_then(|record| record.best(&self.competition.spec.metric));
        let rank = self.ranks.iter().find(|rank| rank.registration == entry.id);
        Told {
            registration: entry.id,
            model: entry.model,
            height: entry.receipt.height.get(),
            index: entry.receipt.index,
            tally: best.cloned(),
            score: best.map(|tally| self.words(tally)),
            rank: rank.map(|rank| rank.rank),
            prize: record.map_or(0, |record| record.paid.get()),
            deposit: deposit(record),
            why: self.why(entry, record, rank),
        }
    }

    /// The answer, and the rule that it comes from.
    fn why(&self, entry: &Entered, record: Option<&Registration>, rank: Option<&Rank>) -> Why {
        let Some(record) = record.filter(|_| !entry.withdrawn) else {
            let what = "it was withdrawn before registration closed, and its deposit went back";
            return Why::new("withdrawn", "WD-3", what);
        };
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
        match rank {
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
        let metric = &self.competition.spec.metric;
        if metric.points(&ahead.tally) != metric.points(&rank.tally) {
            let what = format!(
                "{place} with {}: {} ahead of it proved {}; {prize}{late}",
                self.words(&rank.tally),
                ahead.competitor,
                self.words(&ahead.tally)
            );
            return Why::new("outscored", "SET-2", what);
        }
        let first = self.competition.registration(&ahead.registration);
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

    fn transactions(&self) -> Vec<TransactionTold> {
        let mine = |acted: &&Acted| {
            acted.receipt.sender == self.competitor
                && (self.only.is_none() || acted.receipt.registration == self.only)
        };
        let acted = self.history.acted.iter().filter(mine);
        acted.map(|acted| self.transaction(acted)).collect()
    }

    fn transaction(&self, acted: &Acted) -> TransactionTold {
        let receipt = &acted.receipt;
        let (rule, mut what) = match (&acted.action, receipt.outcome) {
            (Action::SubmitProof { tally, .. }, Outcome::Applied) => {
                ("SUB-8", format!("proved {}", self.words(tally)))
            }
            (Action::SubmitProof { tally, .. }, Outcome::Refused { reason }) => {
                ("SUB-9", format!("claimed {}: {reason}", self.words(tally)))
            }
            (Action::Register { model, .. }, _) => ("REG-1", format!("registered model {model}")),
            (Action::Withdraw { .. }, _) => ("WD-3", "took the registration back".to_owned()),
            (Action::OpenCompetition { .. }, _) => ("OPEN-8", "opened the competition".to_owned()),
            (Action::CancelCompetition { .. }, _) => {
                ("CAN-3", "cancelled the competition".to_owned())
            }
            (Action::ReleaseKey { .. }, _) => ("KEY-5", "released the key".to_owned()),
            (other, _) => ("TX-1", other.name().to_owned()),
        };
        if let Some(why) = &acted.why {
            what = format!("{what} ({why})");
        }
        TransactionTold {
            id: receipt.transaction,
            height: receipt.height.get(),
            index: receipt.index,
            time_ms: receipt.time.get(),
            action: receipt.action.clone(),
            registration: receipt.registration,
            accepted: receipt.outcome == Outcome::Applied,
            rule: rule.into(),
            what,
        }
    }

    fn payments(&self) -> Vec<PaymentTold> {
        let paid = self.history.paid.iter().filter(|paid| {
            let payment = &paid.payment;
            payment.account == self.competitor
                && (self.only.is_none() || payment.registration == self.only)
        });
        paid.map(|paid| PaymentTold {
            height: paid.height,
            amount: paid.payment.amount.get(),
            reason: paid.payment.reason,
            registration: paid.payment.registration,
            rule: match paid.payment.reason {
                PaymentReason::Prize => "SET-3",
                PaymentReason::BondShare => "VOID-2",
                _ => "SET-4",
            }
            .into(),
        })
        .collect()
    }

    fn words(&self, tally: &Tally) -> String {
        let spec = &self.competition.spec;
        let words = spec.metric.describe(tally, spec.samples, &spec.task);
        match spec.metric.hits(tally) {
            Some(_) => words,
            None => format!("a {words}"),
        }
    }
}

fn ending_height(ending: Ending) -> agon_protocol::units::Height {
    match ending {
        Ending::Paid { height } | Ending::Void { height, .. } | Ending::Cancelled { height } => {
            height
        }
    }
}

fn deposit(record: Option<&Registration>) -> String {
    match record.map(|record| record.deposit) {
        None | Some(Deposit::Returned) => "returned",
        Some(Deposit::Held) => "held",
        Some(Deposit::Forfeited) => "lost",
    }
    .into()
}
