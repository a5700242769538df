//! Who is connected, what they claim, and what they did wrong.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::bans::{Bans, Subject};
use super::gate::host;
use crate::event::{Misbehaviour, PeerInfo, Tip};

/// Points at which a peer is banned.
const BAN_POINTS: f64 = 100.0;
/// Points forgiven per second.
const FORGIVEN_PER_SECOND: f64 = 0.1;
/// Peers whose points are remembered; keys are free, so memory for them is not.
const MAX_REMEMBERED: usize = 10_000;

/// One connected peer.
#[derive(Debug)]
struct Connected {
    address: Multiaddr,
    incoming: bool,
    connections: HashSet<ConnectionId>,
    /// It named our network when it introduced itself: it may ask.
    introduced: bool,
    /// It named our network when we asked: it may be asked.
    tip: Option<Tip>,
    /// Its requests that are being answered.
    served: usize,
}

/// All that is known about peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    connected: HashMap<PeerId, Connected>,
    points: HashMap<PeerId, (f64, Instant)>,
    pub(super) bans: Bans,
}

impl Peers {
    /// Notes a connection, and says whether it is the first with this peer.
    pub(super) fn opened(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        address: Multiaddr,
        incoming: bool,
    ) -> bool {
        let entry = self.connected.entry(peer).or_insert_with(|| Connected {
            address,
            incoming,
            connections: HashSet::new(),
            introduced: false,
            tip: None,
            served: 0,
        });
        entry.connections.insert(connection);
        entry.connections.len() == 1
    }

    /// Notes the end of a connection; `Some` when it was the last, with whether the peer had been accepted.
    pub(super) fn closed(&mut self, peer: PeerId, connection: ConnectionId) -> Option<bool> {
        let entry = self.connected.get_mut(&peer)?;
        entry.connections.remove(&connection);
        if !entry.connections.is_empty() {
            return None;
        }
        let entry = self.connected.remove(&peer)?;
        Some(entry.tip.is_some())
    }

    /// The peer named our network when it introduced itself.
    pub(super) fn introduced(&mut self, peer: PeerId) {
        if let Some(entry) = self.connected.get_mut(&peer) {
            entry.introduced = true;
        }
    }

    /// The peer named our network when we asked. Says whether that is news.
    pub(super) fn accepted(&mut self, peer: PeerId, tip: Tip) -> bool {
        match self.connected.get_mut(&peer) {
            Some(entry) => entry.tip.replace(tip).is_none(),
            None => false,
        }
    }

    /// The peer says that its tip moved. Says whether that is news of an accepted peer.
    pub(super) fn tip_moved(&mut self, peer: PeerId, tip: Tip) -> bool {
        match self.connected.get_mut(&peer) {
            Some(Connected {
                tip: Some(known), ..
            }) => std::mem::replace(known, tip) != tip,
            _ => false,
        }
    }

    pub(super) fn may_ask(&self, peer: &PeerId) -> bool {
        self.connected
            .get(peer)
            .is_some_and(|entry| entry.introduced)
    }

    /// Whether the peer may be asked. Not when it is banned, also while its connection is still being closed.
    pub(super) fn is_accepted(&self, peer: &PeerId) -> bool {
        let entry = self.connected.get(peer);
        entry.is_some_and(|entry| entry.tip.is_some()) && !self.is_banned(peer)
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    pub(super) fn accepted_peers(&self, now: Instant) -> Vec<PeerInfo> {
        let mut list = Vec::new();
        for (peer, entry) in &self.connected {
            let Some(tip) = entry.tip else { continue };
            if self.is_banned(peer) {
                continue;
            }
            list.push(PeerInfo {
                peer: *peer,
                address: entry.address.clone(),
                incoming: entry.incoming,
                tip,
                points: self.points_of(peer, now),
            });
        }
        list.sort_by_key(|info| info.peer);
        list
    }

    fn points_of(&self, peer: &PeerId, now: Instant) -> u32 {
        let found = self.points.get(peer);
        // below the points of a ban, so no digit is lost
        found.map_or(0, |(points, since)| faded(*points, *since, now) as u32)
    }

    /// Connected peers, accepted or not yet.
    pub(super) fn count(&self) -> usize {
        self.connected.len()
    }

    /// Notes that a request is being answered, unless the peer has `limit` of them already.
    pub(super) fn begin_serving(&mut self, peer: &PeerId, limit: usize) -> bool {
        match self.connected.get_mut(peer) {
            Some(entry) if entry.served < limit => {
                entry.served += 1;
                true
            }
            _ => false,
        }
    }

    pub(super) fn end_serving(&mut self, peer: &PeerId) {
        if let Some(entry) = self.connected.get_mut(peer) {
            // A peer that left and came back starts from zero.
            entry.served = entry.served.saturating_sub(1);
        }
    }

    /// Adds to a peer's points, and says whether it is to be banned now.
    pub(super) fn blame(&mut self, peer: PeerId, misbehaviour: Misbehaviour, now: Instant) -> bool {
        let (points, since) = self.points.get(&peer).copied().unwrap_or((0.0, now));
        let points = faded(points, since, now) + misbehaviour.points();
        if points >= BAN_POINTS {
            self.points.remove(&peer);
            return true;
        }
        if self.points.len() < MAX_REMEMBERED || self.points.contains_key(&peer) {
            self.points.insert(peer, (points, now));
        }
        false
    }

    pub(super) fn is_banned(&self, peer: &PeerId) -> bool {
        self.bans.holds(&Subject::Peer(*peer))
    }

    /// The address of a connected peer.
    pub(super) fn host(&self, peer: &PeerId) -> Option<IpAddr> {
        host(&self.connected.get(peer)?.address)
    }

    /// Forgets what has faded.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.points
            .retain(|_, (points, since)| faded(*points, *since, now) > 0.0);
    }
}

