//! Networks of validators agree, go on without some of them, and come back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::changes::signed;
use crate::support::cluster::{Cluster, network, until, validators};
use crate::support::ledger::read_chain;
use agon_consensus::verify_certificate;
use agon_protocol::units::Height;

#[tokio::test(flavor = "multi_thread")]
async fn one_validator_alone_makes_blocks_and_goes_on_after_a_restart() {
    let mut cluster = Cluster::started(1).await;
    let before = cluster.agree(&[0], 5).await;
    cluster.nodes[0].stop().await;
    cluster.nodes[0].start().await.unwrap();
    let after = cluster.agree(&[0], cluster.nodes[0].height() + 5).await;
    assert_eq!(after[..5], before[..]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_agree_with_certificates_that_verify() {
    let cluster = Cluster::started(4).await;
    let chain = cluster.agree(&[0, 1, 2, 3], 10).await;
    let path = cluster.nodes[2].ledger_path();
    cluster.nodes[2].reach(10).await;
    let (blocks, _) = read_chain(&path);
    for (index, id) in chain.iter().enumerate() {
        let height = Height::new(index as u64 + 1);
        let certificate = &blocks[index].certificate;
        let verdict = verify_certificate(&network(), &validators(4), certificate, height, id);
        assert_eq!(verdict, Ok(()));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_network_rests_until_one_validator_has_work() {
    let cluster = Cluster::new(4).await;
    cluster.set_all(|controls| &controls.busy, false);
    let mut cluster = cluster;
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    cluster.agree(&[0, 1, 2, 3], 1).await;
    // Nothing tells of a block that does not come: time for several must do.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for node in &cluster.nodes {
        assert_eq!(node.height(), 1, "a block without work");
    }
    cluster.nodes[2].controls.busy.store(true, Ordering::SeqCst);
    cluster.nodes[2].wake();
    cluster.agree(&[0, 1, 2, 3], 6).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_four_go_on_and_the_fourth_catches_up_and_votes_again() {
    let mut cluster = Cluster::started(4).await;
    cluster.agree(&[0, 1, 2, 3], 3).await;
    cluster.nodes[3].stop().await;
    let height = cluster.nodes[0].height() + 8;
    cluster.agree(&[0, 1, 2], height).await;
    cluster.nodes[3].start().await.unwrap();
    cluster.agree(&[0, 1, 2, 3], height).await;
    // With another one down, the three that are left need each other.
    cluster.nodes[0].stop().await;
    cluster
        .agree(&[1, 2, 3], cluster.nodes[1].height() + 4)
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_fell_behind_a_busy_network_signs_its_blocks_again() {
    let mut cluster = Cluster::new(4).await;
    for node in &mut cluster.nodes {
        // nobody says how far it is unless it has decided something
        node.config.timeouts.status = Duration::from_secs(3600);
        node.start().await.unwrap();
    }
    cluster.agree(&[0, 1, 2, 3], 3).await;
    cluster.nodes[3].stop().await;
    let height = cluster.nodes[0].height() + 50;
    cluster.agree(&[0, 1, 2], height).await;
    // the others wait for nobody
    cluster.nodes[3].start().await.unwrap();
    let (path, late) = (cluster.nodes[0].ledger_path(), &validators(4)[3]);
    until("a block with its signature", || {
        let (blocks, _) = read_chain(&path);
        blocks.iter().skip(height).any(|block| signed(block, late))
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_four_halt_and_go_on_when_the_others_return() {
    let mut cluster = Cluster::started(4).await;
    cluster.agree(&[0, 1, 2, 3], 3).await;
    cluster.nodes[2].stop().await;
    cluster.nodes[3].stop().await;
    // Two votes are too few, and those of the other two reach no further than one block above their own. Nothing tells
    // of a block that does not come: time for several must do.
    let highest = cluster.nodes[2].height().max(cluster.nodes[3].height()) + 1;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for node in &cluster.nodes[..2] {
        assert!(node.height() <= highest, "a block with two votes of four");
    }
    let halted = cluster.nodes[0].height();
    cluster.nodes[2].start().await.unwrap();
    cluster.nodes[3].start().await.unwrap();
    cluster.agree(&[0, 1, 2, 3], halted + 4).await;
    cluster.stop().await;
}
