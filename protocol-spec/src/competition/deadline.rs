//! Deadlines and the grace before them: by when to send, so that a busy network cannot make a transaction late.
//!
//! The rules know deadlines alone. The grace is an agreement between clients and mempools: a client sends by the deadline
//! less the grace, and from twice the grace before the deadline on mempools and proposers put such a transaction
//! before others.

use crate::competition::CompetitionSpec;
use crate::state::State;
use crate::transactions::Action;
use crate::units::TimeMs;

/// The longest grace, in milliseconds.
pub const MAX_GRACE_MS: u64 = 60_000;
/// A grace is this part of its phase, unless that is longer than [`MAX_GRACE_MS`].
const GRACE_PART: u64 = 10;

/// The end of a phase, and the grace before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Transactions of the phase are taken in blocks before this time.
    pub at: TimeMs,
    /// A tenth of the phase, at most a minute.
    pub grace_ms: u64,
}

impl Deadline {
    /// The deadline of a phase from `start` to `end`.
    pub fn of_phase(start: TimeMs, end: TimeMs) -> Self {
        Self {
            at: end,
            grace_ms: (end.since(start) / GRACE_PART).min(MAX_GRACE_MS),
        }
    }

    /// By when to send.
    pub fn send_by(&self) -> TimeMs {
        TimeMs::new(self.at.get().saturating_sub(self.grace_ms))
    }

    /// Whether a transaction of the phase comes before others at `now`: less than twice the grace is left.
    pub fn is_near(&self, now: TimeMs) -> bool {
        now < self.at && self.at.since(now) <= 2 * self.grace_ms
    }
}

impl CompetitionSpec {
    /// Of registrations and withdrawals.
    pub fn registration_deadline(&self) -> Deadline {
        Deadline::of_phase(self.opens_at, self.register_until)
    }

    /// Of the release of the key.
    pub fn key_deadline(&self) -> Deadline {
        Deadline::of_phase(self.register_until, self.key_until)
    }

    /// Of proofs. The phase is counted from the last moment at which the key may come.
    pub fn proof_deadline(&self) -> Deadline {
        Deadline::of_phase(self.key_until, self.prove_until)
    }
}

impl State {
    /// By when an action must be in a block; none for one that is never late, or whose competition this state does not know.
    pub fn deadline(&self, action: &Action) -> Option<Deadline> {
        match action {
            Action::Transfer { .. }
            | Action::OpenCompetition { .. }
            | Action::CancelCompetition { .. }
            | Action::Approve { .. }
            | Action::RotateKey { .. } => None,
            Action::Register { competition, .. } => {
                let competition = self.competition(competition)?;
                Some(competition.spec.registration_deadline())
            }
            Action::ReleaseKey { competition, .. } => {
                Some(self.competition(competition)?.spec.key_deadline())
            }
            Action::Withdraw { registration } => {
                let competition = self.registration(registration)?.competition;
                let competition = self.competition(&competition)?;
                Some(competition.spec.registration_deadline())
            }
            Action::SubmitProof { registration, .. } => {
                let competition = self.registration(registration)?.competition;
                Some(self.competition(&competition)?.spec.proof_deadline())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_is_a_tenth_of_the_phase_and_at_most_a_minute() {
        let deadline =
            |length: u64| Deadline::of_phase(TimeMs::new(1_000), TimeMs::new(1_000 + length));
        assert_eq!(deadline(100).grace_ms, 10);
        assert_eq!(deadline(100).send_by(), TimeMs::new(1_090));
        assert_eq!(deadline(86_400_000).grace_ms, MAX_GRACE_MS);
        assert_eq!(deadline(0).send_by(), TimeMs::new(1_000));
    }

    #[test]
    fn a_deadline_is_near_within_twice_its_grace_and_not_after_it() {
        let deadline = Deadline::of_phase(TimeMs::new(0), TimeMs::new(100));
        for (now, near) in [(79, false), (80, true), (99, true), (100, false)] {
            assert_eq!(deadline.is_near(TimeMs::new(now)), near, "{now}");
        }
    }
}
