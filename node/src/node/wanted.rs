//! What consensus or the follower waits for: questions and blobs of blocks that cannot be judged yet.
//!
//! Each block at hand has a bounded list of its own, and only the newest few blocks are remembered: whatever a Byzantine proposer
//! puts into its block, the block of the next round finds its places free.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, BlockId};
use agon_protocol::judge::Question;
use tokio::sync::Notify;

use crate::verification::{ClaimDigest, claim_digest};

/// Wishes of one kind that one block may have; more of them wait until the block is judged again.
const MAX_WISHES: usize = 64;
/// Blocks whose wishes are remembered. A round has one block, unless its proposer lies; a wish of a forgotten block comes back when the
/// engine judges that block again.
pub(super) const MAX_BLOCKS: usize = 4;

/// Blobs of coming blocks that are fetched in advance.
const MAX_AHEAD: usize = 256;
/// How long a blob that no peer held counts as gone.
const GONE: Duration = Duration::from_secs(10 * 60);
/// Blobs that are remembered as gone.
const MAX_GONE: usize = 4_096;

/// What a follower knows beside the block at hand.
#[derive(Default)]
struct Side {
    ahead: Vec<BlobRef>,
    gone: HashMap<BlobId, Instant>,
}

/// The wishes of one block.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wishes {
    pub(super) questions: HashMap<ClaimDigest, Question>,
    pub(super) blobs: HashMap<BlobId, BlobRef>,
}

impl Wishes {
    /// Adds a verdict, if there is a place; says whether it is new.
    pub(super) fn question(&mut self, question: &Question) -> bool {
        self.questions.len() < MAX_WISHES
            && self
                .questions
                .insert(claim_digest(question), question.clone())
                .is_none()
    }

    /// Adds a blob, if there is a place; says whether it is new.
    pub(super) fn blob(&mut self, blob: BlobRef) -> bool {
        self.blobs.len() < MAX_WISHES && self.blobs.insert(blob.id, blob).is_none()
    }
}

/// Wishes of the blocks at hand, for the attendant, and the attendant's bell.
#[derive(Default)]
pub(super) struct Wanted {
    /// The newest block last.
    blocks: Mutex<VecDeque<(BlockId, Wishes)>>,
    side: Mutex<Side>,
    bell: Notify,
    news: Notify,
    old: AtomicBool,
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(BlockId, Wishes)>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the wishes of a block, and rings when something is new.
    fn wish(&self, block: BlockId, add: impl FnOnce(&mut Wishes) -> bool) {
        let mut blocks = self.lock();
        let place = blocks.iter().position(|(known, _)| *known == block);
        let mut wishes = match place.and_then(|place| blocks.remove(place)) {
            Some((_, wishes)) => wishes,
            None => Wishes::default(),
        };
        let new = add(&mut wishes);
        blocks.push_back((block, wishes));
        while blocks.len() > MAX_BLOCKS {
            blocks.pop_front();
        }
        drop(blocks);
        if new {
            self.bell.notify_one();
        }
    }

    /// Makes these the only wishes, as many as have a place. In one step: a look between two would give up fetches that run.
    pub(super) fn only(&self, block: BlockId, wishes: Wishes) {
        let mut blocks = self.lock();
        if !blocks.iter().eq([&(block, wishes.clone())]) {
            *blocks = VecDeque::from([(block, wishes)]);
            drop(blocks);
            self.bell.notify_one();
        }
    }

    /// Asks for a verdict that `block` needs.
    pub(super) fn question(&self, block: BlockId, question: &Question) {
        self.wish(block, |wishes| wishes.question(question));
    }

    /// Asks for a blob that `block` names.
    pub(super) fn blob(&self, block: BlockId, blob: BlobRef) {
        self.wish(block, |wishes| wishes.blob(blob));
    }

    fn side(&self) -> MutexGuard<'_, Side> {
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the blobs of coming blocks, in place of those asked for before.
    pub(super) fn set_ahead(&self, mut blobs: Vec<BlobRef>) {
        blobs.truncate(MAX_AHEAD);
        self.side().ahead = blobs;
        self.bell.notify_one();
    }

    /// The blobs of coming blocks.
    pub(super) fn ahead(&self) -> Vec<BlobRef> {
        self.side().ahead.clone()
    }

