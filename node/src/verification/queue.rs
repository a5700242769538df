//! What waits for a verification thread, and who comes first.
//!
//! - What a block needs comes before what a waiting transaction needs.
//! - A registration has one proof waiting or being judged; the next one is asked for again later.
//! - A key whose proof was found invalid within ten minutes, and a proof that broke the verifier before, wait in a queue of their own.
//!   It gets every fourth turn while others wait, and its proofs are judged one by one: an invalid proof in a batch would cost the honest ones a
//!   second look.
//!
//! Every list here is bounded; a full one answers "busy", and whoever asked asks again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use agon_protocol::digest::RegistrationId;
use agon_protocol::identity::AccountId;
use agon_protocol::judge::Question;

use super::claim::ClaimDigest;

/// Questions of blocks that may wait: more than all wishes of all blocks at hand.
const MAX_OF_BLOCKS: usize = 512;
/// The part of the queue that suspects may fill.
const SUSPECT_PART: usize = 4;
/// While others wait, every so many turns go to suspects.
const SUSPECT_TURN: u32 = 4;
/// How long an invalid proof is held against its key.
const SUSPICION: Duration = Duration::from_secs(600);
/// Keys that are remembered for their invalid proofs; each has cost a deposit.
const MAX_SUSPECTS: usize = 4_096;
/// A claim that failed for want of something local is not tried again before this.
const RETRY: Duration = Duration::from_secs(2);
/// A claim that broke the verifier waits twice as long after each time, up to this.
const MAX_RETRY: Duration = Duration::from_secs(600);
/// Remembered failures; the oldest are forgotten, which only means an earlier retry.
const MAX_FAILURES: usize = 1_024;
/// Bytes of the proofs that one thread judges together.
const MAX_BATCH_BYTES: u64 = 16 << 20;

/// A question and its name.
pub(super) type Asked = (ClaimDigest, Question);

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A block that is to be voted on or followed.
    Block,
    /// A waiting transaction.
    Pool,
}

/// Why there is no verdict: trouble of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Something is missing or failed here.
    Local(String),
    /// The verifier panicked. That is an error in this software, not a verdict; it may come again with the same bytes.
    Panic,
}

impl Trouble {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Local(reason) => reason,
            Self::Panic => "the verifier panicked",
        }
    }
}

#[derive(Debug)]
struct Failure {
    trouble: Trouble,
    until: Instant,
    panics: u32,
}

/// What became of a question that was to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pushed {
    Queued,
    Pending,
    Busy,
    Failed(String),
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    of_blocks: VecDeque<Asked>,
    of_pool: VecDeque<Asked>,
    of_suspects: VecDeque<Asked>,
    /// Waiting or being worked on.
    pending: HashSet<ClaimDigest>,
    /// The same, of proofs.
    registrations: HashMap<RegistrationId, usize>,
    suspects: HashMap<AccountId, Instant>,
    failures: HashMap<ClaimDigest, Failure>,
    turn: u32,
}

impl Queue {
    /// Queues a question, of which at most `limit` wait for transactions.
    pub(super) fn push(
        &mut self,
        asked: Asked,
        urgency: Urgency,
        limit: usize,
        now: Instant,
    ) -> Pushed {
        let (digest, question) = &asked;
        if self.pending.contains(digest) {
            if urgency == Urgency::Block {
                self.promote(digest);
            }
            return Pushed::Pending;
        }
        let failure = self.failures.get(digest);
        if let Some(failure) = failure.filter(|failure| now < failure.until) {
            return Pushed::Failed(failure.trouble.reason().to_owned());
        }
        let broke = failure.is_some_and(|failure| failure.panics > 0);
        let suspect = broke || self.is_suspect(question, now);
        let of_others = self.of_pool.len() + self.of_suspects.len();
        let room = match (urgency, suspect) {
            (Urgency::Block, _) => self.of_blocks.len() < MAX_OF_BLOCKS,
            (Urgency::Pool, false) => of_others < limit && !self.has_one(question),
            (Urgency::Pool, true) => {
                of_others < limit
                    && self.of_suspects.len() < limit.div_ceil(SUSPECT_PART)
                    && !self.has_one(question)
            }
        };
        if !room {
            return Pushed::Busy;
        }
        self.pending.insert(*digest);
        if let Question::Proof(claim) = question {
            *self
                .registrations
                .entry(claim.context.registration)
                .or_default() += 1;
        }
        match (urgency, suspect) {
            (Urgency::Block, _) => self.of_blocks.push_back(asked),
            (Urgency::Pool, false) => self.of_pool.push_back(asked),
            (Urgency::Pool, true) => self.of_suspects.push_back(asked),
        }
        Pushed::Queued
    }

