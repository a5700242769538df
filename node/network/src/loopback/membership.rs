//! Who finds whom, who is welcome, and who comes back.

use std::time::Duration;

use agon_protocol::digest::NetworkId;

use super::adversary::Adversary;
use super::harness::{Chain, Node, config, network_id, poll, within};
use crate::blobs::BlobStore;
use crate::{Misbehaviour, Network, RefusalReason, StartError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_find_each_other_through_one_bootstrap_peer() {
    let first = Node::start(config(1)).await;
    let mut nodes = vec![first];
    for seed in 2..=5 {
        let mut config = config(seed);
        config.bootstrap = vec![nodes[0].address()];
        nodes.push(Node::start(config).await);
    }
    for node in &nodes {
        for other in &nodes {
            if node.id() != other.id() {
                node.until_connected(other.id()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_discover_nobody_dial_only_their_bootstrap_peer() {
    let hub = Node::start(config(1)).await;
    let mut quiet = Vec::new();
    for seed in 2..=3 {
        let mut config = config(seed);
        config.bootstrap = vec![hub.address()];
        config.discover = false;
        let node = Node::start(config).await;
        node.until_connected(hub.id()).await;
        quiet.push(node);
    }
    // by the time that two others have found each other in the same way, these two would have, too
    let mut curious = Vec::new();
    for seed in 4..=5 {
        let mut config = config(seed);
        config.bootstrap = vec![hub.address()];
        curious.push(Node::start(config).await);
    }
    curious[0].until_connected(curious[1].id()).await;
    let known = quiet[0].told.borrow().connected.clone();
    assert!(
        !known.contains(&quiet[1].id()),
        "they do not dial each other"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_of_another_network_are_refused_on_both_sides() {
    let ours = Node::start(config(1)).await;
    let mut foreign = config(2);
    foreign.network = NetworkId::of(b"another network");
    foreign.bootstrap = vec![ours.address()];
    let theirs = Node::start(foreign.clone()).await;
    let reason = RefusalReason::OtherNetwork {
        theirs: foreign.network,
    };
    ours.until("the refusal", |told| {
        told.refused.contains(&(theirs.id(), reason))
    })
    .await;
    let reason = RefusalReason::OtherNetwork {
        theirs: network_id(),
    };
    theirs
        .until("the refusal", |told| {
            told.refused.contains(&(ours.id(), reason))
        })
        .await;
    assert!(ours.handle.peers().await.unwrap().is_empty());
    assert!(ours.told.borrow().connected.is_empty());
    assert!(theirs.told.borrow().connected.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_introduces_itself_is_refused() {
    let node = Node::start(config(1)).await;
    // An answer that breaks off within its length.
    let silent = Adversary::start(node.address(), vec![], |_| Some(vec![90, 0, 0]));
    node.until("the refusal", |told| {
        told.refused
            .contains(&(silent.id, RefusalReason::NoIntroduction))
    })
    .await;
    assert!(node.handle.peers().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_peer_that_restarts_is_dialled_again() {
    let first = Node::start(config(1)).await;
    let address = first.address();
    let mut follower = config(2);
    follower.bootstrap = vec![address.clone()];
    let second = Node::start(follower).await;
    second.until_connected(first.id()).await;
    let folder = first.stop().await;
    second
        .until("the end", |told| !told.disconnected.is_empty())
        .await;
    let mut same_port = config(1);
    same_port.listen = vec![address.iter().take(2).collect()];
    let accept = |_: &[u8]| crate::Verdict::Accept;
    let _first = Node::with(same_port, accept, Chain::default(), folder).await;
    second
        .until("the connection", |told| told.connected.len() == 2)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_ends() {
    let mut lenient = config(1);
    lenient.timing.ban = Duration::from_millis(200);
    let first = Node::start(lenient).await;
    let mut follower = config(2);
    follower.bootstrap = vec![first.address()];
    let second = Node::start(follower).await;
    first.until_connected(second.id()).await;
    first
        .handle
        .report(second.id(), Misbehaviour::InvalidBlob)
        .await
        .unwrap();
    first
        .until("the end", |told| !told.disconnected.is_empty())
        .await;
    first
        .until("the return", |told| told.connected.len() == 2)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_the_allowed_connections_are_taken() {
    let mut small = config(1);
    small.limits.incoming_connections = 2;
    let server = Node::start(small).await;
    let mut clients = Vec::new();
    for seed in 2..=5 {
        let mut config = config(seed);
        config.bootstrap = vec![server.address()];
        clients.push(Node::start(config).await);
    }
    // Clients that leave make room for those that keep trying: in the end all four were there, never more than two at once.
    for served in 2..=4 {
        poll("the next client", || {
            let (handle, told) = (server.handle.clone(), server.told.clone());
            async move {
                let incoming = handle.peers().await.unwrap();
                let incoming = incoming.iter().filter(|info| info.incoming).count();
                assert!(incoming <= 2, "the limit holds");
                let mut known = told.borrow().connected.clone();
                known.sort();
                known.dedup();
                known.len() >= served
            }
        })
        .await;
        let connected = server.handle.peers().await.unwrap();
        let leaving = clients
            .iter()
            .position(|client| connected.iter().any(|info| info.peer == client.id()));
        if let Some(leaving) = leaving {
            clients.remove(leaving).stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_occupied_port_is_named() {
    let first = Node::start(config(1)).await;
    let mut same_port = config(2);
    same_port.listen = vec![first.address().iter().take(2).collect()];
    let folder = tempfile::tempdir().unwrap();
    let started = Network::start(
        same_port.clone(),
        std::sync::Arc::new(Chain::default()),
        BlobStore::open(folder.path()).unwrap(),
        Default::default(),
    );
    match within("the refusal", started).await {
        Err(StartError::AddressInUse { address }) => assert_eq!(address, same_port.listen[0]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_address_is_named() {
    for text in ["/ip4/192.0.2.1/tcp/0", "/unix/somewhere"] {
        let mut unusable = config(2);
        unusable.listen = vec![text.parse().unwrap()];
        let folder = tempfile::tempdir().unwrap();
        let started = Network::start(
            unusable,
            std::sync::Arc::new(Chain::default()),
            BlobStore::open(folder.path()).unwrap(),
            Default::default(),
        );
        let error = within("the refusal", started).await.unwrap_err();
        assert!(matches!(error, StartError::Listen { .. }), "{error}");
        assert!(error.to_string().contains(text));
    }
}
