//! Real nodes: an observer that joins by a snapshot, and blobs that are kept and removed by the rule.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node_support;

use agon_node::api::types::{BlockView, ErrorBody, Status, StoredBlob};
use agon_node::config::{NodeConfig, PruneAfter, SyncFrom, TrustPoint};
use agon_node::sealed;
use agon_protocol::competition::{BlobRef, CompetitionSpec};
use agon_protocol::digest::BlobId;
use agon_protocol::metric::{Metric, Threshold};
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding, Task};
use agon_protocol::transactions::Action;
use agon_protocol::units::{Amount, TimeMs};
use node_support::*;

async fn pay(node: &Running, genesis: &agon_protocol::genesis::Genesis, from: u64, count: u64) {
    for nonce in from..from + count {
        let payment = transfer(genesis, 10, nonce, 1);
        node.send(&payment).await;
        node.committed(&payment).await;
    }
}

async fn at_height(node: &Running, height: u64) -> Status {
    until("the height", || async {
        let status = node.status().await;
        (status.height >= height).then_some(status)
    })
    .await
}

fn observing(dir: &std::path::Path, validator: &Running, name: &str) -> NodeConfig {
    let genesis = std::fs::read(dir.join("validator/genesis.json")).unwrap();
    let genesis = serde_json::from_slice(&genesis).unwrap();
    let mut config = folder(&dir.join(name), &genesis, None);
    config.network.bootstrap = validator.addresses.swarm.clone();
    config.sync.from = SyncFrom::Snapshot;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_joins_by_snapshot_and_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("join", 1);
    let mut config = folder(&dir.path().join("validator"), &genesis, Some(&key(0)));
    config.sync.snapshot_every = 4;
    let validator = start(&config).await;
    pay(&validator, &genesis, 0, 14).await;
    let offered = until("two snapshots, no more", || async {
        let snapshots = validator.status().await.snapshots;
        (snapshots.len() == 2).then_some(snapshots)
    })
    .await;
    assert_eq!(offered[0].height, offered[1].height + 4);
    assert!(offered.iter().all(|snapshot| snapshot.height % 4 == 0));

    let joining = observing(dir.path(), &validator, "observer");
    let observer = start(&joining).await;
    let height = validator.status().await.height;
    let status = at_height(&observer, height).await;
    assert!(
        status.first > 1 && status.first % 4 == 0,
        "{}",
        status.first
    );
    // it says what it does not have, and where to ask
    for missing in [1, status.first] {
        let path = format!("/v1/blocks/{missing}");
        let (code, body) = observer.request("GET", &path, b"").await;
        let error: ErrorBody = serde_json::from_slice(&body).unwrap();
        assert_eq!(code, 404);
        assert!(error.error.contains("snapshot"), "{}", error.error);
        assert!(error.hint.contains("genesis"), "{}", error.hint);
    }
    observer.stop().await;

    pay(&validator, &genesis, 14, 2).await;
    let observer = start(&joining).await;
    let last = validator.status().await;
    let again = at_height(&observer, last.height).await;
    assert_eq!(again.first, status.first, "it goes on where it was");
    let path = format!("/v1/blocks/{}", last.height);
    let (mine, theirs): (BlockView, BlockView) =
        (observer.get(&path).await, validator.get(&path).await);
    assert_eq!(mine.state_root, theirs.state_root);
    observer.stop().await;

    // the operator trusts one block, and nothing else will do
    let offered = validator.status().await.snapshots[0].clone();
    let mut trusting = observing(dir.path(), &validator, "trusting");
    trusting.sync.trust = Some(TrustPoint {
        height: offered.height,
        block: offered.block,
    });
    let observer = start(&trusting).await;
    let status = at_height(&observer, last.height).await;
    assert_eq!(status.first, offered.height);
    observer.stop().await;
    validator.stop().await;
}

fn terms(sealed: &[u8], data: &Dataset, key: &agon_protocol::sealed::DataKey) -> CompetitionSpec {
    let (now, feature) = (
        now_ms(),
        FeatureEncoding {
            exponent: 0,
            offset: 0,
            max: 30,
        },
    );
    CompetitionSpec {
        title: "soon over".into(),
        description: String::new(),
        encoding: InputEncoding {
            features: vec![feature; 2],
        },
        task: Task::from(2),
        samples: 3,
        metric: Metric::Accuracy,
        max_parameters: 100,
        training_data: None,
        sealed_data: BlobRef {
            id: BlobId::of(sealed),
            length: sealed.len() as u64,
        },
        data_digest: data.digest(),
        key_commitment: key.commitment(),
        opens_at: TimeMs::new(now),
        // a loaded machine has to open it, and to look at its test set, before it is over
        register_until: TimeMs::new(now + 5_000),
        key_until: TimeMs::new(now + 6_000),
        prove_until: TimeMs::new(now + 7_000),
        payouts: vec![10_000],
        deposit: Amount::new(10),
        submissions_per_registration: 1,
        registrations_per_account: 1,
        minimum: Threshold::None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_a_competition_that_ended_go_but_not_from_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("prune", 1);
    let mut config = folder(&dir.path().join("validator"), &genesis, Some(&key(0)));
    config.blobs.prune_after = PruneAfter::Seconds(1);
    config.consensus.idle_ms = 200;
    let validator = start(&config).await;
    let mut archiving = observing(dir.path(), &validator, "archive");
    archiving.sync.from = SyncFrom::Genesis;
    archiving.blobs.prune_after = PruneAfter::Never;
    let archive = start(&archiving).await;

    let data = Dataset::new(2, 2, vec![1, 2, 3, 4, 5, 6], vec![0, 1, 1]).unwrap();
    let data_key = sealed::new_key().unwrap();
    let blob = sealed::seal(&data_key, &data).unwrap();
    for node in [&validator, &archive] {
        let (status, answer) = node.request("PUT", "/v1/blobs", &blob).await;
        assert_eq!(status, 200);
        let stored: StoredBlob = serde_json::from_slice(&answer).unwrap();
        assert_eq!(stored.id, BlobId::of(&blob));
    }
    let open = sign(
        &genesis,
        10,
        0,
        Action::OpenCompetition {
            spec: Box::new(terms(&blob, &data, &data_key)),
            prize: Amount::new(100),
            bond: Amount::new(50),
        },
    );
    validator.send(&open).await;
    validator.committed(&open).await;
    let path = format!("/v1/blobs/{}", BlobId::of(&blob));
    let (status, _) = validator.request("GET", &path, b"").await;
    assert_eq!(status, 200, "it is there while the competition runs");

    // the key never comes: the competition is void, and its last deadline passes
    let body = until("the blob is gone", || async {
        let (status, body) = validator.request("GET", &path, b"").await;
        (status == 410).then_some(body)
    })
    .await;
    let error: ErrorBody = serde_json::from_slice(&body).unwrap();
    assert!(error.hint.contains("archive"), "{}", error.hint);
    let height = validator.status().await.height;
    at_height(&archive, height).await;
    let (status, kept) = archive.request("GET", &path, b"").await;
    assert_eq!((status, kept == blob), (200, true));
    archive.stop().await;
    validator.stop().await;
}