    /// Whether the registration of a proof has another one here.
    fn has_one(&self, question: &Question) -> bool {
        match question {
            Question::Proof(claim) => self.registrations.contains_key(&claim.context.registration),
            Question::TestSet(_) => false,
        }
    }

    fn is_suspect(&self, question: &Question, now: Instant) -> bool {
        let Question::Proof(claim) = question else {
            return false;
        };
        let since = self.suspects.get(&claim.context.competitor);
        since.is_some_and(|since| now.saturating_duration_since(*since) < SUSPICION)
    }

    /// A block needs what a transaction has been waiting for.
    fn promote(&mut self, digest: &ClaimDigest) {
        for queue in [&mut self.of_pool, &mut self.of_suspects] {
            let place = queue.iter().position(|(waiting, _)| waiting == digest);
            if let Some(asked) = place.and_then(|place| queue.remove(place)) {
                self.of_blocks.push_back(asked);
            }
        }
    }

    /// What a thread should do next: a question or, when it is about a proof, others of the same queue about proofs on the
    /// same test set: at most `most`, and of no more than [`MAX_BATCH_BYTES`] together. The rest keeps its order.
    pub(super) fn take_batch(&mut self, most: usize) -> Vec<Asked> {
        if !self.of_blocks.is_empty() {
            return take_batch(&mut self.of_blocks, most);
        }
        self.turn = self.turn.wrapping_add(1);
        if self.of_pool.is_empty() || self.turn.is_multiple_of(SUSPECT_TURN) {
            let alone = take_batch(&mut self.of_suspects, 1);
            if !alone.is_empty() {
                return alone;
            }
        }
        take_batch(&mut self.of_pool, most)
    }

    /// A claim is no longer worked on.
    fn release(&mut self, digest: &ClaimDigest, question: &Question) {
        self.pending.remove(digest);
        let Question::Proof(claim) = question else {
            return;
        };
        let registration = claim.context.registration;
        if let Some(count) = self.registrations.get_mut(&registration) {
            *count -= 1;
            if *count == 0 {
                self.registrations.remove(&registration);
            }
        }
    }

    /// The verdict on a claim is found.
    pub(super) fn judged(
        &mut self,
        digest: &ClaimDigest,
        question: &Question,
        valid: bool,
        now: Instant,
    ) {
        self.release(digest, question);
        self.failures.remove(digest);
        let Question::Proof(claim) = question else {
            return;
        };
        if valid {
            return;
        }
        if self.suspects.len() >= MAX_SUSPECTS {
            self.suspects
                .retain(|_, since| now.saturating_duration_since(*since) < SUSPICION);
        }
        if self.suspects.len() < MAX_SUSPECTS {
            self.suspects.insert(claim.context.competitor, now);
        }
    }

    /// There is no verdict on a claim; it may be tried again after a pause, which is returned.
    pub(super) fn failed(
        &mut self,
        digest: &ClaimDigest,
        question: &Question,
        trouble: Trouble,
        now: Instant,
    ) -> Duration {
        self.release(digest, question);
        let before = self
            .failures
            .get(digest)
            .map_or(0, |failure| failure.panics);
        let panics = match trouble {
            Trouble::Panic => before.saturating_add(1),
            Trouble::Local(_) => before,
        };
        let doubled = RETRY.saturating_mul(1 << panics.saturating_sub(1).min(10));
        let pause = doubled.min(MAX_RETRY);
        if self.failures.len() >= MAX_FAILURES {
            self.failures.retain(|_, failure| now < failure.until);
        }
        if self.failures.len() < MAX_FAILURES || self.failures.contains_key(digest) {
            let failure = Failure {
                trouble,
                until: now + pause,
                panics,
            };
            self.failures.insert(*digest, failure);
        }
        pause
    }

