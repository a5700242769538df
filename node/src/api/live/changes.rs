//! What changed: from one look at the chain, the pool and the clock to the next.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use agon_protocol::codec::Encode;
use agon_protocol::digest::{CompetitionId, TransactionId};
use agon_protocol::state::State;
use agon_protocol::transition::Event;
use agon_protocol::units::{Height, TimeMs};

use super::super::types::{
    BlockEvent, CompetitionEvent, FirstRank, LeaderboardEvent, RegistrationEvent,
};
use super::super::{Shared, submissions, views};
use crate::ledger::{CommittedBlock, LedgerError};
use crate::node::clock::next_block_time;

/// Words of a block that an event has.
const MAX_WORDS: usize = 64;
/// A node that catches up on more blocks than this at once tells of the last one alone.
const MAX_BLOCKS: u64 = 64;

/// What was seen last.
#[derive(Debug)]
pub(super) struct Seen {
    height: u64,
    phases: HashMap<CompetitionId, String>,
    /// States of submissions that are in no block.
    proofs: HashMap<TransactionId, String>,
    evidence: BTreeSet<Vec<u8>>,
}

impl Seen {
    /// What is there now, of which nobody needs to be told.
    pub(super) fn now(shared: &Shared) -> Self {
        let state = shared.api.ledger.state();
        let time = next_block_time(&state);
        let phases = state.competitions();
        // a store that cannot be read says so at the next look
        let evidence = shared.api.ledger.evidence().unwrap_or_default();
        let proofs = shared.api.mempool.proofs(|_| true).into_iter();
        Self {
            height: state.height().get(),
            phases: phases
                .map(|one| (one.id, one.phase(time).to_string()))
                .collect(),
            proofs: proofs
                .map(|one| {
                    (
                        one.transaction,
                        submissions::stage_name(one.stage).to_owned(),
                    )
                })
                .collect(),
            evidence: evidence.iter().map(Encode::to_bytes).collect(),
        }
    }

    /// Tells of the blocks that came, and of what they changed.
    pub(super) fn blocks(&mut self, shared: &Shared) -> Result<(), LedgerError> {
        let ledger = &shared.api.ledger;
        let tip = ledger.state().height().get();
        if tip <= self.height {
            return Ok(());
        }
        if tip.saturating_sub(self.height) > MAX_BLOCKS {
            self.height = tip - 1;
        }
        while self.height < tip {
            self.height += 1;
            if self.height == tip {
                shared.lines.arrived(ledger, tip)?;
            }
            // the block of a snapshot has no record of what it did
            if let Some(block) = ledger.block(Height::new(self.height))? {
                self.block(shared, &block)?;
            }
        }
        self.evidence(shared)
    }

    fn block(&mut self, shared: &Shared, block: &CommittedBlock) -> Result<(), LedgerError> {
        let ledger = &shared.api.ledger;
        let Some(line) = shared.lines.line(ledger, self.height)? else {
            return Ok(());
        };
        let events = &block.outcome.events;
        let words = events.iter().take(MAX_WORDS).map(views::event).collect();
        let told = BlockEvent {
            block: line,
            events: words,
        };
        shared.journal.add("block", None, &told);
        let state = ledger.state();
        let mut ranked = BTreeSet::new();
        for event in events {
            self.event(shared, &state, event, &mut ranked);
        }
        self.phases(shared, &state);
        for receipt in &block.outcome.receipts {
            if receipt.action == "submit_proof" {
                self.proofs.remove(&receipt.transaction);
                // what the state no longer has, it need not be told of
                if let Ok(view) = submissions::look_up(&shared.api, &receipt.transaction) {
                    shared.journal.add("submission", view.competition, &view);
                }
            }
        }
        for competition in ranked {
            self.ranking(shared, &state, competition);
        }
        Ok(())
    }

