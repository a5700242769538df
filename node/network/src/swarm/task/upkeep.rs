//! What nobody asks for: finding peers, lifting bans, announcing.

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{PeerId, identify, kad};
use std::time::Duration;
use tokio::time::Instant;

use super::{Asked, Task, provider_key};
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
        for address in info.listen_addrs.into_iter().take(MAX_ADDRESSES) {
            let kademlia = &mut self.swarm.behaviour_mut().kademlia;
            kademlia.add_address(&peer_id, address);
        }
    }

    pub(super) fn kademlia_event(&mut self, event: kad::Event) {
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
        for peer in known.into_iter().take(DIALS_PER_ROUND) {
            self.dial_known(peer);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.dismiss(now);
        for peer in self.peers.tidy(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
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
            self.discover();
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
        for info in self.peers.accepted_peers() {
            self.ask(info.peer, Request::Tip(tip), Asked::Tip);
        }
    }
}
