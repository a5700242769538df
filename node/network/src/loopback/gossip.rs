//! Transactions by gossip, and tips.

use super::harness::{Node, config, line};
use crate::{Misbehaviour, Publication, PublishError, RefusalReason, Verdict};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_reaches_all_four_nodes_of_a_line() {
    let mut nodes = Vec::new();
    for seed in 1..=4 {
        nodes.push(Node::start(config(seed)).await);
    }
    line(&nodes).await;
    let bytes = b"from the first to the last".to_vec();
    let publication = nodes[0].handle.publish_transaction(bytes.clone()).await;
    assert!(matches!(
        publication,
        Ok(Publication::Sent | Publication::Waiting)
    ));
    for node in &nodes[1..] {
        node.until("the transaction", |told| told.transactions.contains(&bytes))
            .await;
    }
    let again = nodes[3].handle.publish_transaction(bytes.clone()).await;
    assert_eq!(again, Ok(Publication::Known));
    for node in &nodes {
        let peers = node.handle.peers().await.unwrap();
        assert!(peers.len() <= 2, "the line holds");
        let told = node.told.borrow();
        let count = told.transactions.iter().filter(|other| **other == bytes);
        assert!(count.count() <= 1, "nobody is told twice");
    }
    assert!(nodes[0].told.borrow().transactions.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_or_ignored_transaction_is_not_passed_on() {
    let judge = |bytes: &[u8]| match bytes {
        b"reject" => Verdict::Reject,
        b"ignore" => Verdict::Ignore,
        _ => Verdict::Accept,
    };
    let nodes = [
        Node::start(config(1)).await,
        Node::judging(config(2), judge).await,
        Node::start(config(3)).await,
    ];
    line(&nodes).await;
    for text in ["reject", "ignore", "accept"] {
        let bytes = text.as_bytes().to_vec();
        nodes[0]
            .handle
            .publish_transaction(bytes.clone())
            .await
            .unwrap();
        nodes[1]
            .until("the transaction", |told| told.transactions.contains(&bytes))
            .await;
    }
    nodes[2]
        .until("the accepted one", |told| !told.transactions.is_empty())
        .await;
    assert_eq!(
        nodes[2].told.borrow().transactions,
        vec![b"accept".to_vec()]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_rejected_transactions_is_banned() {
    let spammer = Node::start(config(1)).await;
    let strict = Node::judging(config(2), |_| Verdict::Reject).await;
    spammer.dial(&strict).await;
    for number in 0..3_u8 {
        let bytes = vec![number; 9];
        spammer
            .handle
            .publish_transaction(bytes.clone())
            .await
            .unwrap();
        strict
            .until("the transaction", |told| told.transactions.contains(&bytes))
            .await;
    }
    let reason = RefusalReason::Banned(Misbehaviour::InvalidTransaction);
    strict
        .until("the ban", |told| {
            told.refused.contains(&(spammer.id(), reason))
        })
        .await;
    spammer
        .until("the end", |told| told.disconnected.contains(&strict.id()))
        .await;
    assert!(strict.handle.peers().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_above_the_limit_is_neither_sent_nor_received() {
    let (sender, receiver) = (Node::start(generous()).await, Node::start(config(2)).await);
    sender.dial(&receiver).await;
    let limit = config(2).limits.transaction_bytes;
    let length = limit + 1;
    let refused = receiver.handle.publish_transaction(vec![0; length]).await;
    assert_eq!(refused, Err(PublishError::TooLong { length, limit }));
    for number in 0..3 {
        let bytes = vec![number; length];
        sender.handle.publish_transaction(bytes).await.unwrap();
    }
    let reason = RefusalReason::Banned(Misbehaviour::InvalidTransaction);
    receiver
        .until("the ban", |told| {
            told.refused.contains(&(sender.id(), reason))
        })
        .await;
    assert!(receiver.told.borrow().transactions.is_empty());
}

/// A node that finds transactions good that are far too long for all others.
fn generous() -> crate::Config {
    let mut generous = config(1);
    generous.limits.transaction_bytes = 1 << 20;
    generous
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_far_above_the_limit_is_not_received_and_disturbs_nobody_else() {
    let (sender, receiver) = (Node::start(generous()).await, Node::start(config(2)).await);
    sender.dial(&receiver).await;
    let huge = vec![7; 8 * config(2).limits.transaction_bytes];
    sender.handle.publish_transaction(huge).await.unwrap();
    let friend = Node::start(config(3)).await;
    friend.dial(&receiver).await;
    let bytes = b"of a usual length".to_vec();
    friend
        .handle
        .publish_transaction(bytes.clone())
        .await
        .unwrap();
    receiver
        .until("the usual one", |told| !told.transactions.is_empty())
        .await;
    assert_eq!(receiver.told.borrow().transactions, [bytes]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_waits_for_the_first_peer() {
    let (lonely, late) = (Node::start(config(1)).await, Node::start(config(2)).await);
    let bytes = b"is anybody there".to_vec();
    let publication = lonely.handle.publish_transaction(bytes.clone()).await;
    assert_eq!(publication, Ok(Publication::Waiting));
    lonely.dial(&late).await;
    late.until("the transaction", |told| told.transactions.contains(&bytes))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_tip_is_announced_to_the_peers() {
    let (leader, follower) = (Node::start(config(1)).await, Node::start(config(2)).await);
    leader.dial(&follower).await;
    for height in [1, 2, 40] {
        *leader.chain.height.lock().unwrap() = height;
        leader.handle.announce_tip();
        follower
            .until("the tip", |told| {
                told.tips
                    .iter()
                    .any(|(peer, tip)| *peer == leader.id() && tip.height == height)
            })
            .await;
    }
    let peers = follower.handle.peers().await.unwrap();
    assert_eq!(peers[0].tip.height, 40);
}