    /// Says whether the block at hand is an old one, whose blobs may be gone for good.
    pub(super) fn set_old(&self, old: bool) {
        self.old.store(old, Ordering::Relaxed);
    }

    /// Whether the block at hand is an old one.
    pub(super) fn is_old(&self) -> bool {
        self.old.load(Ordering::Relaxed)
    }

    /// Takes note of whether a blob could be had.
    pub(super) fn fetched(&self, id: BlobId, found: bool) {
        let mut side = self.side();
        if side.gone.len() >= MAX_GONE {
            side.gone.retain(|_, when| when.elapsed() < GONE);
        }
        if found {
            side.gone.remove(&id);
        } else if side.gone.len() < MAX_GONE {
            side.gone.insert(id, Instant::now());
        }
    }

    /// Whether no peer held the blob a while ago.
    pub(super) fn is_gone(&self, id: BlobId) -> bool {
        let gone = self.side().gone.get(&id).copied();
        gone.is_some_and(|when| when.elapsed() < GONE)
    }

    /// Everything wished for, the newest block first.
    pub(super) fn all(&self) -> Vec<Wishes> {
        let blocks = self.lock();
        blocks
            .iter()
            .rev()
            .map(|(_, wishes)| wishes.clone())
            .collect()
    }

    /// Forgets the wishes, once a block is committed.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Tells the attendant that there may be something to do, and whoever waits that something came. A wish rings the attendant's
    /// bell only: whoever wishes and waits would wake itself.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
        self.news.notify_one();
    }

    /// Waits until a blob or a verdict may have come.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Waits for the bell.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(number: u32) -> BlobRef {
        BlobRef {
            id: BlobId::of(&number.to_le_bytes()),
            length: 4,
        }
    }

    #[test]
    fn a_block_that_wishes_for_everything_leaves_room_for_the_next() {
        let wanted = Wanted::default();
        let byzantine = BlockId::of(b"byzantine");
        for number in 0..10_000 {
            wanted.blob(byzantine, blob(number));
        }
        let honest = BlockId::of(b"honest");
        wanted.blob(honest, blob(20_000));
        let all = wanted.all();
        assert_eq!(all.len(), 2);
        assert!(all[0].blobs.contains_key(&blob(20_000).id));
        assert_eq!(all[1].blobs.len(), MAX_WISHES);
    }

    async fn rings(bell: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::ZERO, bell).await.is_ok()
    }

    #[tokio::test]
    async fn whoever_wishes_does_not_wake_itself_and_the_same_wishes_again_wake_nobody() {
        let wanted = Wanted::default();
        let block = BlockId::of(b"at hand");
        let mut wishes = Wishes::default();
        assert!(wishes.blob(blob(1)) && !wishes.blob(blob(1)));
        wanted.blob(BlockId::of(b"earlier"), blob(0));
        wanted.only(block, wishes.clone());
        assert_eq!(wanted.all(), [wishes.clone()].to_vec());
        assert!(rings(wanted.rung()).await);
        wanted.only(block, wishes.clone());
        assert!(!rings(wanted.rung()).await);
        wishes.blob(blob(2));
        wanted.only(block, wishes);
        assert!(rings(wanted.rung()).await);
        assert!(!rings(wanted.news()).await);
        wanted.ring();
        assert!(rings(wanted.news()).await);
    }

    #[test]
    fn only_the_newest_blocks_are_remembered_and_one_that_is_judged_again_is_new() {
        let wanted = Wanted::default();
        let name = |number: u32| BlockId::of(&number.to_le_bytes());
        for number in 0..MAX_BLOCKS as u32 {
            wanted.blob(name(number), blob(number));
        }
        wanted.blob(name(0), blob(0));
        wanted.blob(name(9), blob(9));
        let all = wanted.all();
        assert_eq!(all.len(), MAX_BLOCKS);
        assert!(
            all.iter()
                .any(|wishes| wishes.blobs.contains_key(&blob(0).id))
        );
        assert!(
            !all.iter()
                .any(|wishes| wishes.blobs.contains_key(&blob(1).id))
        );
        wanted.clear();
        assert!(wanted.all().is_empty());
    }
}