    /// How many questions wait.
    pub(super) fn waiting(&self) -> usize {
        self.of_blocks.len() + self.of_pool.len() + self.of_suspects.len()
    }

    /// Drops what waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn take_batch(waiting: &mut VecDeque<Asked>, most: usize) -> Vec<Asked> {
    let Some(first) = waiting.pop_front() else {
        return Vec::new();
    };
    let Question::Proof(claim) = &first.1 else {
        return vec![first];
    };
    let (data, mut bytes) = (claim.data, claim.proof.length);
    let mut batch = vec![first];
    let mut rest = VecDeque::with_capacity(waiting.len());
    for asked in std::mem::take(waiting) {
        match &asked.1 {
            Question::Proof(claim)
                if claim.data == data
                    && batch.len() < most
                    && bytes.saturating_add(claim.proof.length) <= MAX_BATCH_BYTES =>
            {
                bytes = bytes.saturating_add(claim.proof.length);
                batch.push(asked);
            }
            _ => rest.push_back(asked),
        }
    }
    *waiting = rest;
    batch
}

#[cfg(test)]
mod tests {
    use agon_protocol::competition::BlobRef;
    use agon_protocol::digest::{BlobId, CompetitionId, DataDigest, ModelDigest, NetworkId};
    use agon_protocol::judge::ProofClaim;
    use agon_protocol::metric::{Metric, Tally};
    use agon_protocol::statement::{Context, Task};

    use super::super::claim::claim_digest;
    use super::*;

    /// Proof number `number` of a key, for a registration.
    fn proof(key: u8, registration: u8, number: u8) -> Asked {
        let question = Question::Proof(ProofClaim {
            context: Context {
                network: NetworkId::of(b"n"),
                competition: CompetitionId::of(b"c"),
                registration: RegistrationId::of(&[registration]),
                competitor: AccountId::from_raw([key; 32]),
                nonce: u64::from(number),
            },
            model: ModelDigest::of(b"m"),
            data: DataDigest::of(b"d"),
            samples: 3,
            width: 2,
            task: Task::from(2),
            max_parameters: 10,
            metric: Metric::Accuracy,
            tally: Tally::of_hits(2),
            proof: BlobRef {
                id: BlobId::of(&[number]),
                length: 1,
            },
        });
        (claim_digest(&question), question)
    }

    fn pool(queue: &mut Queue, asked: &Asked) -> Pushed {
        queue.push(asked.clone(), Urgency::Pool, 8, Instant::now())
    }

    fn judge(queue: &mut Queue, batch: &[Asked], valid: bool) {
        for (digest, question) in batch {
            queue.judged(digest, question, valid, Instant::now());
        }
    }

    #[test]
    fn a_registration_has_one_proof_at_a_time() {
        let mut queue = Queue::default();
        let (first, second) = (proof(1, 1, 1), proof(1, 1, 2));
        assert_eq!(pool(&mut queue, &first), Pushed::Queued);
        assert_eq!(pool(&mut queue, &first), Pushed::Pending);
        assert_eq!(pool(&mut queue, &second), Pushed::Busy);
        assert_eq!(pool(&mut queue, &proof(1, 2, 3)), Pushed::Queued);
        let batch = queue.take_batch(8);
        assert_eq!(batch.len(), 2);
        assert_eq!(
            pool(&mut queue, &second),
            Pushed::Busy,
            "it is being judged"
        );
        judge(&mut queue, &batch, true);
        assert_eq!(pool(&mut queue, &second), Pushed::Queued);
        assert!(queue.registrations.len() == 1 && queue.pending.len() == 1);
    }

