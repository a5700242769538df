//! Validators join, change their keys and leave while the network runs; and one that signs twice is found out.

use std::sync::atomic::Ordering;

use agon_consensus::{CertificateError, CertifiedBlock, Evidence, Validator};
use agon_protocol::units::Height;

use crate::support::cluster::{Cluster, Node, network, until, validators};
use crate::support::ledger::{read_chain, write_chain};

/// First heights of the changed sets.
const JOIN: u64 = 5;
const ROTATE: u64 = 9;
const LEAVE: u64 = 13;

/// Four validators; the fifth joins, the sixth is the new key of the first, the fourth leaves.
fn change_sets(cluster: &Cluster) {
    let all = validators(6);
    let sets = [
        (1, vec![all[0], all[1], all[2], all[3]]),
        (JOIN, vec![all[0], all[1], all[2], all[3], all[4]]),
        (ROTATE, vec![all[5], all[1], all[2], all[3], all[4]]),
        (LEAVE, vec![all[5], all[1], all[2], all[4]]),
    ];
    for node in &cluster.nodes {
        *node.controls.sets.lock().unwrap() = sets.clone().into();
    }
}

/// Every block is certified by the set of its height, and by nobody else.
fn check_certificates(cluster: &Cluster, blocks: &[CertifiedBlock]) {
    for (height, block) in (1..).zip(blocks) {
        let set = cluster.nodes[0].controls.set_at(height);
        let verdict = block.verify(&network(), &set, Height::new(height));
        assert_eq!(verdict, Ok(()), "block {height}");
    }
}

pub(crate) fn signed(block: &CertifiedBlock, validator: &Validator) -> bool {
    let mut signers = block.certificate.signatures.iter();
    signers.any(|entry| entry.validator == validator.account)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_goes_on_while_validators_join_rotate_and_leave() {
    let mut cluster = Cluster::new(6).await;
    change_sets(&cluster);
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    cluster.agree(&[0, 1, 2, 3, 4, 5], LEAVE as usize + 4).await;

    // The rotated and the departed one are gone, and of the four that are left three suffice: the one that joined and the new
    // key are needed.
    for number in [0, 3, 1] {
        cluster.nodes[number].stop().await;
    }
    let height = cluster.nodes[2].height() + 4;
    cluster.agree(&[2, 4, 5], height).await;

    let (blocks, _) = read_chain(&cluster.nodes[2].ledger_path());
    check_certificates(&cluster, &blocks);
    let all = validators(6);
    let last = blocks.last().unwrap();
    assert!(signed(last, &all[4]) && signed(last, &all[5]));
    // The set before does not vouch for a block after.
    let first = &blocks[height - 1];
    let old = first.verify(&network(), &all[..4], Height::new(height as u64));
    assert!(matches!(old, Err(CertificateError::UnknownValidator(_))));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_left_follows_and_is_not_needed() {
    let mut cluster = Cluster::new(4).await;
    let all = validators(4);
    for node in &cluster.nodes {
        node.controls
            .sets
            .lock()
            .unwrap()
            .insert(4, all[..3].to_vec());
    }
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    cluster.agree(&[0, 1, 2, 3], 8).await;
    cluster.nodes[3].stop().await;
    cluster.nodes[3].start().await.unwrap();
    let height = cluster.nodes[0].height() + 4;
    cluster.agree(&[0, 1, 2, 3], height).await;
    let (blocks, _) = read_chain(&cluster.nodes[0].ledger_path());
    check_certificates(&cluster, &blocks);
    assert!(blocks[3..].iter().all(|block| !signed(block, &all[3])));
    cluster.stop().await;
}

/// Four validators, and a fifth node with the key of the fourth and a folder of its own: what a backup is that is started beside
/// the original.
async fn with_a_twin() -> Cluster {
    let mut cluster = Cluster::new(5).await;
    for node in &cluster.nodes {
        let mut sets = node.controls.sets.lock().unwrap();
        sets.insert(1, validators(4));
    }
    cluster.nodes[4].config.key = cluster.nodes[3].config.key.clone();
    cluster
}

/// Waits until each of the first three has noticed that the fourth contradicted itself.
async fn found_out(cluster: &Cluster) -> Vec<Evidence> {
    let noticed = |node: &Node| node.controls.evidence.lock().unwrap().clone();
    until("evidence of double-signing", || {
        let mut honest = cluster.nodes[..3].iter();
        honest.all(|node| !noticed(node).is_empty())
    })
    .await;
    let found: Vec<Evidence> = cluster.nodes[..3].iter().flat_map(noticed).collect();
    for evidence in &found {
        assert_eq!(evidence.validator, validators(4)[3].account);
        assert_eq!(evidence.verify(&network(), &validators(4)), Ok(()));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_votes_on_two_machines_is_found_out() {
    let mut cluster = with_a_twin().await;
    // each honest validator knows one of the twins: they share a connection key, and one would hide the other
    cluster.connect(&[(0, 1), (0, 2), (1, 2), (3, 0), (3, 1), (4, 2)]);
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    found_out(&cluster).await;
    // The twins may contradict themselves into a fault of their own; the others agree.
    cluster
        .agree(&[0, 1, 2], cluster.nodes[0].height() + 3)
        .await;
}

/// Waits until the first four have the same block, and none of them has begun the next height for a while.
async fn at_rest(cluster: &Cluster) -> usize {
    let (mut height, mut polls) = (0, 0);
    until("a network at rest", || {
        let now = cluster.nodes[0].height();
        let mut nodes = cluster.nodes[..4].iter();
        let resting = nodes.all(|node| node.height() == now && node.engine_height() == now);
        polls = if resting && now == height {
            polls + 1
        } else {
            0
        };
        height = now;
        polls == 20
    })
    .await;
    height
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_vote_that_comes_after_the_decision_is_found_out() {
    let mut cluster = with_a_twin().await;
    cluster.connect(&[(0, 1), (0, 2), (1, 2), (3, 0), (3, 1), (3, 2), (4, 0)]);
    for node in &mut cluster.nodes[..4] {
        node.start().await.unwrap();
    }
    // a block that the fourth proposed, in the first round: so it voted for it
    let mut height = 0;
    let chain = loop {
        cluster.set_all(|controls| &controls.busy, true);
        cluster.nodes[..4].iter().for_each(Node::wake);
        cluster.agree(&[0, 1, 2, 3], height + 1).await;
        cluster.set_all(|controls| &controls.busy, false);
        height = at_rest(&cluster).await;
        let (chain, _) = read_chain(&cluster.nodes[0].ledger_path());
        let proposed = cluster.nodes[3].controls.proposed.lock().unwrap();
        if chain[height - 1].certificate.round == 0 && proposed.contains_key(&(height as u64)) {
            break chain;
        }
    };
    cluster.nodes[3].stop().await;

    // the twin does not have that block, takes it from nobody, and proposes and votes for one of its own
    let twin = &mut cluster.nodes[4];
    write_chain(&twin.ledger_path(), &chain[..height - 1]);
    twin.controls.undecided.store(true, Ordering::SeqCst);
    twin.start().await.unwrap();
    for evidence in found_out(&cluster).await {
        assert_eq!(evidence.height, Height::new(height as u64));
    }
    let again: Vec<_> = cluster.nodes[..3].iter().map(Node::height).collect();
    assert_eq!(again, [height; 3], "nothing was decided meanwhile");
    cluster.stop().await;
}
