//! What comes from the public swarm: transactions into the mempool, news of longer chains to the follower.

use std::sync::Arc;

use agon_network::{Event, RefusalReason, Ticket};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::clock::next_block_time;
use super::wanted::Wanted;
use crate::ledger::Ledger;
use crate::mempool::{Mempool, Origin};
use crate::metrics::SwarmInstruments;

/// Transactions that are checked at once.
const MAX_CHECKS: usize = 16;

pub(super) struct Gossip {
    pub(super) ledger: Arc<Ledger>,
    pub(super) mempool: Arc<Mempool>,
    pub(super) wanted: Arc<Wanted>,
    pub(super) instruments: SwarmInstruments,
    /// Rung when a peer may have a longer chain.
    pub(super) longer: Arc<Notify>,
}

impl Gossip {
    pub(super) async fn run(self, mut events: mpsc::Receiver<Event>, shutdown: CancellationToken) {
        let checks = Arc::new(Semaphore::new(MAX_CHECKS));
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                None => return,
                Some(Event::Transaction {
                    bytes,
                    source: _,
                    ticket,
                }) => {
                    let Ok(place) = checks.clone().acquire_owned().await else {
                        return;
                    };
                    let (ledger, mempool, wanted) = (
                        self.ledger.clone(),
                        self.mempool.clone(),
                        self.wanted.clone(),
                    );
                    let instruments = self.instruments.clone();
                    tokio::task::spawn_blocking(move || {
                        instruments.gossip(admit(&ledger, &mempool, &wanted, &bytes, ticket));
                        drop(place);
                    });
                }
                Some(Event::Tip { .. } | Event::PeerConnected { .. }) => self.longer.notify_one(),
                Some(Event::PeerDisconnected { peer }) => tracing::debug!(%peer, "a peer left"),
                Some(Event::PeerRefused { peer, reason }) => {
                    self.instruments.refused(match reason {
                        RefusalReason::OtherNetwork { .. } => "other_network",
                        RefusalReason::NoIntroduction => "no_introduction",
                        RefusalReason::Banned(_) => "banned",
                    });
                    tracing::info!(event = "peer_refused", %peer, ?reason, "a peer was turned away");
                }
            }
        }
    }
}

/// Admits a transaction, or not; says what was made of it.
fn admit(
    ledger: &Ledger,
    mempool: &Mempool,
    wanted: &Wanted,
    bytes: &[u8],
    ticket: Ticket,
) -> &'static str {
    let state = ledger.state();
    match mempool.admit(bytes, &state, next_block_time(&state), Origin::Peer) {
        Ok(admission) => {
            ticket.accept();
            if admission.new {
                wanted.ring();
            }
            "accepted"
        }
        Err(refusal) if refusal.is_fault() => {
            ticket.reject();
            "rejected"
        }
        Err(refusal) => {
            tracing::debug!(%refusal, "a transaction of a peer was not taken");
            ticket.ignore();
            "ignored"
        }
    }
}
