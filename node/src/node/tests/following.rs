//! Observers of a chain whose blobs are there, are gone everywhere, or whose verdicts are lied about.

use agon_protocol::judge::Verdict;

use super::super::NodeError;
use super::world::{Liar, Peer, Story};

/// What becomes of the true verdicts; none when the peer says nothing.
type Lie = fn(Vec<u8>) -> Option<Vec<u8>>;

/// The truth but for the verdicts.
fn liar(story: &Story, verdicts: Lie) -> Liar {
    let mut liar = Liar::honest(story);
    liar.verdicts = Box::new(verdicts);
    liar
}

/// Fifty proofs in one block, more than are fetched at once; three of them do not hold.
fn contest(name: &str) -> Story {
    let mut story = Story::new(name);
    let registers = story.proving(50);
    story.proofs(&registers, &[3, 7, 19]);
    story.settled();
    story.transfers(5);
    story
}

fn same_state(story: &Story, observer: &Peer) {
    let (expected, found) = (story.ledger.state(), observer.common.ledger.state());
    assert_eq!(found.height(), expected.height());
    assert_eq!(found.root(), expected.root());
    let competition = found.competition(&story.competition.unwrap()).unwrap();
    let refused = competition
        .registrations
        .iter()
        .flat_map(|registration| &registration.submissions)
        .filter(|submission| submission.verdict == Verdict::Invalid);
    assert_eq!(refused.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_verifies_every_proof_whose_blob_is_there() {
    let mut story = contest("all there");
    // more than one answer's worth of blocks
    story.transfers(300);
    let holder = Peer::serving(&story.genesis, story.source(), story.blobs.clone()).await;
    let observer = Peer::following(&story.genesis, &[&holder]).await;
    observer.reaches(story.height()).await;
    same_state(&story, &observer);
    for blob in &story.blobs {
        let id = agon_protocol::digest::BlobId::of(blob);
        assert!(observer.common.blobs.holds(id), "it was fetched and judged");
    }
    observer.stop().await;
    holder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_on_blobs_that_are_gone_are_taken_from_the_certified_root() {
    let story = contest("all gone");
    let holder = Peer::serving(&story.genesis, story.source(), []).await;
    let observer = Peer::following(&story.genesis, &[&holder]).await;
    observer.reaches(story.height()).await;
    same_state(&story, &observer);
    observer.stop().await;
    holder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lies_about_verdicts_is_found_out_and_another_one_asked() {
    let lies: [Lie; 4] = [
        // all proofs hold
        |truth| Some(vec![0; truth.len()]),
        |truth| Some(truth[1..].to_vec()),
        |truth| Some([truth, vec![0]].concat()),
        |truth| Some(vec![2; truth.len()]),
    ];
    let story = contest("lies");
    for lie in lies {
        let first = Peer::serving(&story.genesis, liar(&story, lie), []).await;
        let observer = Peer::following(&story.genesis, &[&first]).await;
        // it gets as far as the liar's word is not needed, and no further
        observer.reaches(3).await;
        let honest = Peer::serving(&story.genesis, story.source(), []).await;
        observer.dials(&honest).await;
        observer.reaches(story.height()).await;
        same_state(&story, &observer);
        observer.stop().await;
        first.stop().await;
        honest.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_of_peers_a_few_verdicts_are_found_and_many_are_waited_for() {
    let mut few = Story::new("few");
    let registers = few.proving(4);
    few.proofs(&registers, &[2]);
    let silent = Peer::serving(&few.genesis, liar(&few, |_| None), []).await;
    let observer = Peer::following(&few.genesis, &[&silent]).await;
    observer.reaches(few.height()).await;
    assert_eq!(
        observer.common.ledger.state().root(),
        few.ledger.state().root()
    );
    observer.stop().await;
    silent.stop().await;

    let many = contest("many");
    let silent = Peer::serving(&many.genesis, liar(&many, |_| None), []).await;
    let observer = Peer::following(&many.genesis, &[&silent]).await;
    observer.reaches(3).await;
    // the blobs come at last
    let holder = Peer::serving(&many.genesis, many.source(), many.blobs.clone()).await;
    observer.dials(&holder).await;
    observer.reaches(many.height()).await;
    same_state(&many, &observer);
    observer.stop().await;
    silent.stop().await;
    holder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_verdict_against_the_certified_root_stops_the_observer() {
    let mut story = Story::new("contradiction");
    let registers = story.proving(12);
    story.proofs(&registers, &[]);
    story.contradiction(&registers[0]);
    let holder = Peer::serving(&story.genesis, story.source(), story.blobs.clone()).await;
    let mut observer = Peer::following(&story.genesis, &[&holder]).await;
    match observer.ended().await {
        Err(NodeError::Diverged { height, .. }) => assert_eq!(height.get(), story.height()),
        other => panic!("{other:?}"),
    }
    observer.stop().await;
    holder.stop().await;
}
