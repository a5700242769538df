//! What happened in one competition, from the blocks: every transaction with its receipt, every registration that was ever
//! made, every payment.

use std::sync::Arc;

use agon_protocol::competition::Competition;
use agon_protocol::digest::{CompetitionId, ModelDigest, RegistrationId};
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Question, Verdict};
use agon_protocol::transactions::Action;
use agon_protocol::transition::{Event, Payment, PaymentReason, Receipt};
use agon_protocol::units::Amount;

use super::claims::{Claims, Judging};
use super::replay::{Replay, Step};
use super::run::AuditError;
use super::source::Source;
use crate::verification::{ProofVerifier, claim_digest};

/// A registration, also one that was taken back.
#[derive(Debug, Clone)]
pub(super) struct Entered {
    pub(super) id: RegistrationId,
    pub(super) competitor: AccountId,
    pub(super) model: ModelDigest,
    pub(super) receipt: Receipt,
    pub(super) withdrawn: bool,
}

/// A transaction in the competition.
#[derive(Debug, Clone)]
pub(super) struct Acted {
    pub(super) receipt: Receipt,
    pub(super) action: Action,
    /// Why a proof is invalid, when that could be found again.
    pub(super) why: Option<String>,
}

/// Money that left the competition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paid {
    pub(super) height: u64,
    pub(super) payment: Payment,
}

/// The history of one competition.
#[derive(Debug)]
pub(super) struct History {
    pub(super) competition: Arc<Competition>,
    pub(super) replay: Replay,
    pub(super) entered: Vec<Entered>,
    pub(super) acted: Vec<Acted>,
    pub(super) paid: Vec<Paid>,
}

/// Reads the chain of `source` and keeps what concerns `competition`. Certificates and rules are checked; verdicts follow from
/// the certified roots. `None` when the chain has no such competition.
pub(super) fn read(
    source: &dyn Source,
    verifier: &dyn ProofVerifier,
    mut replay: Replay,
    competition: CompetitionId,
) -> Result<Option<History>, AuditError> {
    let mut collected = Collected {
        competition,
        claims: Claims::default(),
        entered: Vec::new(),
        acted: Vec::new(),
        paid: Vec::new(),
        judging: Judging { source, verifier },
    };
    let tip = source.tip()?;
    replay.run(source, tip, |step| {
        collected.step(step);
        true
    })?;
    let Some(competition) = replay.state().shared_competition(&competition) else {
        return Ok(None);
    };
    let Collected {
        entered,
        acted,
        paid,
        ..
    } = collected;
    Ok(Some(History {
        competition,
        replay,
        entered,
        acted,
        paid,
    }))
}

struct Collected<'a> {
    competition: CompetitionId,
    claims: Claims,
    entered: Vec<Entered>,
    acted: Vec<Acted>,
    paid: Vec<Paid>,
    judging: Judging<'a>,
}

impl Collected<'_> {
    fn step(&mut self, step: &Step) {
        self.claims.add(step);
        let signed = step.block.transactions.iter();
        for (receipt, signed) in step.applied.receipts.iter().zip(signed) {
            if receipt.competition == Some(self.competition) {
                self.acted.push(Acted {
                    receipt: receipt.clone(),
                    action: signed.transaction.action.clone(),
                    why: self.why_invalid(step, receipt),
                });
            }
        }
        let height = step.block.height.get();
        for event in &step.applied.events {
            self.event(height, event, step);
        }
    }

    fn event(&mut self, height: u64, event: &Event, step: &Step) {
        let mine = |id: &CompetitionId| *id == self.competition;
        match event {
            Event::Registered {
                competition,
                registration,
                competitor,
                model,
                deposit: _,
            } if mine(competition) => {
                let mut receipts = step.applied.receipts.iter();
                let receipt = receipts.find(|receipt| receipt.registration == Some(*registration));
                self.entered.extend(receipt.map(|receipt| Entered {
                    id: *registration,
                    competitor: *competitor,
                    model: *model,
                    receipt: receipt.clone(),
                    withdrawn: false,
                }));
            }
            Event::Withdrawn {
                competition,
                registration,
                competitor,
                deposit,
            } if mine(competition) => {
                for entry in &mut self.entered {
                    entry.withdrawn |= entry.id == *registration;
                }
                self.paid.push(Paid {
                    height,
                    payment: deposit_back(*competitor, *deposit, *registration),
                });
            }
            Event::Settled {
                competition,
                payments,
                ..
            }
            | Event::Voided {
                competition,
                payments,
                ..
            }
            | Event::Cancelled {
                competition,
                payments,
            } if mine(competition) => {
                let paid = payments.iter().map(|payment| Paid {
                    height,
                    payment: *payment,
                });
                self.paid.extend(paid);
            }
            _ => {}
        }
    }

    fn why_invalid(&self, step: &Step, receipt: &Receipt) -> Option<String> {
        let mut decided = step.decided.iter();
        let refused = decided.find(|decided| {
            decided.transaction == receipt.transaction
                && decided.verdict == Verdict::Invalid
                && matches!(decided.question, Question::Proof(_))
        })?;
        let questions = [refused.question.clone()];
        let mut found = self.judging.find(&questions, &self.claims);
        found.remove(&claim_digest(&questions[0]))?.1
    }
}

fn deposit_back(account: AccountId, amount: Amount, registration: RegistrationId) -> Payment {
    Payment {
        account,
        amount,
        reason: PaymentReason::Deposit,
        registration: Some(registration),
    }
}
