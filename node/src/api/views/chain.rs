//! Blocks and receipts.

use agon_protocol::block::Block;
use agon_protocol::competition::Refusal;
use agon_protocol::transition::{Outcome, Receipt};

use super::events::event;
use crate::api::types::{BlockTransaction, BlockView, CertificateView, ReceiptView};
use crate::ledger::CommittedBlock;

pub(in crate::api) fn receipt(receipt: &Receipt) -> ReceiptView {
    match receipt.outcome {
        Outcome::Applied => ReceiptView::Accepted,
        Outcome::Refused { reason } => ReceiptView::Refused {
            reason: reason.to_string(),
        },
    }
}

/// The rule by which a block refuses a transaction that is in it.
pub(in crate::api) fn refusal_rule(receipt: &Receipt) -> Option<&'static str> {
    match receipt.outcome {
        Outcome::Applied => None,
        Outcome::Refused {
            reason: Refusal::InvalidProof,
        } => Some("SUB-9"),
    }
}

pub(crate) fn block(committed: &CommittedBlock) -> BlockView {
    let CommittedBlock {
        block,
        certificate,
        outcome,
    } = committed;
    let Block {
        version: _,
        network: _,
        height,
        time,
        parent,
        proposer,
        state_root,
        transactions,
    } = block;
    let transactions = transactions
        .iter()
        .zip(&outcome.receipts)
        .map(|(signed, outcome)| BlockTransaction {
            id: outcome.transaction,
            sender: signed.transaction.sender,
            nonce: signed.transaction.nonce,
            action: signed.transaction.action.name().into(),
            receipt: receipt(outcome),
            rule: refusal_rule(outcome).map(Into::into),
            competition: outcome.competition,
            registration: outcome.registration,
        })
        .collect();
    BlockView {
        height: height.get(),
        id: certificate.block,
        parent: *parent,
        time_ms: time.get(),
        proposer: *proposer,
        state_root: *state_root,
        transactions,
        events: outcome.events.iter().map(event).collect(),
        certificate: CertificateView {
            round: certificate.round,
            signers: certificate
                .signatures
                .iter()
                .map(|signature| signature.validator)
                .collect(),
        },
    }
}
