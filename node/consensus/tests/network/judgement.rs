//! Blocks that are wrong, not judged yet, or out of time.

use std::sync::atomic::Ordering;

use crate::support::cluster::{Cluster, until};

#[tokio::test(flavor = "multi_thread")]
async fn rejects_the_blocks_of_a_corrupt_proposer_and_goes_on() {
    let cluster = Cluster::new(4).await;
    cluster.nodes[0]
        .controls
        .corrupt
        .store(true, Ordering::SeqCst);
    let mut cluster = cluster;
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    // Long enough for every validator to have its turn.
    cluster.agree(&[1, 2, 3], 8).await;
    let proposed = cluster.nodes[0].controls.proposed.lock().unwrap().len();
    assert!(proposed >= 1, "the corrupt validator never had its turn");
    for node in &cluster.nodes[1..] {
        assert!(
            !node
                .controls
                .payloads
                .lock()
                .unwrap()
                .contains(&b"bad".to_vec())
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_votes_for_an_undecided_block_and_all_do_once_it_is_valid() {
    let cluster = Cluster::new(4).await;
    cluster.set_all(|controls| &controls.undecided, true);
    let mut cluster = cluster;
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    // Asked again without being woken.
    until("blocks to be judged", || {
        let asked =
            |node: &crate::support::cluster::Node| node.controls.checks.load(Ordering::SeqCst);
        cluster.nodes.iter().all(|node| asked(node) >= 8)
    })
    .await;
    for node in &cluster.nodes {
        assert_eq!(node.height(), 0, "a block was decided without a verdict");
    }
    cluster.set_all(|controls| &controls.undecided, false);
    cluster.nodes[1].wake();
    cluster.agree(&[0, 1, 2, 3], 4).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_whose_verdicts_come_late_follows_once_they_are_there() {
    let cluster = Cluster::new(4).await;
    cluster.nodes[3]
        .controls
        .undecided
        .store(true, Ordering::SeqCst);
    let mut cluster = cluster;
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    cluster.agree(&[0, 1, 2], 5).await;
    assert!(
        cluster.nodes[3].height() <= 1,
        "only its own block needs no verdict"
    );
    cluster.nodes[3]
        .controls
        .undecided
        .store(false, Ordering::SeqCst);
    cluster.nodes[3].wake();
    cluster
        .agree(&[0, 1, 2, 3], cluster.nodes[0].height() + 3)
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_with_a_wrong_clock_accepts_what_the_others_stand_behind() {
    let cluster = Cluster::new(4).await;
    cluster.nodes[3]
        .controls
        .untimely
        .store(true, Ordering::SeqCst);
    let mut cluster = cluster;
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    cluster.agree(&[0, 1, 2, 3], 8).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_block_is_decided_that_most_validators_find_out_of_time() {
    let cluster = Cluster::new(4).await;
    for node in &cluster.nodes[..3] {
        node.controls.untimely.store(true, Ordering::SeqCst);
    }
    let mut cluster = cluster;
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    until("two rounds of one validator", || {
        cluster.nodes.iter().any(|node| {
            let proposed = node.controls.proposed.lock().unwrap();
            proposed.values().any(|count| *count >= 2)
        })
    })
    .await;
    let heights: Vec<usize> = cluster
        .nodes
        .iter()
        .map(crate::support::cluster::Node::height)
        .collect();
    assert_eq!(heights, [0; 4]);
    cluster.set_all(|controls| &controls.untimely, false);
    cluster.agree(&[0, 1, 2, 3], 3).await;
    cluster.stop().await;
}
