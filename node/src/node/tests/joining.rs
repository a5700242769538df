//! Observers that start from a snapshot of peers that are honest or lying.

use std::time::Duration;

use agon_consensus::CertifiedBlock;
use agon_network::SnapshotOffer;
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::digest::{BlobId, BlockId};
use agon_protocol::units::Height;

use super::world::{Liar, PATIENCE, Peer, Story};
use crate::config::TrustPoint;
use crate::testing::certify_by;

const LONG: Duration = PATIENCE;

fn same_state(story: &Story, observer: &Peer) {
    let (expected, found) = (story.ledger.state(), observer.common.ledger.state());
    assert_eq!(found.height(), expected.height());
    assert_eq!(found.root(), expected.root());
}

/// A story with a snapshot, whoever has all of it, and an observer that started from the snapshot.
async fn started() -> (Story, SnapshotOffer, Peer, Peer) {
    let mut story = Story::new("snapshot");
    story.transfers(3);
    // the key is released before the snapshot, the proofs come after it
    let registers = story.proving(12);
    let offer = story.snapshot();
    story.proofs(&registers, &[5]);
    story.transfers(4);
    let holder = Peer::serving(&story.genesis, story.source(), story.blobs.clone()).await;
    let observer = Peer::joining(&story.genesis, &[&holder], None, LONG).await;
    observer.reaches(story.height()).await;
    same_state(&story, &observer);
    (story, offer, holder, observer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_judges_the_proofs_whose_blobs_a_peer_holds() {
    let (story, offer, holder, observer) = started().await;
    // the proofs were judged, not believed: their blobs are here, and so is the test set
    for blob in &story.blobs {
        let id = BlobId::of(blob);
        assert_eq!(observer.common.blobs.holds(id), id != offer.blob);
    }
    observer.stop().await;
    holder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_starts_from_a_snapshot_and_follows() {
    let (story, offer, holder, observer) = started().await;

    let ledger = &observer.common.ledger;
    let first = Height::new(offer.height);
    assert_eq!(ledger.first(), first);
    assert!(ledger.certified(first).unwrap().is_some());
    assert!(
        ledger.block(first).unwrap().is_none(),
        "its receipts are not known"
    );
    assert!(
        ledger
            .certified(Height::new(offer.height - 1))
            .unwrap()
            .is_none()
    );
    assert!(
        ledger
            .block(Height::new(offer.height + 1))
            .unwrap()
            .is_some()
    );
    // who wants earlier blocks is not sent to the observer
    let late = Peer::following(&story.genesis, &[&observer]).await;
    late.dials(&holder).await;
    late.reaches(story.height()).await;
    same_state(&story, &late);
    late.stop().await;
    observer.stop().await;
    holder.stop().await;
}

/// A liar alone is turned away; with an honest peer the observer starts after all.
async fn survives(name: &str, lie: impl Fn(&Story, SnapshotOffer) -> (Liar, Vec<Vec<u8>>)) {
    let mut story = Story::new(name);
    story.transfers(6);
    let offer = story.snapshot();
    story.transfers(3);
    let (liar, blobs) = lie(&story, offer);
    let liar = Peer::serving(&story.genesis, liar, blobs).await;
    let observer = Peer::joining(&story.genesis, &[&liar], None, LONG).await;
    observer.until_banned(&liar).await;
    assert_eq!(observer.common.ledger.state().height(), Height::ZERO);
    let honest = Peer::serving(&story.genesis, story.source(), story.blobs.clone()).await;
    observer.dials(&honest).await;
    observer.reaches(story.height()).await;
    same_state(&story, &observer);
    assert_eq!(observer.common.ledger.first().get(), offer.height);
    observer.stop().await;
    liar.stop().await;
    honest.stop().await;
}

fn naming(offer: SnapshotOffer, snapshot: &[u8]) -> SnapshotOffer {
    SnapshotOffer {
        blob: BlobId::of(snapshot),
        length: snapshot.len() as u64,
        ..offer
    }
}

/// Offers other bytes as the snapshot of the true block.
fn offering(story: &Story, offer: SnapshotOffer, snapshot: Vec<u8>) -> (Liar, Vec<Vec<u8>>) {
    let false_offer = naming(offer, &snapshot);
    let mut liar = Liar::honest(story);
    liar.offers = Box::new(move |_| vec![false_offer]);
    (liar, vec![snapshot])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_with_another_root_is_refused() {
    // somebody is rich: one unit moves from one balance to another
    survives("root", |story, offer| {
        let mut snapshot = story.blobs.last().unwrap().clone();
        // the treasury is the last number before the accounts; an account's balance follows its name
        let accounts = 32 + 8 + 8 + 32 + 8 + 4;
        let (balance, next) = (accounts + 32, accounts + 48 + 32);
        snapshot[balance] = snapshot[balance].wrapping_add(1);
        snapshot[next] = snapshot[next].wrapping_sub(1);
        offering(story, offer, snapshot)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_snapshot_is_refused() {
    survives("truncated", |story, offer| {
        let mut snapshot = story.blobs.last().unwrap().clone();
        snapshot.truncate(snapshot.len() - 1);
        offering(story, offer, snapshot)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_true_state_of_another_height_is_refused() {
    survives("height", |story, offer| {
        let snapshot = story.ledger.state().snapshot();
        offering(story, offer, snapshot)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_for_a_block_that_is_not_the_certified_one_is_refused() {
    survives("block", |story, _| {
        let mut liar = Liar::honest(story);
        liar.offers = Box::new(|offers| {
            let other = |offer| SnapshotOffer {
                block: BlockId::of(b"another"),
                ..offer
            };
            offers.into_iter().map(other).collect()
        });
        (liar, story.blobs.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_with_another_length_than_the_snapshot_has_is_refused() {
    survives("length", |story, _| {
        let mut liar = Liar::honest(story);
        liar.offers = Box::new(|offers| {
            let longer = |offer: SnapshotOffer| SnapshotOffer {
                length: offer.length + 1,
                ..offer
            };
            offers.into_iter().map(longer).collect()
        });
        (liar, story.blobs.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_others_than_the_validators_certified_is_refused() {
    survives("set", |story, _| {
        let mut liar = Liar::honest(story);
        let genesis = story.genesis.clone();
        liar.block = Box::new(move |bytes| {
            let CertifiedBlock { certificate, block } = CertifiedBlock::from_bytes(&bytes).unwrap();
            certify_by(5, &genesis, certificate.height, block).to_bytes()
        });
        (liar, story.blobs.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_block_that_the_operator_trusts_is_started_from() {
    let mut story = Story::new("trust");
    story.transfers(4);
    let older = story.snapshot();
    story.transfers(4);
    let newer = story.snapshot();
    let holder = Peer::serving(&story.genesis, story.source(), story.blobs.clone()).await;
    let trust = TrustPoint {
        height: older.height,
        block: older.block,
    };
    let observer = Peer::joining(&story.genesis, &[&holder], Some(trust), LONG).await;
    observer.reaches(story.height()).await;
    assert_eq!(observer.common.ledger.first().get(), older.height);
    observer.stop().await;

    let observer = Peer::joining(&story.genesis, &[&holder], None, LONG).await;
    observer.reaches(story.height()).await;
    assert_eq!(observer.common.ledger.first().get(), newer.height);
    observer.stop().await;

    let trust = TrustPoint {
        height: newer.height,
        block: BlockId::of(b"another"),
    };
    let none = Duration::ZERO;
    let observer = Peer::joining(&story.genesis, &[&holder], Some(trust), none).await;
    observer.until_met(&holder).await;
    // several rounds of asking, each of which would do
    for _ in 0..3 {
        observer.handle.fetch_snapshots().await.unwrap();
    }
    assert_eq!(observer.common.ledger.state().height(), Height::ZERO);
    observer.stop().await;
    holder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_snapshot_the_chain_is_followed_from_the_genesis() {
    let mut story = Story::new("young");
    story.transfers(5);
    let holder = Peer::serving(&story.genesis, story.source(), []).await;
    let grace = Duration::from_millis(100);
    let observer = Peer::joining(&story.genesis, &[&holder], None, grace).await;
    observer.reaches(story.height()).await;
    assert_eq!(observer.common.ledger.first().get(), 1);
    observer.stop().await;
    holder.stop().await;
}
