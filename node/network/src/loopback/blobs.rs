//! Blobs from peers that are honest, lying, absent or confused.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agon_protocol::digest::BlobId;

use super::adversary::{Adversary, framed};
use super::harness::{Chain, Node, config, line, within};
use crate::blobs::{CHUNK_BYTES, ChunkTreeBuilder};
use crate::wire::{Request, Response};
use crate::{
    FetchError, Misbehaviour, Patience, Progress, Quota, RefusalReason, Room, StoreError, Terms,
    Verdict,
};

const LIMIT: u64 = 64 << 20;
const CHUNK: usize = CHUNK_BYTES as usize;

fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn fetched(progress: Progress, last: &AtomicU64) {
    last.store(progress.chunks_fetched, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_comes_from_several_peers_and_is_passed_on() {
    let nodes = [
        Node::start(config(1)).await,
        Node::start(config(2)).await,
        Node::start(config(3)).await,
    ];
    line(&nodes).await;
    let bytes = sample(5 * CHUNK + 99);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    nodes[0].handle.blobs().put(&bytes, LIMIT).unwrap();
    for node in &nodes[1..] {
        let count = AtomicU64::new(0);
        let fetch = node
            .handle
            .fetch_blob(id, length, LIMIT, |progress| fetched(progress, &count));
        within("the blob", fetch).await.unwrap();
        assert_eq!(node.handle.blobs().read(id, LIMIT).unwrap(), bytes);
        assert_eq!(count.load(Ordering::SeqCst), 6);
    }
    // Held already: nothing is asked.
    let fetch = nodes[2]
        .handle
        .fetch_blob(id, length, LIMIT, |_| panic!("nothing to do"));
    within("no fetch", fetch).await.unwrap();
}

/// One honest peer, one that gives the true tree and lies as `lie` says; the blob must arrive and the liar be banned.
async fn survives(lie: impl Fn(&Request, &[u8]) -> Option<Response> + Send + 'static) {
    let (honest, victim) = (Node::start(config(1)).await, Node::start(config(2)).await);
    let bytes = sample(32 * CHUNK - 1);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    honest.handle.blobs().put(&bytes, LIMIT).unwrap();
    let mut builder = ChunkTreeBuilder::default();
    builder.update(&bytes);
    let (_, tree) = builder.finish();
    let told = bytes.clone();
    let liar = Adversary::start(victim.address(), vec![], move |request| {
        let response = lie(request, &told).or_else(|| match request {
            Request::Tree { .. } => Some(Response::Tree(tree.leaves().to_vec())),
            _ => None,
        });
        response.map(|response| framed(&response))
    });
    victim.until_connected(liar.id).await;
    victim.dial(&honest).await;
    let fetch = victim.handle.fetch_blob(id, length, LIMIT, |_| {});
    within("the blob", fetch).await.unwrap();
    assert_eq!(victim.handle.blobs().read(id, LIMIT).unwrap(), bytes);
    let reason = RefusalReason::Banned(Misbehaviour::InvalidBlob);
    victim
        .until("the ban", |told| told.refused.contains(&(liar.id, reason)))
        .await;
    let peers = victim.handle.peers().await.unwrap();
    assert!(peers.iter().all(|info| info.peer == honest.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_changes_one_bit_of_a_chunk_is_found_out() {
    survives(|request, bytes| match request {
        Request::Chunk { index, .. } => {
            let start = *index as usize * CHUNK;
            let mut chunk = bytes[start..bytes.len().min(start + CHUNK)].to_vec();
            chunk[1000] ^= 1;
            Some(Response::Chunk(chunk))
        }
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_another_chunk_is_found_out() {
    survives(|request, bytes| match request {
        Request::Chunk { index, .. } => {
            let start = ((*index as usize + 1) % 8) * CHUNK;
            Some(Response::Chunk(bytes[start..start + CHUNK].to_vec()))
        }
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_a_false_tree_is_found_out() {
    let victim = Node::start(config(2)).await;
    let bytes = sample(3 * CHUNK);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    let liar = Adversary::start(victim.address(), vec![], |request| match request {
        Request::Tree { .. } => Some(framed(&Response::Tree(vec![[7; 32]; 3]))),
        _ => None,
    });
    victim.until_connected(liar.id).await;
    let fetch = victim.handle.fetch_blob(id, length, LIMIT, |_| {});
    let banned = async {
        let reason = RefusalReason::Banned(Misbehaviour::InvalidBlob);
        victim
            .until("the ban", |told| told.refused.contains(&(liar.id, reason)))
            .await;
    };
    tokio::select! {
        result = fetch => panic!("the fetch must go on without the liar: {result:?}"),
        () = banned => {}
    }
    // An honest peer comes, and the same blob arrives.
    let honest = Node::start(config(1)).await;
    honest.handle.blobs().put(&bytes, LIMIT).unwrap();
    victim.dial(&honest).await;
    let fetch = victim.handle.fetch_blob(id, length, LIMIT, |_| {});
    within("the blob", fetch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_fetch_continues_after_a_restart_where_it_was() {
    let holder = Node::start(config(1)).await;
    let bytes = sample(24 * CHUNK);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    holder.handle.blobs().put(&bytes, LIMIT).unwrap();

    let fetcher = Node::start(config(2)).await;
    fetcher.dial(&holder).await;
    let enough = tokio::sync::Notify::new();
    let fetch = fetcher.handle.fetch_blob(id, length, LIMIT, |progress| {
        if progress.chunks_fetched >= 5 {
            enough.notify_one();
        }
    });
    tokio::select! {
        biased;
        () = enough.notified() => {}
        result = within("some chunks", fetch) => panic!("not interrupted: {result:?}"),
    }
    let folder = fetcher.stop().await;

    let accept = |_: &[u8]| Verdict::Accept;
    let fetcher = Node::with(config(2), accept, Chain::default(), folder).await;
    assert!(!fetcher.handle.blobs().holds(id));
    fetcher.dial(&holder).await;
    let reports = Mutex::new(Vec::new());
    let fetch = fetcher.handle.fetch_blob(id, length, LIMIT, |progress| {
        reports.lock().unwrap().push(progress);
    });
    within("the rest", fetch).await.unwrap();
    let reports = reports.into_inner().unwrap();
    let kept_chunks = reports[0].kept / CHUNK_BYTES;
    assert!(kept_chunks >= 5, "the kept chunks are found again");
    let last = reports.last().unwrap();
    assert_eq!(
        last.chunks_fetched,
        24 - kept_chunks,
        "none is fetched twice"
    );
    assert_eq!(last.kept, length);
    assert_eq!(fetcher.handle.blobs().read(id, LIMIT).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrongly_stated_length_is_told_apart_from_an_absent_blob() {
    let mut impatient = config(2);
    impatient.timing.patience = Duration::from_millis(300);
    let (holder, fetcher) = (Node::start(config(1)).await, Node::start(impatient).await);
    fetcher.dial(&holder).await;
    let bytes = sample(2 * CHUNK);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    holder.handle.blobs().put(&bytes, LIMIT).unwrap();
    for stated in [length - 1, length + 1, 5, 0] {
        let fetch = fetcher.handle.fetch_blob(id, stated, LIMIT, |_| {});
        match within("the refusal", fetch).await {
            Err(FetchError::WrongLength { found, .. }) => assert_eq!(found, length),
            other => panic!("stated {stated}: {other:?}"),
        }
    }
    let absent = BlobId::of(b"nobody has this");
    let fetch = fetcher
        .handle
        .fetch_blob(absent, 3 * CHUNK_BYTES, LIMIT, |_| {});
    let result = within("giving up", fetch).await;
    assert!(matches!(
        result,
        Err(FetchError::Unavailable { missing: 3, .. })
    ));
    let fetch = fetcher.handle.fetch_blob(id, LIMIT + 1, LIMIT, |_| {});
    let result = within("the refusal", fetch).await;
    assert!(matches!(result, Err(FetchError::TooLong { .. })));
    // The true length still works after all this, and the holder was not blamed.
    let fetch = fetcher.handle.fetch_blob(id, length, LIMIT, |_| {});
    within("the blob", fetch).await.unwrap();
    assert!(fetcher.told.borrow().refused.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_fetches_of_one_blob_share_the_work() {
    let (holder, fetcher) = (Node::start(config(1)).await, Node::start(config(2)).await);
    fetcher.dial(&holder).await;
    let bytes = sample(8 * CHUNK);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    holder.handle.blobs().put(&bytes, LIMIT).unwrap();
    let (one, two) = (AtomicU64::new(0), AtomicU64::new(0));
    let first = fetcher
        .handle
        .fetch_blob(id, length, LIMIT, |p| fetched(p, &one));
    let second = fetcher
        .handle
        .fetch_blob(id, length, LIMIT, |p| fetched(p, &two));
    let (first, second) = within("both", async { tokio::join!(first, second) }).await;
    first.unwrap();
    second.unwrap();
    assert_eq!(one.load(Ordering::SeqCst) + two.load(Ordering::SeqCst), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_was_damaged_on_disk_is_not_served_and_can_be_fetched_anew() {
    let (first, second) = (Node::start(config(1)).await, Node::start(config(2)).await);
    first.dial(&second).await;
    let bytes = sample(3 * CHUNK);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    first.handle.blobs().put(&bytes, LIMIT).unwrap();
    let fetch = second.handle.fetch_blob(id, length, LIMIT, |_| {});
    within("the blob", fetch).await.unwrap();
    let folder = first.folder.as_ref().unwrap().path();
    let path = folder.join("complete").join(id.to_string());
    let mut damaged = bytes.clone();
    damaged[CHUNK + 3] ^= 1;
    std::fs::write(path, damaged).unwrap();
    assert!(first.handle.blobs().check(id).is_err());
    let fetch = first.handle.fetch_blob(id, length, LIMIT, |_| {});
    within("the blob again", fetch).await.unwrap();
    assert_eq!(first.handle.blobs().read(id, LIMIT).unwrap(), bytes);
    assert!(second.told.borrow().refused.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_beyond_the_quota_is_not_fetched_unless_it_is_committed() {
    let (holder, fetcher) = (Node::start(config(1)).await, Node::start(config(2)).await);
    fetcher.dial(&holder).await;
    let bytes = sample(3 * CHUNK);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    holder.handle.blobs().put(&bytes, LIMIT).unwrap();
    fetcher.handle.blobs().set_quota(Quota {
        total: length,
        reserved: 1,
    });
    let fetch = fetcher.handle.fetch_blob(id, length, LIMIT, |_| {});
    let refused = within("the refusal", fetch).await;
    assert!(matches!(
        refused,
        Err(FetchError::Store(StoreError::Full { .. }))
    ));
    let terms = Terms {
        patience: Patience::Full,
        room: Room::Committed,
    };
    let fetch = fetcher.handle.fetch_blob_with(id, length, LIMIT, terms);
    within("the blob", fetch).await.unwrap();
    assert_eq!(fetcher.handle.blobs().used(), length);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_no_peer_holds_is_given_up_after_one_round_when_it_may_be_gone() {
    let (one, two) = (Node::start(config(1)).await, Node::start(config(2)).await);
    let fetcher = Node::start(config(3)).await;
    fetcher.dial(&one).await;
    fetcher.dial(&two).await;
    let terms = Terms {
        patience: Patience::OneRound,
        room: Room::Other,
    };
    let gone = BlobId::of(b"nobody has this");
    let fetch = fetcher.handle.fetch_blob_with(gone, 5, LIMIT, terms);
    let result = tokio::time::timeout(config(3).timing.patience / 2, fetch).await;
    assert!(matches!(
        result,
        Ok(Err(FetchError::Unavailable { missing: 1, .. }))
    ));
}
