//! What consensus or the follower waits for: questions and blobs of a block that cannot be judged yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agon_protocol::competition::BlobRef;
use agon_protocol::digest::BlobId;
use agon_protocol::judge::Question;
use tokio::sync::Notify;

use crate::verification::{ClaimDigest, claim_digest};

/// Wishes that are kept; more of them wait until the block is judged again.
const MAX_WISHES: usize = 256;

#[derive(Default)]
struct Wishes {
    questions: HashMap<ClaimDigest, Question>,
    blobs: HashMap<BlobId, BlobRef>,
}

/// Wishes of the block at hand, for the attendant, and the attendant's bell.
#[derive(Default)]
pub(super) struct Wanted {
    wishes: Mutex<Wishes>,
    bell: Notify,
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a verdict.
    pub(super) fn question(&self, question: &Question) {
        let mut wishes = self.lock();
        let new = wishes.questions.len() < MAX_WISHES
            && wishes
                .questions
                .insert(claim_digest(question), question.clone())
                .is_none();
        drop(wishes);
        if new {
            self.ring();
        }
    }

    /// Asks for a blob.
    pub(super) fn blob(&self, blob: BlobRef) {
        let mut wishes = self.lock();
        let new = wishes.blobs.len() < MAX_WISHES && wishes.blobs.insert(blob.id, blob).is_none();
        drop(wishes);
        if new {
            self.ring();
        }
    }

    /// Everything wished for.
    pub(super) fn all(&self) -> (Vec<Question>, Vec<BlobRef>) {
        let wishes = self.lock();
        (
            wishes.questions.values().cloned().collect(),
            wishes.blobs.values().copied().collect(),
        )
    }

    /// Forgets the wishes, once the block is committed.
    pub(super) fn clear(&self) {
        let mut wishes = self.lock();
        wishes.questions.clear();
        wishes.blobs.clear();
    }

    /// Tells the attendant that there may be something to do.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits for the bell.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}
