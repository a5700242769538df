//! What one block means to one account.

use agon_protocol::identity::AccountId;
use agon_protocol::transactions::Action;
use agon_protocol::transition::{Event, Outcome, Payment, Receipt};

use super::types::HistoryEntry;
use super::views;
use crate::ledger::CommittedBlock;
use crate::reasons::payment_rule;

/// Newest first: in a block, settlements come before transactions.
pub(super) fn of_block(account: &AccountId, block: &CommittedBlock) -> Vec<HistoryEntry> {
    let mut entries = Vec::new();
    for event in &block.outcome.events {
        entries.extend(paid(account, block, event));
    }
    for receipt in &block.outcome.receipts {
        if receipt.sender == *account {
            let accepted = receipt.outcome == Outcome::Applied;
            let (amount, counterparty, words) = did(block, receipt);
            entries.push(HistoryEntry {
                amount,
                counterparty,
                words,
                index: Some(receipt.index),
                kind: "sent".into(),
                action: Some(receipt.action.clone()),
                transaction: Some(receipt.transaction),
                competition: receipt.competition,
                registration: receipt.registration,
                outcome: Some(if accepted { "accepted" } else { "refused" }.into()),
                rule: views::refusal_rule(receipt).map(Into::into),
                ..blank(block)
            });
        }
    }
    entries.reverse();
    entries
}

fn blank(block: &CommittedBlock) -> HistoryEntry {
    HistoryEntry {
        height: block.block.height.get(),
        time_ms: block.block.time.get(),
        index: None,
        kind: String::new(),
        action: None,
        transaction: None,
        amount: None,
        counterparty: None,
        competition: None,
        registration: None,
        outcome: None,
        rule: None,
        words: String::new(),
    }
}

/// What a transaction did for its sender: an amount that it gave and to whom, and words.
fn did(block: &CommittedBlock, receipt: &Receipt) -> (Option<u64>, Option<AccountId>, String) {
    let signed = block.block.transactions.get(receipt.index as usize);
    match signed.map(|signed| &signed.transaction.action) {
        Some(Action::Transfer { to, amount }) => {
            let words = format!("sent {amount} to {}", to.short());
            (Some(amount.get()), Some(*to), words)
        }
        _ => (None, None, receipt.action.replace('_', " ")),
    }
}

/// Money that the account received.
fn paid(account: &AccountId, block: &CommittedBlock, event: &Event) -> Vec<HistoryEntry> {
    let words = || views::event(event);
    let of_competition = |competition, payments: &[Payment]| {
        let own = payments
            .iter()
            .filter(|payment| payment.account == *account);
        let entry = |payment: &Payment| HistoryEntry {
            kind: "paid".into(),
            amount: Some(payment.amount.get()),
            competition: Some(competition),
            registration: payment.registration,
            rule: Some(payment_rule(payment.reason).into()),
            words: words(),
            ..blank(block)
        };
        own.map(entry).collect()
    };
    match event {
        Event::Transferred { from, to, amount } if to == account => vec![HistoryEntry {
            kind: "received".into(),
            amount: Some(amount.get()),
            counterparty: Some(*from),
            words: words(),
            ..blank(block)
        }],
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
        } => of_competition(*competition, payments),
        _ => Vec::new(),
    }
}
