//! Competitions, rankings and registrations.

use agon_protocol::competition::{
    BlobRef, Competition, Ending, Registration, Submission, VoidReason,
};
use agon_protocol::metric::Metric;
use agon_protocol::scorer::Rank;
use agon_protocol::transition::Payment;
use agon_protocol::units::{Height, TimeMs};

use crate::api::types::{
    BlobView, CompetitionLine, CompetitionSummary, CompetitionView, EndingView, Leaderboard,
    LeaderboardEntry, PaymentView, Position, RegistrationView, Rule, Step, Why, payment_reason,
};
use crate::reasons::{self, Reasons, deposit, payment_rule};

fn blob(blob: BlobRef) -> BlobView {
    BlobView {
        id: blob.id,
        length: blob.length,
    }
}

pub(in crate::api) fn summary(competition: &Competition, time: TimeMs) -> CompetitionSummary {
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

/// As the list shows it.
pub(in crate::api) fn line(competition: &Competition, time: TimeMs) -> CompetitionLine {
    let spec = &competition.spec;
    CompetitionLine {
        summary: summary(competition, time),
        metric: spec.metric,
        task: spec.task,
        samples: spec.samples,
        opened: opened(competition),
        next: next(competition, time),
    }
}

fn opened(competition: &Competition) -> Position {
    Position {
        height: competition.opened.height.get(),
        index: competition.opened.index,
        time_ms: competition.opened_at.get(),
    }
}

fn higher_is_better(metric: &Metric) -> bool {
    match metric {
        Metric::Accuracy
        | Metric::TopK { .. }
        | Metric::BalancedAccuracy
        | Metric::MacroF1
        | Metric::R2 => true,
        Metric::Mse | Metric::Rmse | Metric::Mae => false,
    }
}

fn timeline(competition: &Competition, time: TimeMs) -> Vec<Step> {
    let spec = &competition.spec;
    let (register, key, prove) = (
        spec.registration_deadline(),
        spec.key_deadline(),
        spec.proof_deadline(),
    );
    let steps = [
        ("registration_opens", spec.opens_at, None),
        ("registration_closes", register.at, Some(register.send_by())),
        ("key_due", key.at, Some(key.send_by())),
        ("proofs_due", prove.at, Some(prove.send_by())),
    ];
    steps
        .into_iter()
        .map(|(step, at, send_by)| Step {
            step: step.into(),
            at_ms: at.get(),
            send_by_ms: send_by.map(TimeMs::get),
            passed: at <= time,
        })
        .collect()
}

/// The first deadline that lies ahead, while the competition runs.
pub(in crate::api) fn next(competition: &Competition, time: TimeMs) -> Option<Step> {
    let running = competition.ending.is_none();
    let mut steps = timeline(competition, time).into_iter();
    steps.find(|step| !step.passed).filter(|_| running)
}

/// How a competition ended; `payments` as its block has them.
pub(in crate::api) fn ending(ending: Ending, payments: Option<&[Payment]>) -> EndingView {
    let (outcome, height, reason, words) = match ending {
        Ending::Paid { height } => ("paid", height, None, "the winners were paid"),
        Ending::Void {
            height,
            reason: VoidReason::KeyMissed,
        } => (
            "void",
            height,
            Some("key_missed"),
            "the host did not release the key in time: its bond was split among the registrations",
        ),
        Ending::Void {
            height,
            reason: VoidReason::NoScore,
        } => (
            "void",
            height,
            Some("no_score"),
            "no registration proved a score that earns a rank: prize and bond went back to the host",
        ),
        Ending::Cancelled { height } => (
            "cancelled",
            height,
            None,
            "the host took it back: prize and bond went back to it",
        ),
    };
    EndingView {
        outcome: outcome.into(),
        height: height.get(),
        reason: reason.map(Into::into),
        words: words.into(),
        payments: payments.map(|payments| payments.iter().map(payment).collect()),
    }
}

fn payment(payment: &Payment) -> PaymentView {
    PaymentView {
        account: payment.account,
        amount: payment.amount.get(),
        reason: payment_reason(payment.reason).into(),
        registration: payment.registration,
        rule: payment_rule(payment.reason).into(),
    }
}

/// The submission that counts for its registration.
pub(in crate::api) fn counting<'a>(
    registration: &'a Registration,
    metric: &Metric,
) -> Option<&'a Submission> {
    let best = registration.best(metric)?;
    let mut submissions = registration.submissions.iter();
    submissions.find(|one| std::ptr::eq(&one.tally, best))
}

fn why(why: reasons::Why) -> Why {
    Why {
        outcome: why.outcome.into(),
        rule: why.rule.into(),
        what: why.what,
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
        opened: opened(competition),
        higher_is_better: higher_is_better(&spec.metric),
        minimum_words: spec.minimum.display(&spec.metric, spec.samples, &spec.task),
        features: spec.width(),
        key_height: competition.key_height.map(Height::get),
        timeline: timeline(competition, time),
    }
}

pub(crate) fn leaderboard(reasons: &Reasons, time: TimeMs) -> Leaderboard {
    let competition = reasons.competition();
    let spec = &competition.spec;
    let settled = competition.ending.is_some();
    let entries = reasons.ranks().iter();
    Leaderboard {
        competition: competition.id,
        phase: competition.phase(time).to_string(),
        task: spec.task,
        metric: spec.metric,
        samples: spec.samples,
        settled,
        next_deadline: next(competition, time).map(|step| step.at_ms),
        higher_is_better: higher_is_better(&spec.metric),
        ties: Rule {
            rule: "SET-2".into(),
            words: TIES.into(),
        },
        entries: entries
            .filter_map(|rank| entry(reasons, rank, settled))
            .collect(),
    }
}

/// Rule SET-2 for people.
const TIES: &str = "of entries with the same points, the one that was registered earlier is ahead: by the height of the \
                    registration's block, then by its index in that block";

fn entry(reasons: &Reasons, rank: &Rank, settled: bool) -> Option<LeaderboardEntry> {
    let spec = &reasons.competition().spec;
    let registration = reasons.registration(&rank.registration)?;
    let registered = registration.registered;
    Some(LeaderboardEntry {
        rank: rank.rank,
        competitor: rank.competitor,
        score: spec.metric.display(&rank.tally, spec.samples, &spec.task),
        score_words: spec.metric.describe(&rank.tally, spec.samples, &spec.task),
        correct: spec.metric.hits(&rank.tally),
        tally: rank.tally.clone(),
        samples: spec.samples,
        registration: rank.registration,
        height: registered.height.get(),
        index: registered.index,
        registered_at: registration.registered_at.get(),
        prize: settled.then_some(registration.paid.get()),
        would_earn: rank.amount.get(),
        tied: reasons.is_tied(rank),
        why: why(reasons.why(registration)),
    })
}

pub(crate) fn registration(registration: &Registration, reasons: &Reasons) -> RegistrationView {
    let spec = &reasons.competition().spec;
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
        registered_at: registration.registered_at.get(),
        score_words: best.map(|tally| metric.describe(tally, spec.samples, &spec.task)),
        rank: reasons.rank(&registration.id).map(|rank| rank.rank),
        paid: registration.paid.get(),
        deposit: deposit(Some(registration)).into(),
        why: why(reasons.why(registration)),
    }
}
