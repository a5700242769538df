//! Getting blobs and blocks from peers that may be slow, empty-handed or lying.
//!
//! A blob comes in chunks from all peers that have it, a few at a time from each. Every chunk is verified before it is kept; the peer
//! that sent a wrong one is reported at once and asked no more, and the chunk is asked of another.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agon_protocol::digest::BlobId;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::blobs::{MAX_BLOB_BYTES, Partial, PartialError, Room, StoreError};
use crate::event::{Misbehaviour, SnapshotOffer};
use crate::handle::{FetchedBlocks, FetchedVerdicts, Handle, RequestError, Stopped};
use crate::wire::{MAX_BLOCKS, Request, Response};

/// Chunks asked of one peer at a time: enough to hide the round trip, little enough to keep answers prompt.
const CHUNKS_PER_PEER: usize = 4;
/// Peers that are asked for one blob at a time.
const PEERS_AT_ONCE: usize = 8;
/// A peer that has not answered for this long is not waited for alone: the next one is asked too.
const SLOW: Duration = Duration::from_secs(5);
/// The pauses between two rounds of asking everyone.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How far a fetch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Verified bytes on disk.
    pub kept: u64,
    /// The length of the blob.
    pub length: u64,
    /// Chunks that came over the network in this fetch.
    pub chunks_fetched: u64,
}

/// When a fetch of a blob gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// After [`crate::Timing::patience`] without progress: the blob may be on its way.
    Full,
    /// As soon as every connected peer has said that it does not hold the blob: it may be gone for good.
    OneRound,
}

/// On which terms a blob is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When to give up.
    pub patience: Patience,
    /// Which room it may take.
    pub room: Room,
}

