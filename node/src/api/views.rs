//! From the ledger's objects to the JSON objects of the API.

use agon_consensus::{Contradiction, Evidence, Message};
use agon_protocol::block::Block;
use agon_protocol::competition::{BlobRef, Competition, CompetitionSpec, Registration};
use agon_protocol::governance::{Measure, Validator};
use agon_protocol::identity::Signature;
use agon_protocol::scorer;
use agon_protocol::state::State;
use agon_protocol::transition::{Event, Outcome, Payment, Receipt};
use agon_protocol::units::{Height, TimeMs};

use super::types::{
    BlobView, BlockTransaction, BlockView, CertificateView, CompetitionSummary, CompetitionView,
    EvidenceView, Leaderboard, LeaderboardEntry, PendingMeasure, ReceiptView, RegistrationView,
    SignedChoice, ValidatorView, ValidatorsView,
};
use crate::ledger::CommittedBlock;

pub(crate) fn validators(state: &State) -> ValidatorsView {
    let governance = state.governance();
    let member = |validator: &Validator| ValidatorView {
        account: validator.account,
        power: validator.power,
        rotated_at: validator.rotated_at.map(Height::get),
    };
    let pending = |measure: Measure| {
        let approving = governance.validators.iter();
        let approving = approving.filter(|validator| validator.approvals.contains(&measure));
        PendingMeasure {
            approving_power: governance.approving_power(&measure),
            approved_by: approving.map(|validator| validator.account).collect(),
            measure,
        }
    };
    ValidatorsView {
        height: state.height().get(),
        set_version: governance.set_version,
        total_power: governance.total_power(),
        validators: governance.validators.iter().map(member).collect(),
        pending: governance
            .open_measures()
            .into_iter()
            .map(pending)
            .collect(),
        protocol_version: governance.protocol_version,
        upgrade: governance.upgrade,
    }
}

pub(super) fn evidence(evidence: &Evidence) -> EvidenceView {
    let choice = |message: &Message| SignedChoice {
        block: message.block,
        valid_round: message.valid_round,
        signature: Signature::from_raw(message.signature),
    };
    let kind = match evidence.kind {
        Contradiction::Prevote => "prevote",
        Contradiction::Precommit => "precommit",
        Contradiction::Proposal => "proposal",
    };
    EvidenceView {
        validator: evidence.validator,
        height: evidence.height.get(),
        round: evidence.round,
        kind: kind.into(),
        messages: [choice(&evidence.first), choice(&evidence.second)],
    }
}

fn blob(blob: BlobRef) -> BlobView {
    BlobView {
        id: blob.id,
        length: blob.length,
    }
}

pub(super) fn summary(competition: &Competition, time: TimeMs) -> CompetitionSummary {
    let spec = &competition.spec;
    CompetitionSummary {
        id: competition.id,
        title: spec.title.clone(),
        host: competition.host,
        phase: competition.phase(time).to_string(),
        prize: competition.prize.get(),
        registrations: competition.registrations.len(),
        opens_at: spec.opens_at.get(),
        register_until: spec.register_until.get(),
        key_until: spec.key_until.get(),
        prove_until: spec.prove_until.get(),
        register_send_by: spec.registration_deadline().send_by().get(),
        key_send_by: spec.key_deadline().send_by().get(),
        prove_send_by: spec.proof_deadline().send_by().get(),
    }
}

pub(crate) fn competition(competition: &Competition, time: TimeMs) -> CompetitionView {
    let spec = &competition.spec;
    CompetitionView {
        summary: summary(competition, time),
        description: spec.description.clone(),
        encoding: spec.encoding.clone(),
        task: spec.task,
        samples: spec.samples,
        metric: spec.metric,
        max_parameters: spec.max_parameters,
        training_data: spec.training_data.map(blob),
        sealed_data: blob(spec.sealed_data),
        data_digest: spec.data_digest,
        key_commitment: spec.key_commitment,
        payouts: spec.payouts.clone(),
        deposit: spec.deposit.get(),
        bond: competition.bond.get(),
        submissions_per_registration: spec.submissions_per_registration,
        registrations_per_account: spec.registrations_per_account,
        minimum: spec.minimum,
        key: competition.key.map(|key| key.reveal()),
        registration_ids: competition
            .registrations
            .iter()
            .map(|entry| entry.id)
            .collect(),
    }
}

pub(crate) fn leaderboard(competition: &Competition, time: TimeMs) -> Leaderboard {
    let spec = &competition.spec;
    let settled = competition.ending.is_some();
    let entries = scorer::leaderboard(competition)
        .into_iter()
        .filter_map(|rank| {
            let registration = competition.registration(&rank.registration)?;
            Some(LeaderboardEntry {
                rank: rank.rank,
                competitor: rank.competitor,
                score: spec.metric.display(&rank.tally, spec.samples, &spec.task),
                correct: spec.metric.hits(&rank.tally),
                tally: rank.tally,
                samples: spec.samples,
                registration: rank.registration,
                height: registration.registered.height.get(),
                prize: settled.then_some(registration.paid.get()),
            })
        })
        .collect();
    let deadlines = [
        spec.opens_at,
        spec.register_until,
        spec.key_until,
        spec.prove_until,
    ];
    let next = deadlines.into_iter().find(|deadline| *deadline > time);
    Leaderboard {
        competition: competition.id,
        phase: competition.phase(time).to_string(),
        task: spec.task,
        metric: spec.metric,
        samples: spec.samples,
        settled,
        next_deadline: next.filter(|_| !settled).map(TimeMs::get),
        entries,
    }
}

