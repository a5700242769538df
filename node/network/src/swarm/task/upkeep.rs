//! What nobody asks for: finding peers, lifting bans, announcing.

use libp2p::kad::store::{MemoryStore, RecordStore};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, identify, kad};
use std::time::Duration;
use tokio::time::Instant;

use super::{Asked, Task, provider_key};
use crate::event::Misbehaviour;
use crate::fetch::shuffled;
use crate::swarm::bans::wall_ms;
use crate::swarm::behaviour::protocol_version;
use crate::wire::Request;

/// Discovered peers are dialled at this pace while there are too few.
const DISCOVERY: Duration = Duration::from_secs(1);
/// Dials per round of discovery.
const DIALS_PER_ROUND: usize = 4;
/// Addresses taken from one peer; it may claim any number.
const MAX_ADDRESSES: usize = 8;

impl Task {
    pub(super) fn identify_event(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else {
            return;
        };
        if !self.config.discover || info.protocol_version != protocol_version(self.config.network) {
            return;
        }
        learn(
            &mut self.swarm.behaviour_mut().kademlia,
            peer_id,
            info.listen_addrs,
        );
    }

    /// Takes up that a peer holds a blob, within what one peer may offer and with a bounded number of addresses.
    fn offered(&mut self, mut record: kad::ProviderRecord) {
        // the table takes offers from their provider alone, so this is the peer that sent it
        if !self.rates.offer(record.provider, Instant::now()) {
            return self.blame(record.provider, Misbehaviour::Excess);
        }
        record.addresses.truncate(MAX_ADDRESSES);
        let store = self.swarm.behaviour_mut().kademlia.store_mut();
        if let Err(error) = store.add_provider(record) {
            tracing::debug!(%error, "an offer of a blob is not kept");
        }
    }

    pub(super) fn kademlia_event(&mut self, event: kad::Event) {
        if let kad::Event::InboundRequest {
            request: kad::InboundRequest::AddProvider { record },
        } = event
        {
            return record.into_iter().for_each(|record| self.offered(record));
        }
        let kad::Event::OutboundQueryProgressed {
            result: kad::QueryResult::GetProviders(Ok(found)),
            ..
        } = event
        else {
            return;
        };
        if let kad::GetProvidersOk::FoundProviders { providers, .. } = found {
            for peer in providers.into_iter().take(DIALS_PER_ROUND) {
                self.dial_known(peer);
            }
        }
    }

    /// Dials a peer whose address the routing table knows.
    fn dial_known(&mut self, peer: PeerId) {
        if !self.config.discover
            || self.peers.is_connected(&peer)
            || self.peers.is_banned(&peer)
            || peer == *self.swarm.local_peer_id()
        {
            return;
        }
        let dial = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing);
        if let Err(error) = self.swarm.dial(dial.build()) {
            tracing::debug!(%peer, %error, "a discovered peer is not dialled");
        }
    }

    fn discover(&mut self) {
        if self.peers.count() >= self.config.limits.wanted_peers {
            return;
        }
        let mut known = Vec::new();
        for bucket in self.swarm.behaviour_mut().kademlia.kbuckets() {
            for entry in bucket.iter() {
                known.push(*entry.node.key.preimage());
            }
        }
        known.retain(|peer| !self.peers.is_connected(peer));
        // from a random one on: those in front may be gone, or may never have been there
        for peer in shuffled(known).into_iter().take(DIALS_PER_ROUND) {
            self.dial_known(peer);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.dismiss(now);
        self.peers.tidy(now);
        for subject in self.peers.bans.tidy(wall_ms()) {
            self.let_in(subject);
        }
        self.save_bans();
        let peers = &self.peers;
        let settled = |peer: &PeerId| peers.is_connected(peer) || peers.is_banned(peer);
        for dial in self.bootstrap.due(now, settled) {
            let connection = dial.connection_id();
            if let Err(error) = self.swarm.dial(dial) {
                self.dial_failed(connection, &error);
            }
        }
        if now >= self.next_discovery {
            self.next_discovery = now + DISCOVERY;
            self.rates.tidy(now);
            self.discover();
            let dropped = std::mem::take(&mut self.dropped);
            if dropped > 0 {
                tracing::warn!(
                    dropped,
                    "the node is behind with its events; some are dropped"
                );
            }
        }
        self.announce_tip();
        if self.peers.count() > 0
            && let Some(id) = self.to_provide.pop_front()
        {
            let kademlia = &mut self.swarm.behaviour_mut().kademlia;
            if let Err(error) = kademlia.start_providing(provider_key(id)) {
                tracing::debug!(%error, blob = %id.short(), "a blob is not announced");
            }
        }
    }

    fn announce_tip(&mut self) {
        if self.announced.is_some() {
            return;
        }
        let tip = self.around.source.tip();
        self.announced = Some(tip);
        for info in self.peers.accepted_peers(Instant::now()) {
            self.ask(info.peer, Request::Tip(tip), Asked::Tip);
        }
    }
}

/// Takes up where a peer says that it listens. It may say something else again and again, so what it said before counts.
fn learn(kademlia: &mut kad::Behaviour<MemoryStore>, peer: PeerId, addresses: Vec<Multiaddr>) {
    let known = kademlia.kbucket(peer).and_then(|bucket| {
        let entry = bucket
            .iter()
            .find(|entry| *entry.node.key.preimage() == peer)?;
        Some(entry.node.value.len())
    });
    // those of connections that were made are there too
    let room = (2 * MAX_ADDRESSES).saturating_sub(known.unwrap_or(0));
    for address in addresses.into_iter().take(room.min(MAX_ADDRESSES)) {
        kademlia.add_address(&peer, address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_says_ever_other_addresses_gets_no_more_room() {
        let local = PeerId::random();
        let mut kademlia = kad::Behaviour::new(local, MemoryStore::new(local));
        let peer = PeerId::random();
        for round in 0..100 {
            let addresses = (0..20).map(|port| {
                let text = format!("/ip4/192.0.2.{round}/tcp/{}", port + 1);
                text.parse().unwrap()
            });
            learn(&mut kademlia, peer, addresses.collect());
        }
        let bucket = kademlia.kbucket(peer).unwrap();
        let kept: Vec<usize> = bucket.iter().map(|entry| entry.node.value.len()).collect();
        assert_eq!(kept, [2 * MAX_ADDRESSES]);
    }
}