/// Why a fetch gave up.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The blob is longer than the rules, or this program, allow.
    #[error("a blob of {length} bytes is longer than the limit of {limit}; it cannot be used")]
    TooLong {
        /// The stated length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// Whoever has a blob of this name has it with another length.
    #[error(
        "blob {id} has {found} bytes, not {stated} as stated; whoever stated the length is wrong"
    )]
    WrongLength {
        /// The blob.
        id: BlobId,
        /// The length that was asked for.
        stated: u64,
        /// The length it has, here or as a peer says.
        found: u64,
    },
    /// No peer gave the missing chunks in time.
    #[error(
        "blob {id}: no peer gives the remaining {missing} chunks; check that its owner is online, then try again"
    )]
    Unavailable {
        /// The blob.
        id: BlobId,
        /// Chunks still missing.
        missing: u64,
    },
    /// No peer gave blocks from this height on.
    #[error("no connected peer has blocks from height {from} on; wait for peers, then try again")]
    NoBlocks {
        /// The height asked for.
        from: u64,
    },
    /// No further peer said anything about the proofs of a block.
    #[error(
        "no further connected peer gives the verdicts of block {height}; wait for peers, then try again"
    )]
    NoVerdicts {
        /// The block's height.
        height: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The blobs being fetched: two fetches of the same blob would write the same file.
#[derive(Debug, Default)]
pub(crate) struct Fetches(Mutex<HashMap<BlobId, Weak<tokio::sync::Mutex<()>>>>);

impl Fetches {
    fn lock_of(&self, id: BlobId) -> Arc<tokio::sync::Mutex<()>> {
        // The map is valid after a panic elsewhere: it is changed only here.
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = map.get(&id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        map.insert(id, Arc::downgrade(&lock));
        lock
    }
}

pub(crate) async fn fetch_blocks(
    handle: &Handle,
    from: u64,
    max_count: usize,
) -> Result<FetchedBlocks, FetchError> {
    let max_count = max_count.clamp(1, MAX_BLOCKS) as u16;
    let mut waiting: VecDeque<PeerId> = shuffled(handle.peers().await?)
        .into_iter()
        .filter(|peer| peer.tip.covers(from))
        .map(|peer| peer.peer)
        .collect();
    let mut asked = FuturesUnordered::new();
    loop {
        let next = (asked.len() < PEERS_AT_ONCE).then(|| waiting.pop_front());
        if let Some(peer) = next.flatten() {
            let request = Request::Blocks { from, max_count };
            asked.push(async move { (peer, handle.request(peer, request).await) });
        }
        let (peer, answer) = tokio::select! {
            answer = asked.next() => match answer {
                Some(answer) => answer,
                None => return Err(FetchError::NoBlocks { from }),
            },
            () = sleep(SLOW), if !waiting.is_empty() => continue,
        };
        match answer {
            Ok(Response::Blocks(blocks)) if blocks.len() > usize::from(max_count) => {
                handle.report(peer, Misbehaviour::UnexpectedAnswer).await?;
            }
            // A claimed tip without blocks is not blamed: the peer may have pruned them.
            Ok(Response::Blocks(blocks)) if blocks.is_empty() => {}
            Ok(Response::Blocks(blocks)) => return Ok(FetchedBlocks { peer, blocks }),
            Ok(Response::Busy | Response::Refused) | Err(RequestError::Failed(_)) => {}
            Ok(_) => handle.report(peer, Misbehaviour::UnexpectedAnswer).await?,
            Err(RequestError::Stopped(stopped)) => return Err(stopped.into()),
        }
    }
}

pub(crate) async fn fetch_verdicts(
    handle: &Handle,
    height: u64,
    tried: &mut HashSet<PeerId>,
) -> Result<FetchedVerdicts, FetchError> {
    for peer in shuffled(handle.peers().await?) {
        if !peer.tip.covers(height) || !tried.insert(peer.peer) {
            continue;
        }
        let peer = peer.peer;
        match handle.request(peer, Request::Verdicts { height }).await {
            Ok(Response::Verdicts(bytes)) => return Ok(FetchedVerdicts { peer, bytes }),
            Ok(Response::NotHeld | Response::Busy | Response::Refused)
            | Err(RequestError::Failed(_)) => {}
            Ok(_) => handle.report(peer, Misbehaviour::UnexpectedAnswer).await?,
            Err(RequestError::Stopped(stopped)) => return Err(stopped.into()),
        }
    }
    Err(FetchError::NoVerdicts { height })
}

pub(crate) async fn fetch_snapshots(
    handle: &Handle,
) -> Result<Vec<(PeerId, Vec<SnapshotOffer>)>, Stopped> {
    let mut asked = FuturesUnordered::new();
    for peer in handle.peers().await? {
        let peer = peer.peer;
        asked.push(async move { (peer, handle.request(peer, Request::Snapshots).await) });
    }
    let mut offers = Vec::new();
    while let Some((peer, answer)) = asked.next().await {
        match answer {
            Ok(Response::Snapshots(list)) => offers.push((peer, list)),
            Ok(Response::Busy | Response::Refused) | Err(RequestError::Failed(_)) => {}
            Ok(_) => handle.report(peer, Misbehaviour::UnexpectedAnswer).await?,
            Err(RequestError::Stopped(stopped)) => return Err(stopped),
        }
    }
    Ok(offers)
}

/// The peers from a random one on, so that not everybody asks the same.
pub(crate) fn shuffled<T>(mut peers: Vec<T>) -> Vec<T> {
    // A new hasher's keys are random; that is all the randomness needed.
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    if !peers.is_empty() {
        let start = (random % peers.len() as u64) as usize;
        peers.rotate_left(start);
    }
    peers
}

pub(crate) async fn fetch_blob(
    handle: &Handle,
    id: BlobId,
    length: u64,
    limit: u64,
    terms: Terms,
    progress: &(impl Fn(Progress) + Send + Sync),
) -> Result<(), FetchError> {
    let limit = limit.min(MAX_BLOB_BYTES);
    if length > limit {
        return Err(FetchError::TooLong { length, limit });
    }
    let lock = handle.shared.fetches.lock_of(id);
    let _guard = lock.lock().await;
    let blobs = handle.shared.blobs.clone();
    let opened = blocking(move || match blobs.length(id)? {
        Some(held) => Ok(Err(held)),
        None => blobs.partial(id, length, limit, terms.room).map(Ok),
    });
    let partial = match opened.await?? {
        Ok(partial) => partial,
        Err(held) if held == length => return Ok(()),
        Err(found) => {
            let stated = length;
            return Err(FetchError::WrongLength { id, stated, found });
        }
    };
    let mut fetch = Fetch {
        handle,
        id,
        length,
        kept: partial.kept_bytes(),
        missing: partial.missing().into(),
        has_tree: partial.has_tree(),
        partial: Arc::new(Mutex::new(partial)),
        fetched: 0,
        liars: HashSet::new(),
        other_length: None,
        last_progress: Instant::now(),
        patience: terms.patience,
        unsure: false,
        progress,
    };
    fetch.run().await?;
    let partial = fetch.partial;
    let finished = blocking(move || {
        Arc::into_inner(partial)
            .expect("no write is running any more")
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .finish()
    });
    finished.await??;
    handle.announce_blob(id).await?;
    Ok(())
}

/// Runs disk work off the async threads. Fails only when the runtime shuts down.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    spawn_blocking(work).await.map_err(|_| Stopped)
}

/// One attempt to complete one blob.
struct Fetch<'a, P> {
    handle: &'a Handle,
    id: BlobId,
    length: u64,
    partial: Arc<Mutex<Partial>>,
    has_tree: bool,
    missing: VecDeque<u64>,
    kept: u64,
    fetched: u64,
    liars: HashSet<PeerId>,
    other_length: Option<u64>,
    last_progress: Instant,
    patience: Patience,
    /// Whether a peer was asked in this round and did not say whether it holds the blob.
    unsure: bool,
    progress: &'a P,
}

