//! The gate: how many connections there are in all, with one peer and with one address, and who stays outside.
//!
//! libp2p's own limits know no addresses, and keep a record of every peer that ever connected.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::config::Limits;

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Closed {
    #[error("the address is banned")]
    Banned,
    #[error("this node dials only the addresses that it is given")]
    Found,
    #[error("there are {limit} {what} already")]
    Full { what: &'static str, limit: u32 },
}

/// A connection that is being made or is made. There are never more than the limits allow.
#[derive(Debug, Clone, Copy)]
struct Connection {
    incoming: bool,
    /// Once it is made.
    peer: Option<PeerId>,
    host: Option<IpAddr>,
}

/// Counts connections and keeps the banned addresses outside.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    /// Whether peers are dialled at addresses that other peers gave.
    discover: bool,
    connections: HashMap<ConnectionId, Connection>,
    banned: HashSet<IpAddr>,
}

/// The machine at the far end. One customer of an IPv6 provider has a /64.
pub(super) fn host(address: &Multiaddr) -> Option<IpAddr> {
    let ip = address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })?;
    Some(subnet(ip))
}

/// The part of an address that tells hosts apart.
pub(super) fn subnet(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    }
}

impl Gate {
    pub(super) fn new(limits: Limits, discover: bool) -> Self {
        Self {
            limits,
            discover,
            connections: HashMap::new(),
            banned: HashSet::new(),
        }
    }

    /// Takes no connection with this address any more. Those that there are stay: others may live behind it.
    pub(super) fn ban(&mut self, ip: IpAddr) {
        self.banned.insert(ip);
    }

    pub(super) fn lift(&mut self, ip: &IpAddr) {
        self.banned.remove(ip);
    }

    fn count(&self, which: impl Fn(&Connection) -> bool) -> usize {
        self.connections
            .values()
            .filter(|other| which(other))
            .count()
    }

    fn check(
        &self,
        what: &'static str,
        limit: u32,
        which: impl Fn(&Connection) -> bool,
    ) -> Result<(), Closed> {
        match self.count(which) < limit as usize {
            true => Ok(()),
            false => Err(Closed::Full { what, limit }),
        }
    }

    fn check_host(&self, host: Option<IpAddr>) -> Result<(), Closed> {
        let Some(ip) = host else { return Ok(()) };
        if self.banned.contains(&ip) {
            return Err(Closed::Banned);
        }
        if ip.is_loopback() && self.limits.loopback_is_exempt {
            return Ok(());
        }
        let limit = self.limits.connections_per_address;
        self.check("connections with this address", limit, |other| {
            other.host == host
        })
    }

    /// Someone is about to introduce itself.
    fn knock(&mut self, id: ConnectionId, host: Option<IpAddr>) -> Result<(), Closed> {
        let limit = self.limits.pending_connections;
        self.check("incoming connections being made", limit, |other| {
            other.incoming && other.peer.is_none()
        })?;
        self.check_host(host)?;
        let connection = Connection {
            incoming: true,
            peer: None,
            host,
        };
        self.connections.insert(id, connection);
        Ok(())
    }

    /// It did, as `peer`.
    fn admit(&mut self, id: ConnectionId, peer: PeerId, incoming: bool) -> Result<(), Closed> {
        // what was pending is counted anew when it is established
        self.connections.remove(&id);
        let established = |other: &Connection| other.peer.is_some();
        self.check("connections", self.limits.connections, established)?;
        if incoming {
            let limit = self.limits.incoming_connections;
            self.check("incoming connections", limit, |other| {
                other.incoming && established(other)
            })?;
        }
        let limit = self.limits.connections_per_peer;
        self.check("connections with this peer", limit, |other| {
            other.peer == Some(peer)
        })
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.knock(id, host(remote)).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(id, peer, true).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        // Kademlia dials whom its queries find, and leaves the addresses to the behaviours
        if !self.discover && addresses.is_empty() {
            return Err(ConnectionDenied::new(Closed::Found));
        }
        let limit = self.limits.connections;
        self.check("outgoing connections being made", limit, |other| {
            !other.incoming && other.peer.is_none()
        })
        .map_err(ConnectionDenied::new)?;
        let connection = Connection {
            incoming: false,
            peer: None,
            host: None,
        };
        self.connections.insert(id, connection);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(id, peer, false).map_err(ConnectionDenied::new)?;
        self.check_host(host(remote))
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                let connection = Connection {
                    incoming: made.endpoint.is_listener(),
                    peer: Some(made.peer_id),
                    host: host(made.endpoint.get_remote_address()),
                };
                self.connections.insert(made.connection_id, connection);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.connections.remove(&closed.connection_id);
            }
            FromSwarm::DialFailure(failure) => {
                self.connections.remove(&failure.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.connections.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(limits: Limits) -> Gate {
        Gate::new(limits, true)
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn one_address_does_not_use_up_all_connections() {
        let mut gate = gate(Limits {
            connections_per_address: 2,
            pending_connections: 4,
            ..Limits::default()
        });
        let greedy = host(&address("/ip4/192.0.2.1/tcp/1"));
        for number in 0..2 {
            gate.knock(id(number), greedy).unwrap();
        }
        let what = "connections with this address";
        let full = Err(Closed::Full { what, limit: 2 });
        assert_eq!(gate.knock(id(2), greedy), full);
        gate.knock(id(3), host(&address("/ip4/192.0.2.2/tcp/1")))
            .unwrap();
        gate.connections.remove(&id(0));
        gate.knock(id(4), greedy).unwrap();
        // those that never introduce themselves are few
        gate.knock(id(5), host(&address("/ip4/192.0.2.3/tcp/1")))
            .unwrap();
        let what = "incoming connections being made";
        let full = Err(Closed::Full { what, limit: 4 });
        assert_eq!(
            gate.knock(id(6), host(&address("/ip4/192.0.2.4/tcp/1"))),
            full
        );
    }

    #[test]
    fn an_address_is_banned_with_its_subnet_and_loopback_is_not_limited() {
        let mut gate = gate(Limits {
            connections_per_address: 1,
            ..Limits::default()
        });
        let banned = host(&address("/ip6/2001:db8:1:2::7/tcp/1"));
        gate.ban(banned.unwrap());
        let neighbour = host(&address("/ip6/2001:db8:1:2:3::9/tcp/1"));
        assert_eq!(gate.knock(id(1), neighbour), Err(Closed::Banned));
        gate.knock(id(2), host(&address("/ip6/2001:db8:1:3::7/tcp/1")))
            .unwrap();
        gate.lift(&banned.unwrap());
        gate.knock(id(3), neighbour).unwrap();
        for number in 4..9 {
            gate.knock(id(number), host(&address("/ip4/127.0.0.1/tcp/1")))
                .unwrap();
        }
    }

    #[test]
    fn nothing_is_remembered_of_connections_that_are_gone() {
        let mut gate = gate(Limits::default());
        for number in 0..1_000 {
            gate.knock(id(number), None).unwrap();
            gate.admit(id(number), PeerId::random(), true).unwrap();
        }
        assert!(gate.connections.is_empty());
    }
}
