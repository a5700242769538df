//! The protocols that run on every connection, and how each is bounded.

use std::collections::HashSet;
use std::time::Duration;

use agon_protocol::digest::NetworkId;
use libp2p::gossipsub::{
    self, IdentTopic, IdentityTransform, MessageAuthenticity, MessageId, PeerScoreParams,
    PeerScoreThresholds, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, allow_block_list, identify, kad};

use super::gate::Gate;
use crate::config::Config;
use crate::wire::{EXCHANGE, ExchangeCodec};

/// Gossip housekeeping, and the unit of its histories.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long the same bytes are not taken up again.
const DUPLICATE_CACHE: Duration = Duration::from_secs(60);
/// Room for this many transactions of the longest kind in a gossip frame. One that is too long by less than that is read, refused
/// and blamed on its sender; a longer frame ends the stream that carries it, and neither side is told.
const FRAME_TRANSACTIONS: usize = 2;
/// Gossip adds its own fields to a message.
const GOSSIP_OVERHEAD_BYTES: usize = 1024;
/// Messages that wait for one slow peer; those above are not sent to it.
const UNSENT_PER_PEER: usize = 1024;
/// Blobs that this node, or others through it, can be found to hold.
const MAX_PROVIDED: usize = 1 << 16;
/// Holders that are remembered of one blob.
const MAX_PROVIDERS: usize = 16;

/// Gossip of one topic: a peer that names others is not listened to.
pub(super) type Gossip = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // The two that may refuse a connection come first, before any other has spent anything on it.
    pub(super) gate: Gate,
    pub(super) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) gossip: Gossip,
    pub(super) exchange: request_response::Behaviour<ExchangeCodec>,
    pub(super) kademlia: kad::Behaviour<MemoryStore>,
    pub(super) identify: identify::Behaviour,
}

impl Behaviour {
    pub(super) fn new(key: &Keypair, config: &Config) -> Result<Self, &'static str> {
        let local = key.public().to_peer_id();
        let exchange = request_response::Config::default()
            .with_request_timeout(config.timing.request)
            .with_max_concurrent_streams(config.limits.served_requests_per_peer * 2);
        Ok(Self {
            gate: Gate::new(config.limits.clone(), config.discover),
            blocked: allow_block_list::Behaviour::default(),
            gossip: gossip(config)?,
            exchange: request_response::Behaviour::with_codec(
                ExchangeCodec,
                [(EXCHANGE, ProtocolSupport::Full)],
                exchange,
            ),
            kademlia: kademlia(local, config),
            identify: identify::Behaviour::new(
                identify::Config::new(protocol_version(config.network), key.public())
                    .with_agent_version(concat!("agon/", env!("CARGO_PKG_VERSION")).into()),
            ),
        })
    }
}

/// What peers of one network tell each other in identify.
pub(super) fn protocol_version(network: NetworkId) -> String {
    format!("agon/{network}")
}

pub(super) fn transactions_topic(network: NetworkId) -> IdentTopic {
    IdentTopic::new(format!("/agon/{network}/transactions/1"))
}

/// Transactions carry their author's signature, so gossip adds none: messages are anonymous and named by their bytes.
fn gossip(config: &Config) -> Result<Gossip, &'static str> {
    // An undecided message must stay in the history until its verdict, or it could not be passed on any more.
    let history = config.timing.decision.as_millis() / HEARTBEAT.as_millis() + 10;
    let gossip_config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(HEARTBEAT)
        .history_length(history as usize)
        .history_gossip(6)
        .duplicate_cache_time(DUPLICATE_CACHE)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .connection_handler_queue_len(UNSENT_PER_PEER)
        .max_transmit_size(
            config.limits.transaction_bytes * FRAME_TRANSACTIONS + GOSSIP_OVERHEAD_BYTES,
        )
        .message_id_fn(|message| MessageId::new(blake3::hash(&message.data).as_bytes()))
        .build()
        .map_err(|_| "the gossip settings contradict each other")?;
    let topic = transactions_topic(config.network);
    // a peer could subscribe to any number of topics otherwise, and each would be remembered
    let only = WhitelistSubscriptionFilter(HashSet::from([topic.hash()]));
    let mut gossip =
        Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, gossip_config, only)?;
    let mut scores = PeerScoreParams {
        // Many nodes behind one address are normal: one machine, one laboratory. The gate bounds them.
        ip_colocation_factor_weight: 0.0,
        ..Default::default()
    };
    scores.topics.insert(topic.hash(), topic_score());
    gossip
        .with_peer_score(scores, PeerScoreThresholds::default())
        .map_err(|_| "the gossip scores contradict each other")?;
    gossip
        .subscribe(&topic)
        .map_err(|_| "the gossip topic is refused")?;
    Ok(gossip)
}

/// Good behaviour earns little, so that it cannot pay for rejected messages; a quiet network is not punished.
fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 100.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 50.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.99,
        ..Default::default()
    }
}

fn kademlia(local: libp2p::PeerId, config: &Config) -> kad::Behaviour<MemoryStore> {
    let store = MemoryStore::with_config(
        local,
        MemoryStoreConfig {
            // Only provider records are used; nobody may store values here.
            max_records: 0,
            max_provided_keys: MAX_PROVIDED,
            max_providers_per_key: MAX_PROVIDERS,
            ..Default::default()
        },
    );
    let protocol = StreamProtocol::try_from_owned(format!("/agon/{}/kad/1", config.network))
        .expect("the name starts with a slash");
    let discover = config.discover;
    let mut config = kad::Config::new(protocol);
    config.set_query_timeout(Duration::from_secs(20));
    config.set_periodic_bootstrap_interval(discover.then_some(Duration::from_secs(60)));
    config.set_provider_publication_interval(Some(Duration::from_secs(10 * 60)));
    config.set_provider_record_ttl(Some(Duration::from_secs(60 * 60)));
    // offers of blobs are counted and cut to size before they are kept: see the task's upkeep
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kademlia = kad::Behaviour::with_config(local, store, config);
    // Without this, a node serves the table only after its public address is confirmed, which never happens on a LAN or loopback.
    // A node that discovers nobody takes no part in the table: its queries would dial whom they find.
    kademlia.set_mode(Some(match discover {
        true => kad::Mode::Server,
        false => kad::Mode::Client,
    }));
    kademlia
}