/// What was asked of a peer.
#[derive(Clone, Copy)]
enum Asked {
    Tree,
    Chunk(u64),
}

type Answer = (PeerId, Asked, Result<Response, RequestError>);

impl<P: Fn(Progress) + Send + Sync> Fetch<'_, P> {
    async fn run(&mut self) -> Result<(), FetchError> {
        let mut pause = PAUSE_MIN;
        self.tell();
        while !self.missing.is_empty() {
            let before = self.kept;
            self.round().await?;
            if self.missing.is_empty() {
                break;
            }
            let hopeless = self.patience == Patience::OneRound && !self.unsure;
            let late = self.last_progress.elapsed() > self.handle.shared.timing.patience;
            if late || (hopeless && self.kept == before) {
                return Err(self.gave_up());
            }
            // Peers that hold the blob and are not connected yet are found through the distributed hash table, and dialled.
            self.handle.find_providers(self.id).await?;
            pause = match self.kept > before {
                true => PAUSE_MIN,
                false => (pause * 2).min(PAUSE_MAX),
            };
            sleep(pause).await;
        }
        Ok(())
    }

    fn gave_up(&self) -> FetchError {
        let (id, missing) = (self.id, self.missing.len() as u64);
        match self.other_length {
            Some(found) if self.fetched == 0 => {
                let stated = self.length;
                FetchError::WrongLength { id, stated, found }
            }
            _ => FetchError::Unavailable { id, missing },
        }
    }

    /// Asks every connected peer until nothing is missing or none of them can help.
    async fn round(&mut self) -> Result<(), FetchError> {
        let mut waiting: VecDeque<PeerId> = shuffled(self.handle.peers().await?)
            .into_iter()
            .map(|peer| peer.peer)
            .filter(|peer| !self.liars.contains(peer))
            .collect();
        // nobody to ask: nobody has said that the blob is gone
        self.unsure = waiting.is_empty();
        let mut useful: Vec<(PeerId, usize)> = Vec::new();
        let mut asked: FuturesUnordered<BoxFuture<'_, Answer>> = FuturesUnordered::new();
        loop {
            self.assign(&mut waiting, &mut useful, &asked);
            for (peer, question) in self.questions(&mut useful) {
                asked.push(self.ask(peer, question));
            }
            let Some((peer, question, answer)) = asked.next().await else {
                return Ok(());
            };
            if let Some(entry) = useful.iter_mut().find(|(useful, _)| *useful == peer) {
                entry.1 -= 1;
            }
            if !self.take(peer, question, answer).await? {
                useful.retain(|(useful, _)| *useful != peer);
            }
        }
    }

    /// Brings further peers in, up to the number that is asked at once.
    fn assign(
        &self,
        waiting: &mut VecDeque<PeerId>,
        useful: &mut Vec<(PeerId, usize)>,
        asked: &FuturesUnordered<BoxFuture<'_, Answer>>,
    ) {
        while useful.len() < PEERS_AT_ONCE && asked.len() < PEERS_AT_ONCE * CHUNKS_PER_PEER {
            match waiting.pop_front() {
                Some(peer) => useful.push((peer, 0)),
                None => break,
            }
        }
    }

    /// What to ask next of each useful peer; evenly, so that the first one does not get everything.
    fn questions(&mut self, useful: &mut [(PeerId, usize)]) -> Vec<(PeerId, Asked)> {
        let mut questions = Vec::new();
        for limit in 1..=CHUNKS_PER_PEER {
            for (peer, busy) in useful.iter_mut() {
                if *busy >= limit {
                    continue;
                }
                let question = match self.has_tree {
                    false if limit == 1 => Asked::Tree,
                    false => continue,
                    true => match self.missing.pop_front() {
                        Some(index) => Asked::Chunk(index),
                        None => continue,
                    },
                };
                *busy += 1;
                questions.push((*peer, question));
            }
        }
        questions
    }

    fn ask(&self, peer: PeerId, question: Asked) -> BoxFuture<'static, Answer> {
        let (id, length) = (self.id, self.length);
        let request = match question {
            Asked::Tree => Request::Tree { id, length },
            Asked::Chunk(index) => Request::Chunk { id, length, index },
        };
        let handle = self.handle.clone();
        Box::pin(async move { (peer, question, handle.request(peer, request).await) })
    }

    /// Deals with an answer, and says whether the peer is worth another question in this round.
    async fn take(
        &mut self,
        peer: PeerId,
        question: Asked,
        answer: Result<Response, RequestError>,
    ) -> Result<bool, FetchError> {
        let result = match (question, answer) {
            // Another peer's tree came first.
            (Asked::Tree, Ok(Response::Tree(_))) if self.has_tree => return Ok(true),
            (Asked::Tree, Ok(Response::Tree(leaves))) => {
                self.write(move |partial| partial.set_tree(leaves)).await?
            }
            (Asked::Chunk(index), Ok(Response::Chunk(bytes))) => {
                self.write(move |partial| partial.keep(index, &bytes))
                    .await?
            }
            (question, answer) => {
                self.give_back(question);
                match answer {
                    Ok(Response::OtherLength(found)) => self.other_length = Some(found),
                    Ok(Response::NotHeld) => {}
                    Ok(Response::Busy | Response::Refused) => self.unsure = true,
                    Ok(_) => {
                        self.handle
                            .report(peer, Misbehaviour::UnexpectedAnswer)
                            .await?;
                    }
                    Err(RequestError::Failed(reason)) => {
                        self.unsure = true;
                        tracing::debug!(%peer, blob = %self.id.short(), reason, "no answer");
                    }
                    Err(RequestError::Stopped(stopped)) => return Err(stopped.into()),
                }
                return Ok(false);
            }
        };
        match result {
            Ok(()) => {
                self.has_tree = true;
                self.last_progress = Instant::now();
                if let Asked::Chunk(_) = question {
                    self.fetched += 1;
                }
                self.tell();
                Ok(true)
            }
            Err(PartialError::Store(error)) => Err(error.into()),
            Err(lie) => {
                tracing::warn!(%peer, %lie, "a peer sent wrong bytes; it is reported and the chunk is asked of another");
                self.give_back(question);
                self.liars.insert(peer);
                self.handle.report(peer, Misbehaviour::InvalidBlob).await?;
                Ok(false)
            }
        }
    }

    fn give_back(&mut self, question: Asked) {
        if let Asked::Chunk(index) = question {
            self.missing.push_front(index);
        }
    }

    /// Verifies and writes on a blocking thread, then takes note of what is kept.
    async fn write(
        &mut self,
        work: impl FnOnce(&mut Partial) -> Result<(), PartialError> + Send + 'static,
    ) -> Result<Result<(), PartialError>, Stopped> {
        let partial = self.partial.clone();
        let had_tree = self.has_tree;
        let written = blocking(move || {
            let mut partial = partial.lock().unwrap_or_else(PoisonError::into_inner);
            let result = work(&mut partial);
            // With the tree, chunks of an earlier attempt may turn out to be there.
            let missing = (!had_tree).then(|| partial.missing());
            (result, missing, partial.kept_bytes())
        });
        let (result, missing, kept) = written.await?;
        self.kept = kept;
        if let (Some(missing), true) = (missing, result.is_ok()) {
            self.missing = missing.into();
        }
        Ok(result)
    }

    fn tell(&self) {
        (self.progress)(Progress {
            kept: self.kept,
            length: self.length,
            chunks_fetched: self.fetched,
        });
    }
}