pub(crate) fn registration(
    registration: &Registration,
    spec: &CompetitionSpec,
) -> RegistrationView {
    let (metric, best) = (&spec.metric, registration.best(&spec.metric));
    RegistrationView {
        id: registration.id,
        competition: registration.competition,
        competitor: registration.competitor,
        model: registration.model,
        height: registration.registered.height.get(),
        index: registration.registered.index,
        tally: best.cloned(),
        score: best.map(|tally| metric.display(tally, spec.samples, &spec.task)),
        correct: best.and_then(|tally| metric.hits(tally)),
        submissions: registration.submissions.len() as u32,
        withdrawn: false,
    }
}

pub(super) fn receipt(receipt: &Receipt) -> ReceiptView {
    match receipt.outcome {
        Outcome::Applied => ReceiptView::Accepted,
        Outcome::Refused { reason } => ReceiptView::Refused {
            reason: reason.to_string(),
        },
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

/// What a measure asks for, after "that".
fn words(measure: &Measure) -> String {
    match measure {
        Measure::SetPower { account, power: 0 } => format!("{} leaves the set", account.short()),
        Measure::SetPower { account, power } => {
            format!("{} has the power {power}", account.short())
        }
        Measure::Upgrade { version, height } => {
            format!("version {version} of the rules comes into force at height {height}")
        }
    }
}

/// An event in words.
fn event(event: &Event) -> String {
    match event {
        Event::Transferred { from, to, amount } => {
            format!("{} sent {amount} to {}", from.short(), to.short())
        }
        Event::Opened {
            competition,
            title,
            host,
            prize,
            bond: _,
        } => format!(
            "{} opened competition {} “{title}” with prize {prize}",
            host.short(),
            competition.short()
        ),
        Event::Cancelled {
            competition,
            payments: _,
        } => {
            format!("competition {} was cancelled", competition.short())
        }
        Event::Registered {
            competition,
            registration,
            competitor,
            model: _,
            deposit: _,
        } => format!(
            "{} registered {} in competition {}",
            competitor.short(),
            registration.short(),
            competition.short()
        ),
        Event::Withdrawn {
            competition,
            registration,
            competitor,
            deposit: _,
        } => format!(
            "{} withdrew {} from competition {}",
            competitor.short(),
            registration.short(),
            competition.short()
        ),
        Event::Approved {
            validator,
            measure,
            power,
            total,
        } => format!(
            "validator {} approved that {}; so do {power} of {total} of the voting power",
            validator.short(),
            words(measure)
        ),
        Event::PowerSet {
            account,
            power: 0,
            set_version: _,
        } => format!("{} is no validator any more", account.short()),
        Event::PowerSet {
            account,
            power,
            set_version: _,
        } => format!("{} is a validator with power {power}", account.short()),
        Event::KeyRotated { from, to } => {
            format!("validator {} has the new key {}", from.short(), to.short())
        }
        Event::UpgradeScheduled { version, height } => {
            format!("version {version} of the rules comes into force at height {height}")
        }
        Event::Upgraded { version } => format!("version {version} of the rules is in force"),
        Event::KeyReleased { competition } => {
            format!(
                "the test set of competition {} is open",
                competition.short()
            )
        }
        Event::ProofAccepted {
            competition,
            registration: _,
            competitor,
            metric,
            tally,
            samples,
            task,
        } => format!(
            "{} proved {} in competition {}",
            competitor.short(),
            metric.describe(tally, *samples, task),
            competition.short()
        ),
        Event::ProofRefused {
            competition,
            registration: _,
            competitor,
            claimed: _,
            deposit: _,
            reason,
        } => {
            format!(
                "{} claimed a score in competition {}: {reason}",
                competitor.short(),
                competition.short()
            )
        }
        Event::Settled {
            competition,
            ranks,
            payments,
        } => {
            let winner = ranks
                .first()
                .map(|rank| rank.competitor.short())
                .unwrap_or_default();
            format!(
                "competition {} was settled, {winner} won; {}",
                competition.short(),
                paid(payments)
            )
        }
        Event::Voided {
            competition,
            reason,
            payments,
            to_treasury: _,
        } => {
            format!(
                "competition {} is void ({reason:?}); {}",
                competition.short(),
                paid(payments)
            )
        }
    }
}

fn paid(payments: &[Payment]) -> String {
    let parts: Vec<_> = payments
        .iter()
        .map(|payment| format!("{} to {}", payment.amount, payment.account.short()))
        .collect();
    format!("paid: {}", parts.join(", "))
}
