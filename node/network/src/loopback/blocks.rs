//! Certified blocks by height.

use std::collections::HashSet;
use std::time::Duration;

use agon_protocol::digest::{BlobId, BlockId};

use super::adversary::{Adversary, framed, introduction};
use super::harness::{Chain, Node, config, poll, within};
use crate::wire::{MAX_BLOCKS, MAX_BLOCKS_BYTES, MAX_OFFERS, Request, Response};
use crate::{FetchError, Misbehaviour, RefusalReason, SnapshotOffer, Verdict};

async fn holder(height: u64, careless: bool) -> Node {
    let chain = Chain {
        height: height.into(),
        careless,
        ..Chain::default()
    };
    let folder = tempfile::tempdir().unwrap();
    Node::with(config(1), |_| Verdict::Accept, chain, folder).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_come_by_range_from_a_peer_that_has_them() {
    let (holder, fetcher) = (holder(999, false).await, Node::start(config(2)).await);
    let empty = Node::start(config(3)).await;
    fetcher.dial(&holder).await;
    fetcher.dial(&empty).await;
    let got = within("blocks", fetcher.handle.fetch_blocks(990, 4))
        .await
        .unwrap();
    assert_eq!(got.peer, holder.id());
    assert_eq!(
        got.blocks,
        ["990", "991", "992", "993"].map(|text| text.as_bytes().to_vec())
    );
    let got = within("blocks", fetcher.handle.fetch_blocks(998, 100))
        .await
        .unwrap();
    assert_eq!(got.blocks.len(), 2);
    let got = within("blocks", fetcher.handle.fetch_blocks(1, usize::MAX))
        .await
        .unwrap();
    assert_eq!(got.blocks.len(), MAX_BLOCKS);
    let none = within("the refusal", fetcher.handle.fetch_blocks(1000, 4)).await;
    assert!(matches!(none, Err(FetchError::NoBlocks { from: 1000 })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_cut_to_the_bounds_of_the_wire() {
    let (holder, fetcher) = (holder(9, true).await, Node::start(config(2)).await);
    fetcher.dial(&holder).await;
    let got = within("blocks", fetcher.handle.fetch_blocks(1, 9))
        .await
        .unwrap();
    let bytes: usize = got.blocks.iter().map(Vec::len).sum();
    assert_eq!(got.blocks.len(), 2);
    assert!(bytes <= MAX_BLOCKS_BYTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_takes_room_only_until_it_is_sent() {
    let (holder, fetcher) = (holder(9, true).await, Node::start(config(2)).await);
    fetcher.dial(&holder).await;
    // each has six MiB: more than three of them would not be made for a peer that reads nothing
    for _ in 0..10 {
        poll("the blocks", || async {
            fetcher.handle.fetch_blocks(1, 9).await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_never_answer_do_not_keep_blocks_away() {
    let mut patient = config(2);
    // far longer than this test may take
    patient.timing.request = Duration::from_secs(600);
    let (holder, fetcher) = (holder(9, false).await, Node::start(patient).await);
    fetcher.dial(&holder).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        let hello = Request::Introduce(introduction(9));
        let liar = Adversary::start(fetcher.address(), vec![framed(&hello)], |request| {
            Some(match request {
                Request::Introduce(_) => framed(&Response::Introduction(introduction(9))),
                Request::Tip(_) => framed(&Response::Done),
                _ => Vec::new(),
            })
        });
        fetcher.until_connected(liar.id).await;
        silent.push(liar);
    }
    // it begins with another peer each time
    for _ in 0..2 {
        let got = within("the blocks", fetcher.handle.fetch_blocks(3, 1)).await;
        assert_eq!(got.unwrap().peer, holder.id());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_block_is_invalid_is_banned_on_report() {
    let (holder, fetcher) = (holder(9, false).await, Node::start(config(2)).await);
    fetcher.dial(&holder).await;
    let got = within("blocks", fetcher.handle.fetch_blocks(1, 1))
        .await
        .unwrap();
    fetcher
        .handle
        .report(got.peer, Misbehaviour::InvalidBlock)
        .await
        .unwrap();
    holder
        .until("the end", |told| told.disconnected.contains(&fetcher.id()))
        .await;
    let none = within("the refusal", fetcher.handle.fetch_blocks(1, 1)).await;
    assert!(matches!(none, Err(FetchError::NoBlocks { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_started_from_a_snapshot_is_not_asked_for_earlier_blocks() {
    let chain = Chain {
        height: 20.into(),
        first: 10,
        ..Chain::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let late = Node::with(config(1), |_| Verdict::Accept, chain, folder).await;
    let fetcher = Node::start(config(2)).await;
    fetcher.dial(&late).await;
    let none = within("the refusal", fetcher.handle.fetch_blocks(9, 4)).await;
    assert!(matches!(none, Err(FetchError::NoBlocks { from: 9 })));
    let got = within("blocks", fetcher.handle.fetch_blocks(10, 4)).await;
    assert_eq!(got.unwrap().blocks[0], b"10");
    let mut tried = HashSet::new();
    let none = within("the refusal", fetcher.handle.fetch_verdicts(9, &mut tried)).await;
    assert!(matches!(none, Err(FetchError::NoVerdicts { height: 9 })));
    let got = within("verdicts", fetcher.handle.fetch_verdicts(10, &mut tried)).await;
    assert_eq!(got.unwrap().bytes, b"verdicts of 10");
    // nobody is left to ask
    let none = within("the refusal", fetcher.handle.fetch_verdicts(10, &mut tried)).await;
    assert!(matches!(none, Err(FetchError::NoVerdicts { height: 10 })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_offered_and_more_than_the_bound_is_cut() {
    let offer = |height: u64| SnapshotOffer {
        height,
        block: BlockId::of(&height.to_le_bytes()),
        blob: BlobId::of(&height.to_le_bytes()),
        length: height,
    };
    let chain = Chain {
        snapshots: (1..=9).map(offer).collect(),
        ..Chain::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let keeper = Node::with(config(1), |_| Verdict::Accept, chain, folder).await;
    let fetcher = Node::start(config(2)).await;
    fetcher.dial(&keeper).await;
    let got = within("offers", fetcher.handle.fetch_snapshots())
        .await
        .unwrap();
    let expected: Vec<_> = (1..=MAX_OFFERS as u64).map(offer).collect();
    assert_eq!(got, vec![(keeper.id(), expected)]);
}

/// A peer that claims blocks and answers the question for them with `answer`, over and over, is banned and never waited for.
async fn bans_for(answer: Vec<u8>, misbehaviour: Misbehaviour) {
    let fetcher = Node::start(config(2)).await;
    let adversary = Adversary::start(fetcher.address(), vec![], move |request| match request {
        Request::Introduce(_) => Some(framed(&Response::Introduction(introduction(9)))),
        Request::Blocks { .. } => Some(answer.clone()),
        _ => None,
    });
    fetcher.until_connected(adversary.id).await;
    for _ in 0..2 {
        let none = within("the refusal", fetcher.handle.fetch_blocks(1, 2)).await;
        assert!(matches!(none, Err(FetchError::NoBlocks { .. })));
    }
    let reason = RefusalReason::Banned(misbehaviour);
    fetcher
        .until("the ban", |told| {
            told.refused.contains(&(adversary.id, reason))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_with_noise_is_banned() {
    bans_for(
        [&[9, 0, 0, 0][..], &[0xee; 9]].concat(),
        Misbehaviour::BrokenMessage,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_announces_a_huge_answer_is_banned() {
    bans_for(vec![0xff; 64], Misbehaviour::BrokenMessage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_gives_more_blocks_than_asked_is_banned() {
    let answer = framed(&Response::Blocks(vec![vec![1]; 3]));
    bans_for(answer, Misbehaviour::UnexpectedAnswer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_another_question_is_banned() {
    bans_for(framed(&Response::NotHeld), Misbehaviour::UnexpectedAnswer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_asks_noise_is_banned_and_the_node_lives_on() {
    let victim = Node::start(config(2)).await;
    let senseless = framed(&Request::Blocks {
        from: 0,
        max_count: u16::MAX,
    });
    let noise = [&[9, 0, 0, 0][..], &[0xee; 9]].concat();
    for question in [noise, vec![0xff; 64], senseless] {
        let questions = vec![question; 2];
        let adversary = Adversary::start(victim.address(), questions, |_| None);
        let reason = RefusalReason::Banned(Misbehaviour::BrokenMessage);
        victim
            .until("the ban", |told| {
                told.refused.contains(&(adversary.id, reason))
            })
            .await;
    }
    let friend = Node::start(config(3)).await;
    friend.dial(&victim).await;
}
