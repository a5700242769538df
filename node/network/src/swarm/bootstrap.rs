//! Keeps dialling the peers that a person configured, with growing pauses.

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

/// One configured peer.
#[derive(Debug)]
struct Target {
    address: Multiaddr,
    /// From the address, or learnt on connecting.
    peer: Option<PeerId>,
    dialling: Option<ConnectionId>,
    pause: Duration,
    next: Instant,
    /// The address is this node's own.
    own: bool,
}

/// The configured peers.
#[derive(Debug)]
pub(super) struct Bootstrap {
    targets: Vec<Target>,
    pause_min: Duration,
    pause_max: Duration,
}

impl Bootstrap {
    pub(super) fn new(
        addresses: &[Multiaddr],
        local: PeerId,
        pause_min: Duration,
        pause_max: Duration,
    ) -> Self {
        let now = Instant::now();
        let target = |address: &Multiaddr| {
            let peer = peer_in(address);
            Target {
                address: address.clone(),
                peer,
                dialling: None,
                pause: pause_min,
                next: now,
                own: peer == Some(local),
            }
        };
        Self {
            targets: addresses.iter().map(target).collect(),
            pause_min,
            pause_max,
        }
    }

    /// The dials that are due, given who is connected or banned.
    pub(super) fn due(&mut self, now: Instant, settled: impl Fn(&PeerId) -> bool) -> Vec<DialOpts> {
        let mut dials = Vec::new();
        for target in &mut self.targets {
            let connected = target.peer.as_ref().is_some_and(&settled);
            if target.own || connected || target.dialling.is_some() || target.next > now {
                continue;
            }
            let dial = match peer_in(&target.address) {
                Some(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::Disconnected)
                    .addresses(vec![target.address.clone()])
                    .build(),
                None => DialOpts::unknown_peer_id()
                    .address(target.address.clone())
                    .build(),
            };
            target.dialling = Some(dial.connection_id());
            dials.push(dial);
        }
        dials
    }

    /// A dial led to `peer`.
    pub(super) fn reached(&mut self, connection: ConnectionId, peer: PeerId) {
        for target in &mut self.targets {
            if target.dialling == Some(connection) {
                target.dialling = None;
                target.peer = Some(peer);
            }
        }
    }

    /// The peer belongs to this network. One that is reached, but turns us away, is dialled more and more rarely.
    pub(super) fn welcomed(&mut self, peer: PeerId) {
        for target in &mut self.targets {
            if target.peer == Some(peer) {
                target.pause = self.pause_min;
            }
        }
    }

    /// A dial failed. Returns the address and the pause before the next attempt, if it was one of ours.
    pub(super) fn failed(
        &mut self,
        connection: ConnectionId,
        now: Instant,
        own: bool,
    ) -> Option<(&Multiaddr, Duration)> {
        let target = self
            .targets
            .iter_mut()
            .find(|target| target.dialling == Some(connection))?;
        target.dialling = None;
        target.own = own;
        let pause = target.pause;
        target.next = now + pause;
        target.pause = (pause * 2).min(self.pause_max);
        Some((&target.address, pause))
    }

    /// The last connection with `peer` is closed: not before the pause is over.
    pub(super) fn lost(&mut self, peer: PeerId, now: Instant) {
        for target in &mut self.targets {
            if target.peer == Some(peer) {
                target.next = now + target.pause;
                target.pause = (target.pause * 2).min(self.pause_max);
            }
        }
    }
}

/// The peer id at the end of an address.
pub(super) fn peer_in(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_restart_after_success() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
        let mut bootstrap = Bootstrap::new(&[address], PeerId::random(), second, 3 * second);
        let mut now = now + second;
        for expected in [second, 2 * second, 3 * second, 3 * second] {
            let dials = bootstrap.due(now, |_| false);
            assert_eq!(dials.len(), 1);
            assert!(
                bootstrap.due(now, |_| false).is_empty(),
                "one dial at a time"
            );
            let (_, pause) = bootstrap
                .failed(dials[0].connection_id(), now, false)
                .unwrap();
            assert_eq!(pause, expected);
            assert!(bootstrap.due(now + pause / 2, |_| false).is_empty());
            now += pause;
        }
        let dials = bootstrap.due(now, |_| false);
        let peer = PeerId::random();
        bootstrap.reached(dials[0].connection_id(), peer);
        assert!(bootstrap.due(now, |other| *other == peer).is_empty());
        // It hangs up without having introduced itself: no success.
        bootstrap.lost(peer, now);
        assert!(bootstrap.due(now + 2 * second, |_| false).is_empty());
        now += 3 * second;
        let dials = bootstrap.due(now, |_| false);
        bootstrap.reached(dials[0].connection_id(), peer);
        bootstrap.welcomed(peer);
        bootstrap.lost(peer, now);
        assert!(bootstrap.due(now, |_| false).is_empty());
        assert_eq!(bootstrap.due(now + second, |_| false).len(), 1);
    }

    #[test]
    fn never_dials_itself() {
        let local = PeerId::random();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/9/p2p/{local}").parse().unwrap();
        let second = Duration::from_secs(1);
        let mut bootstrap = Bootstrap::new(&[address], local, second, second);
        assert!(bootstrap.due(Instant::now() + second, |_| false).is_empty());
    }
}