fn faded(points: f64, since: Instant, now: Instant) -> f64 {
    let forgiven = now.saturating_duration_since(since).as_secs_f64() * FORGIVEN_PER_SECOND;
    (points - forgiven).max(0.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn three_invalid_transactions_ban_and_time_forgives() {
        let (mut peers, peer, now) = (Peers::default(), PeerId::random(), Instant::now());
        assert!(!peers.blame(peer, Misbehaviour::InvalidTransaction, now));
        assert!(!peers.blame(peer, Misbehaviour::InvalidTransaction, now));
        let later = now + Duration::from_secs(3600);
        assert!(!peers.blame(peer, Misbehaviour::InvalidTransaction, later));
        assert!(!peers.blame(peer, Misbehaviour::InvalidTransaction, later));
        assert!(peers.blame(peer, Misbehaviour::InvalidTransaction, later));
    }

    #[test]
    fn the_second_broken_message_bans_although_points_fade() {
        for misbehaviour in [Misbehaviour::BrokenMessage, Misbehaviour::UnexpectedAnswer] {
            let (mut peers, peer, now) = (Peers::default(), PeerId::random(), Instant::now());
            assert!(!peers.blame(peer, misbehaviour, now));
            assert!(peers.blame(peer, misbehaviour, now + Duration::from_secs(15)));
        }
    }

    #[test]
    fn a_wrong_chunk_bans_at_once_and_excess_only_after_five_thousand_times() {
        let (mut peers, peer, now) = (Peers::default(), PeerId::random(), Instant::now());
        assert!(peers.blame(peer, Misbehaviour::InvalidBlob, now));
        let times = (0..9_000).take_while(|_| !peers.blame(peer, Misbehaviour::Excess, now));
        assert!((4_990..5_010).contains(&times.count()));
    }

    #[test]
    fn a_banned_peer_is_asked_no_more_although_its_connection_is_still_there() {
        let (mut peers, peer, now) = (Peers::default(), PeerId::random(), Instant::now());
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let tip = Tip {
            first: 1,
            height: 0,
            block: agon_protocol::digest::BlockId::of(b"block"),
        };
        peers.opened(peer, ConnectionId::new_unchecked(1), address, true);
        assert!(peers.accepted(peer, tip));
        assert!(peers.is_accepted(&peer) && peers.accepted_peers(now).len() == 1);
        let moved = Tip { height: 1, ..tip };
        assert!(peers.tip_moved(peer, moved));
        assert!(!peers.tip_moved(peer, moved), "no news");
        let (who, second) = (Subject::Peer(peer), Duration::from_secs(1));
        peers.bans.ban(who, second, "x", true, 0, &mut Vec::new());
        assert!(!peers.is_accepted(&peer) && peers.accepted_peers(now).is_empty());
        assert!(peers.is_connected(&peer));
    }

    #[test]
    fn a_peer_is_gone_with_its_last_connection() {
        let (mut peers, peer) = (Peers::default(), PeerId::random());
        let (one, two) = (
            ConnectionId::new_unchecked(1),
            ConnectionId::new_unchecked(2),
        );
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert!(peers.opened(peer, one, address.clone(), true));
        assert!(!peers.opened(peer, two, address, false));
        assert_eq!(peers.closed(peer, one), None);
        assert_eq!(peers.closed(peer, two), Some(false));
        assert!(!peers.is_connected(&peer));
    }
}
