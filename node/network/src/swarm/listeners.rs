//! Where this node listens, and whether all configured listeners have come up.

use std::collections::HashMap;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{oneshot, watch};

use super::StartError;

type Ready = oneshot::Sender<Result<(), StartError>>;

/// The listeners of a node.
pub(super) struct Listeners {
    local: PeerId,
    starting: HashMap<ListenerId, Multiaddr>,
    ready: Option<Ready>,
    addresses: watch::Sender<Vec<Multiaddr>>,
}

impl Listeners {
    pub(super) fn new(
        local: PeerId,
        starting: HashMap<ListenerId, Multiaddr>,
        ready: Ready,
    ) -> Self {
        let mut listeners = Self {
            local,
            starting,
            ready: Some(ready),
            addresses: watch::Sender::new(Vec::new()),
        };
        listeners.tell_when_ready();
        listeners
    }

    pub(super) fn addresses(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.addresses.subscribe()
    }

    pub(super) fn opened(&mut self, listener: ListenerId, address: Multiaddr) {
        let address = self.named(address);
        tracing::info!(%address, "listening");
        self.addresses.send_modify(|list| list.push(address));
        self.starting.remove(&listener);
        self.tell_when_ready();
    }

    pub(super) fn expired(&mut self, address: Multiaddr) {
        let address = self.named(address);
        self.addresses
            .send_modify(|list| list.retain(|other| *other != address));
    }

    pub(super) fn failed(&mut self, listener: ListenerId, reason: String) {
        tracing::error!(reason, "a listener failed");
        let (Some(address), Some(ready)) = (self.starting.remove(&listener), self.ready.take())
        else {
            return;
        };
        // Nobody waits any more when the start was given up.
        let _ = ready.send(Err(StartError::Listen { address, reason }));
    }

    fn named(&self, mut address: Multiaddr) -> Multiaddr {
        address.push(Protocol::P2p(self.local));
        address
    }

    fn tell_when_ready(&mut self) {
        if self.starting.is_empty()
            && let Some(ready) = self.ready.take()
        {
            let _ = ready.send(Ok(()));
        }
    }
}
