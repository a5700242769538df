//! The task that owns the swarm: turns what happens on connections into events, and commands into messages.

mod exchange;
mod gossip;
mod upkeep;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use agon_protocol::digest::BlobId;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::gossipsub::{IdentTopic, MessageId};
use libp2p::request_response::{InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::{ConnectionId, DialError as SwarmDialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, kad};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::blobs::BlobStore;
use crate::config::Config;
use crate::event::{Event, Misbehaviour, RefusalReason, Source, Tip, Verdict};
use crate::handle::{Command, DialError, RequestError};
use crate::swarm::answers::Answers;
use crate::swarm::bans::{self, Bans, Subject, wall_ms};
use crate::swarm::behaviour::{Behaviour, BehaviourEvent, transactions_topic};
use crate::swarm::bootstrap::Bootstrap;
use crate::swarm::listeners::Listeners;
use crate::swarm::peers::Peers;
use crate::swarm::rates::Rates;
use crate::wire::{Introduction, Request, Response};

/// The longest time that a peer of another network stays away.
const OTHER_NETWORK_BAN: Duration = Duration::from_secs(30);
/// How long a connection with such a peer stays open. Closed at once, it could take the introduction on it along, and the other
/// side would not learn why it is refused.
const FAREWELL: Duration = Duration::from_secs(3);
/// Blobs that wait to be announced.
const MAX_TO_PROVIDE: usize = 1 << 16;

/// What the task is connected with on this side.
pub(super) struct Surroundings {
    pub(super) source: Arc<dyn Source>,
    pub(super) blobs: BlobStore,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) tip_moved: Arc<Notify>,
    pub(super) shutdown: CancellationToken,
}

/// A question on its way.
enum Asked {
    Introduction,
    Tip,
    ForHandle(oneshot::Sender<Result<Response, RequestError>>),
}

type Served = (
    PeerId,
    InboundRequestId,
    ResponseChannel<Response>,
    Response,
);
type Decided = (MessageId, PeerId, Verdict);

/// The task's state; nobody else sees it.
pub(super) struct Task {
    around: Surroundings,
    config: Config,
    swarm: Swarm<Behaviour>,
    listeners: Listeners,
    topic: IdentTopic,
    peers: Peers,
    bootstrap: Bootstrap,
    /// Ends with [`crate::Timing::request`]: a few for each connection, and those of the node's bounded fetches.
    asked: HashMap<OutboundRequestId, Asked>,
    /// Refused peers whose connections end at this time, in a few seconds; no more than connections.
    leaving: VecDeque<(PeerId, Instant)>,
    serving: FuturesUnordered<BoxFuture<'static, Served>>,
    answers: Answers,
    undecided: FuturesUnordered<BoxFuture<'static, (Decided, usize)>>,
    /// Bytes of the undecided transactions.
    undecided_bytes: usize,
    /// Undecided transactions of each peer that has any.
    undecided_of: HashMap<PeerId, usize>,
    rates: Rates,
    /// The ban list on its way to the disk.
    writing_bans: Option<JoinHandle<()>>,
    unsent: VecDeque<Vec<u8>>,
    to_provide: VecDeque<BlobId>,
    announced: Option<Tip>,
    /// Events that found no place since the last word about it.
    dropped: u64,
    next_discovery: Instant,
}

impl Task {
    pub(super) fn new(
        around: Surroundings,
        config: Config,
        swarm: Swarm<Behaviour>,
        listeners: Listeners,
        bans: Bans,
        held: VecDeque<BlobId>,
    ) -> Self {
        let rates = Rates::new(&config.limits);
        let mut task = Self {
            topic: transactions_topic(config.network),
            bootstrap: Bootstrap::new(
                &config.bootstrap,
                *swarm.local_peer_id(),
                config.timing.redial_min,
                config.timing.redial_max,
            ),
            announced: Some(around.source.tip()),
            around,
            config,
            swarm,
            listeners,
            peers: Peers::default(),
            rates,
            undecided_bytes: 0,
            undecided_of: HashMap::new(),
            writing_bans: None,
            asked: HashMap::new(),
            leaving: VecDeque::new(),
            serving: FuturesUnordered::new(),
            answers: Answers::default(),
            undecided: FuturesUnordered::new(),
            unsent: VecDeque::new(),
            to_provide: held,
            dropped: 0,
            next_discovery: Instant::now(),
        };
        for ban in bans.list() {
            task.shut_out(ban.subject);
        }
        task.peers.bans = bans;
        task
    }

