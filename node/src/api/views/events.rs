//! What happened in a block, in words.

use agon_protocol::governance::Measure;
use agon_protocol::transition::{Event, Payment};

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
pub(in crate::api) fn event(event: &Event) -> String {
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
