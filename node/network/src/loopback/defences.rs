//! What floods and bans do, and that bans outlive the process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::harness::{Chain, Node, config, poll};
use crate::{Ban, Misbehaviour, RefusalReason, Subject, Verdict};

fn accept(_: &[u8]) -> Verdict {
    Verdict::Accept
}

fn bans_of(bans: &[Ban]) -> Vec<Subject> {
    bans.iter().map(|ban| ban.subject).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_peer_is_cut_to_its_rate_and_another_peer_is_heard() {
    let mut careful = config(1);
    careful.limits.transactions_per_second = 10;
    let receiver = Node::start(careful).await;
    let (flood, friend) = (Node::start(config(2)).await, Node::start(config(3)).await);
    flood.dial(&receiver).await;
    friend.dial(&receiver).await;
    let (sent, flooder, victim) = (AtomicU32::new(0), &flood, &receiver);
    let number = &sent;
    // a bucket holds 40; each one above costs a tenth of a point
    poll("the excess", || async move {
        for _ in 0..50 {
            let number = number.fetch_add(1, Ordering::Relaxed);
            let bytes = [&b"flood"[..], &number.to_le_bytes()].concat();
            // a full queue is no reason to stop
            let _ = flooder.handle.publish_transaction(bytes).await;
        }
        let peers = victim.handle.peers().await.unwrap();
        let flood = peers.iter().find(|peer| peer.peer == flooder.id());
        flood.is_some_and(|peer| peer.points > 5)
    })
    .await;
    let quiet = b"of the friend".to_vec();
    friend
        .handle
        .publish_transaction(quiet.clone())
        .await
        .unwrap();
    receiver
        .until("the friend's transaction", |told| {
            told.transactions.contains(&quiet)
        })
        .await;
    let heard = receiver.told.borrow().transactions.len();
    let sent = sent.load(Ordering::Relaxed) as usize;
    assert!(heard < sent, "{heard} of {sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_is_listed_with_its_reason_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut strict = config(1);
    strict.ban_file = Some(folder.path().join("bans.txt"));
    let node = Node::start(strict.clone()).await;
    let liar = Node::start(config(2)).await;
    liar.dial(&node).await;
    let misbehaviour = Misbehaviour::InvalidBlock;
    node.handle.report(liar.id(), misbehaviour).await.unwrap();
    let reason = RefusalReason::Banned(misbehaviour);
    node.until("the ban", |told| {
        told.refused.contains(&(liar.id(), reason))
    })
    .await;
    // the loopback address is not banned with the peer
    let listed = node.handle.bans().await.unwrap();
    assert_eq!(bans_of(&listed), [Subject::Peer(liar.id())]);
    assert_eq!(listed[0].reason, "invalid_block");
    let data = node.stop().await;

    let node = Node::with(strict, accept, Chain::default(), data).await;
    assert_eq!(node.handle.bans().await.unwrap(), listed);
    liar.handle.dial(node.address()).await.unwrap();
    let friend = Node::start(config(3)).await;
    friend.dial(&node).await;
    let peers = node.handle.peers().await.unwrap();
    assert!(peers.iter().all(|peer| peer.peer == friend.id()));
    assert_eq!(liar.told.borrow().connected.len(), 1, "before the ban only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_banned_with_its_peer_and_the_ban_ends() {
    let mut strict = config(1);
    strict.limits.loopback_is_exempt = false;
    strict.timing.ban = Duration::from_secs(2);
    let node = Node::start(strict).await;
    let liar = Node::start(config(2)).await;
    liar.dial(&node).await;
    node.handle
        .report(liar.id(), Misbehaviour::InvalidBlob)
        .await
        .unwrap();
    node.until("the ban", |told| !told.refused.is_empty()).await;
    let bans = bans_of(&node.handle.bans().await.unwrap());
    let address = Subject::address("127.0.0.1".parse().unwrap());
    assert!(bans.contains(&address), "{bans:?}");
    // another key behind the same address waits until the ban is over
    let mut other = config(3);
    other.bootstrap = vec![node.address()];
    let other = Node::start(other).await;
    node.until_connected(other.id()).await;
    assert!(node.handle.bans().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_bans_and_exempts() {
    let (foe, friend) = (Node::start(config(2)).await, Node::start(config(3)).await);
    let mut ruled = config(1);
    ruled.banned = vec![Subject::Peer(foe.id())];
    ruled.never_banned = vec![Subject::Peer(friend.id())];
    let node = Node::start(ruled).await;
    friend.dial(&node).await;
    node.handle
        .report(friend.id(), Misbehaviour::InvalidBlob)
        .await
        .unwrap();
    foe.handle.dial(node.address()).await.unwrap();
    let bans = node.handle.bans().await.unwrap();
    let expected = Ban {
        subject: Subject::Peer(foe.id()),
        until_ms: None,
        reason: "operator".into(),
    };
    assert_eq!(bans, [expected]);
    let peers = node.handle.peers().await.unwrap();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].peer, friend.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_gets_no_more_than_its_connections() {
    let mut small = config(1);
    small.limits.loopback_is_exempt = false;
    small.limits.connections_per_address = 2;
    let server = Node::start(small).await;
    let mut clients = Vec::new();
    for seed in 2..=5 {
        let client = Node::start(config(seed)).await;
        client.handle.dial(server.address()).await.unwrap();
        clients.push(client);
    }
    server
        .until("two connections", |told| told.connected.len() == 2)
        .await;
    assert_eq!(server.handle.peers().await.unwrap().len(), 2);
}
