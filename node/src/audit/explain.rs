//! Why a competitor's result is what it is: from the blocks to words, with the rule that each answer comes from.

use agon_protocol::competition::{Competition, Ending, Registration};
use agon_protocol::digest::{CompetitionId, RegistrationId};
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::Action;
use agon_protocol::transition::Outcome;

use super::explanation::{Explanation, PaymentTold, Told, TransactionTold};
use super::history::{Acted, Entered, History, read};
use super::replay::Replay;
use super::run::AuditError;
use super::source::Source;
use crate::node::clock::next_block_time;
use crate::reasons::{Reasons, Why, deposit, payment_rule};
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
    reasons: Reasons,
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
            reasons: Reasons::new(history.competition.clone()),
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
            ranked: self.reasons.ranks().len(),
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
        let rank = self.reasons.rank(&entry.id);
        Told {
            registration: entry.id,
            model: entry.model,
            height: entry.receipt.height.get(),
            index: entry.receipt.index,
            tally: best.cloned(),
            score: best.map(|tally| self.reasons.words(tally)),
            rank: rank.map(|rank| rank.rank),
            prize: record.map_or(0, |record| record.paid.get()),
            deposit: deposit(record).into(),
            why: self.why(entry, record),
        }
    }

    /// The answer, and the rule that it comes from.
    fn why(&self, entry: &Entered, record: Option<&Registration>) -> Why {
        let Some(record) = record.filter(|_| !entry.withdrawn) else {
            let what = "it was withdrawn before registration closed, and its deposit went back";
            return Why::new("withdrawn", "WD-3", what);
        };
        self.reasons.why(record)
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
                ("SUB-8", format!("proved {}", self.reasons.words(tally)))
            }
            (Action::SubmitProof { tally, .. }, Outcome::Refused { reason }) => (
                "SUB-9",
                format!("claimed {}: {reason}", self.reasons.words(tally)),
            ),
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
            rule: payment_rule(paid.payment.reason).into(),
        })
        .collect()
    }
}

fn ending_height(ending: Ending) -> agon_protocol::units::Height {
    match ending {
        Ending::Paid { height } | Ending::Void { height, .. } | Ending::Cancelled { height } => {
            height
        }
    }
}