    /// Runs until the shutdown token is cancelled or every handle is gone.
    pub(super) async fn run(mut self) {
        let mut tick = interval(self.config.timing.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.around.shutdown.clone();
        let tip_moved = self.around.tip_moved.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                command = self.around.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                event = self.swarm.select_next_some() => self.swarm_event(event),
                Some((decided, length)) = self.undecided.next() => {
                    self.no_longer_undecided(decided.1, length);
                    self.decided(decided);
                }
                Some(served) = self.serving.next() => self.served(served),
                () = tip_moved.notified() => self.announced = None,
                _ = tick.tick() => self.tick(),
            }
        }
        self.write_bans().await;
        tracing::info!("the network stops");
    }

    fn command(&mut self, command: Command) {
        // A reply that nobody waits for any more is not needed by anybody.
        match command {
            Command::Publish(bytes, reply) => {
                let result = self.publish(bytes);
                let _ = reply.send(result);
            }
            Command::Request(peer, request, reply) => {
                if self.peers.is_accepted(&peer) {
                    self.ask(peer, request, Asked::ForHandle(reply));
                } else {
                    let reason = "the peer is not connected".to_string();
                    let _ = reply.send(Err(RequestError::Failed(reason)));
                }
            }
            Command::Peers(reply) => {
                let _ = reply.send(self.peers.accepted_peers(Instant::now()));
            }
            Command::Bans(reply) => {
                let _ = reply.send(self.peers.bans.list());
            }
            Command::Report(peer, misbehaviour) => self.blame(peer, misbehaviour),
            Command::Provide(id) => {
                if self.to_provide.len() < MAX_TO_PROVIDE {
                    self.to_provide.push_back(id);
                }
            }
            Command::FindProviders(id) => {
                self.swarm
                    .behaviour_mut()
                    .kademlia
                    .get_providers(provider_key(id));
            }
            Command::Dial(address, reply) => {
                let dialled = self.swarm.dial(address.clone());
                let _ = reply.send(dialled.map_err(|error| DialError::Refused {
                    address,
                    reason: error.to_string(),
                }));
            }
        }
    }

    fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.gossip_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Exchange(event)) => self.exchange_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kademlia(event)) => self.kademlia_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.identify_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                let address = endpoint.get_remote_address().clone();
                self.connected(peer_id, connection_id, address, endpoint.is_listener());
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                ..
            } => self.closed(peer_id, connection_id),
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => self.dial_failed(connection_id, &error),
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(%error, "an incoming connection failed");
            }
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => self.listeners.opened(listener_id, address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.listeners.expired(address),
            SwarmEvent::ListenerError { listener_id, error } => {
                self.listeners.failed(listener_id, error.to_string());
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                let reason = reason.err().map(|error| error.to_string());
                let reason = reason.unwrap_or_else(|| "it was closed".into());
                self.listeners.failed(listener_id, reason);
            }
            _ => {}
        }
    }

    // Connections and introductions.

    fn connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        address: Multiaddr,
        incoming: bool,
    ) {
        self.bootstrap.reached(connection, peer);
        if self.peers.opened(peer, connection, address, incoming) {
            self.introduce(peer);
        }
    }

    fn introduce(&mut self, peer: PeerId) {
        let request = Request::Introduce(self.introduction());
        self.ask(peer, request, Asked::Introduction);
    }

    fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(was_accepted) = self.peers.closed(peer, connection) else {
            return;
        };
        self.answers.closed(&peer);
        self.bootstrap.lost(peer, Instant::now());
        if was_accepted {
            self.tell(Event::PeerDisconnected { peer });
        }
    }

    fn dial_failed(&mut self, connection: ConnectionId, error: &SwarmDialError) {
        let own = matches!(error, SwarmDialError::LocalPeerId { .. });
        let failed = self.bootstrap.failed(connection, Instant::now(), own);
        if let Some((address, pause)) = failed {
            if own {
                tracing::info!(%address, "this bootstrap peer is the node itself");
            } else {
                tracing::warn!(%address, %error, ?pause, "a bootstrap peer does not answer; trying again after a pause");
            }
        }
    }

    fn introduction(&self) -> Introduction {
        Introduction {
            network: self.config.network,
            tip: self.around.source.tip(),
        }
    }

    /// The answer to our own first question decides whether a peer is welcome.
    fn introduced(&mut self, peer: PeerId, introduction: Introduction) {
        let Introduction { network, tip } = introduction;
        if network != self.config.network {
            self.refuse_foreign(peer, network);
        } else if self.peers.accepted(peer, tip) {
            self.bootstrap.welcomed(peer);
            tracing::info!(event = "peer_connected", %peer, height = tip.height, "connected");
            self.tell(Event::PeerConnected { peer, tip });
        }
    }

    fn refuse(&mut self, peer: PeerId, reason: RefusalReason) {
        let now = Instant::now();
        let ban = self.config.timing.ban;
        let farewell = match reason {
            // A mistake in a configuration, soon to be corrected.
            RefusalReason::OtherNetwork { .. } => {
                let length = ban.min(OTHER_NETWORK_BAN);
                self.ban(Subject::Peer(peer), length, "other_network", false);
                FAREWELL
            }
            RefusalReason::NoIntroduction => Duration::ZERO,
            RefusalReason::Banned(misbehaviour) => {
                if !self.ban(Subject::Peer(peer), ban, misbehaviour.word(), true) {
                    // the operator exempts it
                    return;
                }
                let exempt = self.config.limits.loopback_is_exempt;
                let host = self.peers.host(&peer);
                if let Some(ip) = host.filter(|ip| !(ip.is_loopback() && exempt))
                    && self.ban(Subject::Address(ip), ban, misbehaviour.word(), true)
                {
                    self.swarm.behaviour_mut().gate.ban(ip);
                }
                Duration::ZERO
            }
        };
        self.leaving.push_back((peer, now + farewell));
        self.dismiss(now);
        self.tell(Event::PeerRefused { peer, reason });
    }

    /// Says whether the subject is banned now: not when the operator exempts it.
    fn ban(&mut self, subject: Subject, length: Duration, reason: &str, lasting: bool) -> bool {
        let mut lifted = Vec::new();
        let bans = &mut self.peers.bans;
        let banned = bans.ban(subject, length, reason, lasting, wall_ms(), &mut lifted);
        for subject in lifted {
            self.let_in(subject);
        }
        banned
    }

    fn shut_out(&mut self, subject: Subject) {
        let behaviour = self.swarm.behaviour_mut();
        match subject {
            Subject::Peer(peer) => drop(behaviour.blocked.block_peer(peer)),
            Subject::Address(ip) => behaviour.gate.ban(ip),
        }
    }

    fn let_in(&mut self, subject: Subject) {
        let behaviour = self.swarm.behaviour_mut();
        match subject {
            Subject::Peer(peer) => drop(behaviour.blocked.unblock_peer(peer)),
            Subject::Address(ip) => behaviour.gate.lift(&ip),
        }
    }

    /// Writes the ban list when it changed; one write at a time.
    fn save_bans(&mut self) {
        let idle = self
            .writing_bans
            .as_ref()
            .is_none_or(JoinHandle::is_finished);
        if !idle || !self.peers.bans.take_changed() {
            return;
        }
        let Some(path) = self.config.ban_file.clone() else {
            return;
        };
        let text = self.peers.bans.text();
        self.writing_bans = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = bans::write_file(&path, &text) {
                tracing::error!(%error, path = %path.display(), "the ban list cannot be written");
            }
        }));
    }

    /// The last write, at the end.
    async fn write_bans(&mut self) {
        for _ in 0..2 {
            self.save_bans();
            if let Some(writing) = self.writing_bans.take() {
                // fails only when the runtime stops
                let _ = writing.await;
            }
        }
    }

    /// Ends the connections of refused peers whose time has come, and takes no new ones from them.
    fn dismiss(&mut self, now: Instant) {
        let behaviour = self.swarm.behaviour_mut();
        self.leaving.retain(|(peer, until)| {
            let stays = now < *until;
            if !stays && self.peers.is_banned(peer) {
                behaviour.blocked.block_peer(*peer);
                behaviour.kademlia.remove_peer(peer);
            }
            stays
        });
    }

    fn blame(&mut self, peer: PeerId, misbehaviour: Misbehaviour) {
        match misbehaviour {
            // there are many of it, by its nature
            Misbehaviour::Excess => tracing::debug!(%peer, "a peer sends too much"),
            _ => tracing::warn!(%peer, ?misbehaviour, "a peer misbehaved"),
        }
        let banned = self.peers.is_banned(&peer);
        if !banned && self.peers.blame(peer, misbehaviour, Instant::now()) {
            self.refuse(peer, RefusalReason::Banned(misbehaviour));
        }
    }

    /// Hands an event to the node; false when it has no place for it.
    fn tell(&mut self, event: Event) -> bool {
        let told = self.around.events.try_send(event);
        if let Err(mpsc::error::TrySendError::Full(_)) = &told {
            // there may be thousands in a second: the next tick says how many
            self.dropped += 1;
        }
        told.is_ok()
    }
}

fn provider_key(id: BlobId) -> kad::RecordKey {
    kad::RecordKey::new(id.as_bytes())
}
