//! What is kept, what is removed and when, and how many at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use agon_network::BlobStore;
use agon_protocol::digest::BlobId;
use tempfile::TempDir;

use super::super::retention::{Pruned, Retention};
use super::super::snapshots::Shelf;
use super::world::Story;
use crate::config::{MempoolConfig, PruneAfter};
use crate::mempool::{Mempool, Origin};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Node {
    retention: Retention,
    _folder: TempDir,
}

impl Node {
    fn holding(story: &Story, prune_after: PruneAfter, unnamed_after: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        for blob in &story.blobs {
            blobs.put(blob, 1 << 20).unwrap();
        }
        let store = story.ledger.store().clone();
        let network = story.genesis.network_id();
        let mempool = Mempool::open(store.clone(), network, MempoolConfig::default()).unwrap();
        Self {
            retention: Retention {
                ledger: story.ledger.clone(),
                mempool: Arc::new(mempool),
                blobs,
                shelf: Arc::new(Shelf::open(store).unwrap()),
                pruned: Arc::new(Pruned::default()),
                prune_after,
                unnamed_after,
            },
            _folder: folder,
        }
    }

    fn put(&self, blob: &[u8]) -> BlobId {
        self.retention.blobs.put(blob, 1 << 20).unwrap().id
    }

    fn sweep(&self) -> usize {
        self.retention.sweep().unwrap()
    }

    fn held(&self) -> HashSet<BlobId> {
        let list = self.retention.blobs.list().unwrap();
        list.iter().map(|blob| blob.id).collect()
    }
}

fn ids(blobs: &[Vec<u8>]) -> HashSet<BlobId> {
    blobs.iter().map(|blob| BlobId::of(blob)).collect()
}

#[test]
fn blobs_of_a_competition_stay_while_it_runs_and_for_the_time_after_it_ended() {
    let mut story = Story::new("kept");
    let registers = story.proving(3);
    story.proofs(&registers, &[1]);
    // its own blobs are old enough to go as far as age counts
    let now = PruneAfter::Seconds(0);
    let node = Node::holding(&story, now, Duration::ZERO);
    assert_eq!(node.sweep(), 0);
    assert_eq!(node.held(), ids(&story.blobs));

    story.settled();
    let node = Node::holding(&story, PruneAfter::Seconds(1), Duration::ZERO);
    assert_eq!(node.sweep(), 0, "it ended less than a second ago");
    assert_eq!(node.held(), ids(&story.blobs));
    story.later(5_000);
    assert_eq!(node.sweep(), story.blobs.len());
    assert!(node.held().is_empty());
    for blob in &story.blobs {
        assert!(node.retention.pruned.contains(&BlobId::of(blob)));
    }

    let archive = Node::holding(&story, PruneAfter::Never, Duration::ZERO);
    assert_eq!(archive.sweep(), 0);
    assert_eq!(archive.held(), ids(&story.blobs));
    assert!(
        !archive
            .retention
            .pruned
            .contains(&BlobId::of(&story.blobs[0]))
    );
}

#[test]
fn a_blob_that_another_competition_still_needs_stays() {
    let mut story = Story::new("shared");
    story.proving(1);
    story.settled();
    story.later(5_000);
    let first = story.blobs.clone();
    // the same sealed test set, again
    story.proving_from(5_000, 1, &first[0]);
    let node = Node::holding(&story, PruneAfter::Seconds(0), Duration::ZERO);
    assert_eq!(node.sweep(), 0);
    assert!(node.held().contains(&BlobId::of(&first[0])));
    assert!(!node.retention.pruned.contains(&BlobId::of(&first[0])));
}

#[test]
fn what_nothing_names_goes_by_age_and_what_waits_or_is_offered_stays() {
    let mut story = Story::new("unnamed");
    let registers = story.proving(1);
    let young = Node::holding(&story, PruneAfter::Never, DAY);
    let upload = young.put(b"an upload");
    assert_eq!(young.sweep(), 0);
    assert!(young.held().contains(&upload));

    let node = Node::holding(&story, PruneAfter::Never, Duration::ZERO);
    let upload = node.put(b"an upload");
    let submit = story.waiting(&registers[0], b"valid 0");
    let waiting = node.put(b"valid 0");
    let state = story.ledger.state();
    let mempool = &node.retention.mempool;
    mempool
        .admit(
            &submit,
            &state,
            state.time().saturating_add(1),
            Origin::Client,
        )
        .unwrap();
    assert_eq!(node.sweep(), 1);
    assert!(!node.held().contains(&upload));
    assert!(node.held().contains(&waiting));
    // the transaction is dropped, and its blob with it
    let id = agon_protocol::digest::TransactionId::of(&submit);
    mempool.refuse(&id, None, "a test".into()).unwrap();
    assert_eq!(node.sweep(), 1);
    assert!(!node.held().contains(&waiting));

    let offer = story.snapshot();
    let node = Node::holding(&story, PruneAfter::Never, Duration::ZERO);
    assert_eq!(node.sweep(), 1, "the proof that no transaction names");
    assert!(node.held().contains(&offer.blob));
}

#[test]
fn a_sweep_removes_a_bounded_number() {
    let story = Story::new("bounded");
    let node = Node::holding(&story, PruneAfter::Never, Duration::ZERO);
    for number in 0..100u32 {
        node.put(&number.to_le_bytes());
    }
    assert_eq!(node.sweep(), 64);
    assert_eq!(node.held().len(), 36);
    assert_eq!(node.sweep(), 36);
    assert_eq!(node.sweep(), 0);
}