    fn event(
        &self,
        shared: &Shared,
        state: &State,
        event: &Event,
        ranked: &mut BTreeSet<CompetitionId>,
    ) {
        let (competition, registration, competitor, withdrawn) = match event {
            Event::Registered {
                competition,
                registration,
                competitor,
                ..
            } => (competition, registration, competitor, false),
            Event::Withdrawn {
                competition,
                registration,
                competitor,
                ..
            } => (competition, registration, competitor, true),
            Event::ProofAccepted { competition, .. } | Event::Settled { competition, .. } => {
                ranked.insert(*competition);
                return;
            }
            _ => return,
        };
        let count = state
            .competition(competition)
            .map_or(0, |found| found.registrations.len());
        let told = RegistrationEvent {
            competition: *competition,
            registration: *registration,
            competitor: *competitor,
            withdrawn,
            registrations: count,
            height: self.height,
        };
        shared
            .journal
            .add("registration", Some(*competition), &told);
    }

    fn ranking(&self, shared: &Shared, state: &State, id: CompetitionId) {
        let Some(competition) = state.shared_competition(&id) else {
            return;
        };
        let standing = shared.standings.of(&competition);
        let ranks = standing.reasons.ranks();
        let spec = &competition.spec;
        let first = ranks.first().map(|rank| FirstRank {
            registration: rank.registration,
            competitor: rank.competitor,
            score: spec.metric.display(&rank.tally, spec.samples, &spec.task),
            score_words: spec.metric.describe(&rank.tally, spec.samples, &spec.task),
        });
        let told = LeaderboardEvent {
            competition: id,
            height: self.height,
            ranked: ranks.len(),
            first,
        };
        shared.journal.add("leaderboard", Some(id), &told);
    }

    /// Tells of phases that begin, also by the clock alone.
    pub(super) fn phases(&mut self, shared: &Shared, state: &Arc<State>) {
        let time = next_block_time(state);
        let mut changed: Vec<_> = state
            .competitions()
            .filter_map(|competition| {
                let phase = competition.phase(time).to_string();
                let same = self.phases.get(&competition.id) == Some(&phase);
                (!same).then_some((competition, phase))
            })
            .collect();
        changed.sort_by_key(|(competition, _)| competition.opened);
        for (competition, phase) in changed {
            let before = self.phases.insert(competition.id, phase.clone());
            let told = CompetitionEvent {
                competition: competition.id,
                title: competition.spec.title.clone(),
                phase,
                before,
                height: state.height().get(),
            };
            shared
                .journal
                .add("competition", Some(competition.id), &told);
        }
    }

    /// Tells of submissions whose state in this node's pool changed.
    pub(super) fn pool(&mut self, shared: &Shared) {
        let waiting = shared.api.mempool.proofs(|_| true);
        let now: HashMap<_, _> = waiting
            .iter()
            .map(|one| {
                (
                    one.transaction,
                    submissions::stage_name(one.stage).to_owned(),
                )
            })
            .collect();
        let gone = self.proofs.keys().filter(|id| !now.contains_key(*id));
        let mut changed: Vec<TransactionId> = gone.copied().collect();
        let other = waiting.iter().map(|one| one.transaction);
        changed.extend(other.filter(|id| self.proofs.get(id) != now.get(id)));
        for id in changed {
            // one that a block took is told of with its block
            if let Ok(view) = submissions::look_up(&shared.api, &id)
                && view.height.is_none()
            {
                shared.journal.add("submission", view.competition, &view);
            }
        }
        self.proofs = now;
    }

    fn evidence(&mut self, shared: &Shared) -> Result<(), LedgerError> {
        for evidence in shared.api.ledger.evidence()? {
            if self.evidence.insert(evidence.to_bytes()) {
                let view = views::evidence(&evidence);
                shared.journal.add("evidence", None, &view);
            }
        }
        Ok(())
    }

    /// How long until a phase ends by the clock.
    pub(super) fn until_deadline(state: &State) -> Option<Duration> {
        let now = next_block_time(state);
        let running = state
            .competitions()
            .filter(|competition| competition.ending.is_none());
        let deadlines = running.flat_map(|competition| {
            let spec = &competition.spec;
            [spec.opens_at, spec.register_until]
        });
        let next = deadlines.filter(|deadline| *deadline > now).min();
        next.map(|next: TimeMs| Duration::from_millis(next.since(now)))
    }
}