    #[test]
    fn invalid_proofs_of_one_key_delay_another_by_one_proof_in_four_turns_at_most() {
        let mut queue = Queue::default();
        let offender = proof(1, 1, 1);
        assert_eq!(pool(&mut queue, &offender), Pushed::Queued);
        let batch = queue.take_batch(8);
        judge(&mut queue, &batch, false);
        // the offender comes first with as much as it can
        let mut taken_in = 0;
        for number in 0..8 {
            if pool(&mut queue, &proof(1, 10 + number, number)) == Pushed::Queued {
                taken_in += 1;
            }
        }
        assert_eq!(taken_in, 2, "a quarter of the queue");
        let mut served = Vec::new();
        for number in 0..4 {
            assert_eq!(
                pool(&mut queue, &proof(2 + number, 30 + number, number)),
                Pushed::Queued
            );
        }
        while queue.waiting() > 0 {
            let batch = queue.take_batch(1);
            if let Question::Proof(claim) = &batch[0].1 {
                served.push(claim.context.competitor.as_bytes()[0]);
            }
            judge(&mut queue, &batch, true);
        }
        let before_last_honest: Vec<_> = served.iter().take(5).copied().collect();
        assert_eq!(
            before_last_honest.iter().filter(|key| **key == 1).count(),
            1,
            "{served:?}"
        );
        assert_eq!(served.len(), 6);
    }

    #[test]
    fn suspects_are_judged_one_by_one_and_not_for_ever() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let (digest, question) = proof(1, 1, 1);
        queue.judged(&digest, &question, false, now);
        for number in 0..2 {
            let asked = proof(1, 10 + number, number);
            assert_eq!(queue.push(asked, Urgency::Pool, 8, now), Pushed::Queued);
        }
        assert_eq!(queue.take_batch(8).len(), 1);
        assert_eq!(queue.take_batch(8).len(), 1);
        let later = now + SUSPICION;
        assert!(!queue.is_suspect(&question, later));
    }

    #[test]
    fn what_a_block_needs_comes_first_also_when_it_waits_already() {
        let mut queue = Queue::default();
        let proofs: Vec<_> = (0..3).map(|number| proof(number, number, number)).collect();
        for asked in &proofs[..2] {
            assert_eq!(pool(&mut queue, asked), Pushed::Queued);
        }
        let now = Instant::now();
        assert_eq!(
            queue.push(proofs[1].clone(), Urgency::Block, 2, now),
            Pushed::Pending
        );
        // a full queue does not matter to a block
        assert_eq!(
            queue.push(proofs[2].clone(), Urgency::Block, 2, now),
            Pushed::Queued
        );
        let order: Vec<_> = (0..3).map(|_| queue.take_batch(1).remove(0).0).collect();
        assert_eq!(order, [proofs[1].0, proofs[2].0, proofs[0].0]);
    }

    #[test]
    fn a_claim_that_breaks_the_verifier_is_tried_again_more_and_more_rarely() {
        let mut queue = Queue::default();
        let mut now = Instant::now();
        let asked = proof(1, 1, 1);
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            assert_eq!(
                queue.push(asked.clone(), Urgency::Pool, 8, now),
                Pushed::Queued
            );
            assert_eq!(queue.take_batch(8).len(), 1);
            let pause = queue.failed(&asked.0, &asked.1, Trouble::Panic, now);
            assert_eq!(pause, Duration::from_secs(seconds));
            let early = queue.push(asked.clone(), Urgency::Block, 8, now);
            assert!(matches!(early, Pushed::Failed(reason) if reason.contains("panicked")));
            now += pause;
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..2 * MAX_SUSPECTS as u32 {
            let key = *blake3::hash(&number.to_le_bytes()).as_bytes();
            let (mut digest, mut question) = proof(1, 1, 1);
            if let Question::Proof(claim) = &mut question {
                claim.context.competitor = AccountId::from_raw(key);
            }
            queue.judged(&digest, &question, false, now);
            digest = key;
            queue.failed(&digest, &question, Trouble::Panic, now);
        }
        assert_eq!(queue.suspects.len(), MAX_SUSPECTS);
        assert_eq!(queue.failures.len(), MAX_FAILURES);
    }
}
