//! A chain that a test builds block by block, peers that serve it, and observers that follow them.

use std::sync::Arc;
use std::time::Duration;

use agon_network::{BlobStore, Event, Handle, Network, PeerId, SnapshotOffer, Source, Tip};
use agon_protocol::codec::Encode;
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, CompetitionId, ModelDigest};
use agon_protocol::genesis::Genesis;
use agon_protocol::judge::{Judge, ProofClaim, TestSetClaim, Verdict};
use agon_protocol::metric::Tally;
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::Dataset;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::build_block;
use agon_protocol::units::{Amount, Height, TimeMs};
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::follower::Follower;
use super::super::gossip::Gossip;
use super::super::joining::Joining;
use super::super::snapshots::{Shelf, put};
use super::super::source::ChainSource;
use super::super::{Common, NodeError, multiaddr, swarm_secret};
use crate::config::{NodeConfig, TrustPoint};
use crate::ledger::Ledger;
use crate::sealed;
use crate::testing::{Believer, START_MS, account, certify, dataset, genesis, sign, spec};
use crate::verification::{ProofFinding, ProofVerifier, Submitted};

/// Far above what any condition needs, also on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen: {what}"),
    }
}

/// The key of every test set.
const KEY: DataKey = DataKey::from_raw([7; 32]);

/// The proof that counts, as text.
fn proof_text(number: u8, holds: bool) -> Vec<u8> {
    let word = if holds { "valid" } else { "forged" };
    format!("{word} {number}").into_bytes()
}

/// Accepts the proofs that begin with "valid".
struct Scripted;

impl ProofVerifier for Scripted {
    fn verify(&self, batch: &[Submitted<'_>], _: &Dataset) -> Vec<ProofFinding> {
        let judge = |one: &Submitted<'_>| match one.proof.starts_with(b"valid") {
            true => Ok(Ok(())),
            false => Ok(Err("scripted".into())),
        };
        batch.iter().map(judge).collect()
    }
}

/// Gives [`Scripted`]'s verdicts without the blobs.
struct Knowing;

impl Judge for Knowing {
    fn test_set(&self, _: &TestSetClaim) -> Option<Verdict> {
        Some(Verdict::Valid)
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        let valid = |number| BlobId::of(&proof_text(number, true)) == claim.proof.id;
        Some(match (0..=u8::MAX).any(valid) {
            true => Verdict::Valid,
            false => Verdict::Invalid,
        })
    }
}

/// A chain under construction, with the blobs that it names.
pub(super) struct Story {
    pub(super) genesis: Genesis,
    pub(super) ledger: Arc<Ledger>,
    pub(super) competition: Option<CompetitionId>,
    pub(super) blobs: Vec<Vec<u8>>,
    shelf: Arc<Shelf>,
    kept: BlobStore,
    nonces: [u64; 4],
    _folder: TempDir,
}

impl Story {
    pub(super) fn new(name: &str) -> Self {
        let genesis = genesis(name);
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger"), genesis.clone()).unwrap();
        Self {
            genesis,
            shelf: Arc::new(Shelf::open(ledger.store().clone()).unwrap()),
            kept: BlobStore::open(&folder.path().join("blobs")).unwrap(),
            ledger: Arc::new(ledger),
            competition: None,
            blobs: Vec::new(),
            nonces: [0; 4],
            _folder: folder,
        }
    }

    pub(super) fn height(&self) -> u64 {
        self.ledger.state().height().get()
    }

    pub(super) fn source(&self) -> ChainSource {
        ChainSource {
            ledger: self.ledger.clone(),
            shelf: self.shelf.clone(),
        }
    }

    /// Makes a snapshot of the state now, and returns what is offered.
    pub(super) fn snapshot(&mut self) -> SnapshotOffer {
        let state = self.ledger.state();
        put(&state, &self.kept, &self.shelf, 2).unwrap().unwrap();
        self.blobs.push(state.snapshot());
        self.shelf.offers()[0]
    }

    fn signed(&mut self, sender: u8, action: Action) -> SignedTransaction {
        let nonce = &mut self.nonces[usize::from(sender)];
        *nonce += 1;
        sign(&self.genesis, sender, *nonce - 1, action)
    }

    /// Appends a block of a time, in milliseconds after the genesis.
    fn block(&mut self, at_ms: u64, transactions: &[SignedTransaction], judge: &dyn Judge) {
        let state = self.ledger.state();
        let time = TimeMs::new(START_MS + at_ms);
        let built = build_block(&state, transactions, account(0), time, judge).unwrap();
        assert_eq!(built.skipped, vec![]);
        let certified = certify(&self.genesis, built.block.height, built.block.to_bytes());
        self.ledger
            .commit(&certified, &built.block, &built.applied)
            .unwrap();
    }

    /// Appends so many blocks with a transfer each.
    pub(super) fn transfers(&mut self, count: u64) {
        for _ in 0..count {
            let to = account(9);
            let amount = Amount::new(1);
            let transfer = self.signed(1, Action::Transfer { to, amount });
            let time = self.ledger.state().time().get() + 1;
            self.block(time - START_MS, &[transfer], &Knowing);
        }
    }

    /// A competition up to its proving: the host is key 2, the registrations are of key 3, one for each of `proofs`.
    pub(super) fn proving(&mut self, proofs: usize) -> Vec<SignedTransaction> {
        let sealed = sealed::seal(&KEY, &dataset()).unwrap();
        self.blobs.push(sealed.clone());
        self.proving_from(0, proofs, &sealed)
    }

    /// The same with a sealed test set that is there, so many milliseconds after the genesis.
    pub(super) fn proving_from(
        &mut self,
        at_ms: u64,
        proofs: usize,
        sealed: &[u8],
    ) -> Vec<SignedTransaction> {
        let key = KEY;
        let mut terms = spec(sealed, &key);
        terms.registrations_per_account = 60;
        for time in [
            &mut terms.opens_at,
            &mut terms.register_until,
            &mut terms.key_until,
            &mut terms.prove_until,
        ] {
            *time = time.saturating_add(at_ms);
        }
        let open = Action::OpenCompetition {
            spec: Box::new(terms),
            prize: Amount::new(100),
            bond: Amount::new(50),
        };
        let open = self.signed(2, open);
        let competition = open.competition_id().unwrap();
        self.competition = Some(competition);
        self.block(at_ms + 10, &[open], &Knowing);
        let registers: Vec<_> = (0..proofs)
            .map(|number| {
                let model = ModelDigest::of(&[number as u8]);
                self.signed(3, Action::Register { competition, model })
            })
            .collect();
        self.block(at_ms + 20, &registers, &Knowing);
        let release = self.signed(2, Action::ReleaseKey { competition, key });
        self.block(at_ms + 1_100, &[release], &Knowing);
        registers
    }

    /// An encoded submission that is in no block.
    pub(super) fn waiting(&mut self, register: &SignedTransaction, proof: &[u8]) -> Vec<u8> {
        self.submission(register, proof.to_vec()).to_bytes()
    }

    /// Appends an empty block so many milliseconds after the genesis.
    pub(super) fn later(&mut self, at_ms: u64) {
        self.block(at_ms, &[], &Knowing);
    }

    /// Appends a block with one proof for each registration; those in `forged` do not hold.
    pub(super) fn proofs(&mut self, registers: &[SignedTransaction], forged: &[usize]) {
        let mut submissions = Vec::new();
        for (number, register) in registers.iter().enumerate() {
            let proof = proof_text(number as u8, !forged.contains(&number));
            submissions.push(self.submission(register, proof));
        }
        self.block(1_200, &submissions, &Knowing);
    }

    /// Appends a block that says of a proof which does not hold that it does.
    pub(super) fn contradiction(&mut self, register: &SignedTransaction) {
        let submit = self.submission(register, proof_text(200, false));
        self.block(1_300, &[submit], &Believer);
    }

    fn submission(&mut self, register: &SignedTransaction, proof: Vec<u8>) -> SignedTransaction {
        let submit = Action::SubmitProof {
            registration: register.registration_id().unwrap(),
            tally: Tally::of_hits(2),
            proof: BlobRef {
                id: BlobId::of(&proof),
                length: proof.len() as u64,
            },
        };
        self.blobs.push(proof);
        self.signed(3, submit)
    }

    /// The settling block.
    pub(super) fn settled(&mut self) {
        self.block(3_100, &[], &Knowing);
    }
}

/// A node without engine: a swarm, and what it serves or follows.
pub(super) struct Peer {
    pub(super) common: Common,
    pub(super) handle: Handle,
    pub(super) follower: Option<JoinHandle<Result<(), NodeError>>>,
    refused: watch::Receiver<Vec<PeerId>>,
    stop: CancellationToken,
    network: JoinHandle<()>,
    _folder: TempDir,
}

fn common(config: &NodeConfig, genesis: &Genesis) -> Common {
    Common::open(config, genesis.clone(), Arc::new(Scripted)).unwrap()
}

fn settings(folder: &TempDir) -> NodeConfig {
    let mut config = NodeConfig {
        data_dir: folder.path().to_owned(),
        ..NodeConfig::default()
    };
    config.network.listen = "/ip4/127.0.0.1/tcp/0".into();
    config
}

async fn swarm(
    config: &NodeConfig,
    common: &Common,
    source: Arc<dyn Source>,
    stop: &CancellationToken,
) -> Network {
    let mut settings =
        agon_network::Config::new(swarm_secret(config).unwrap(), common.ledger.network());
    settings.listen = vec![multiaddr(&config.network.listen).unwrap()];
    for address in &config.network.bootstrap {
        settings.bootstrap.push(multiaddr(address).unwrap());
    }
    settings.timing.tick = Duration::from_millis(20);
    settings.timing.redial_min = Duration::from_millis(50);
    settings.timing.patience = Duration::from_secs(5);
    Network::start(settings, source, common.blobs.clone(), stop.clone())
        .await
        .unwrap()
}

impl Peer {
    /// Serves what `source` says and the blobs `blobs`.
    pub(super) async fn serving(
        genesis: &Genesis,
        source: impl Source,
        blobs: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = settings(&folder);
        let common = common(&config, genesis);
        for blob in blobs {
            common.blobs.put(&blob, 1 << 30).unwrap();
        }
        let stop = CancellationToken::new();
        let Network {
            handle,
            mut events,
            task,
        } = swarm(&config, &common, Arc::new(source), &stop).await;
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        Self {
            common,
            handle,
            follower: None,
            refused: watch::channel(Vec::new()).1,
            stop,
            network: task,
            _folder: folder,
        }
    }

    /// Follows these peers from the genesis.
    pub(super) async fn following(genesis: &Genesis, peers: &[&Peer]) -> Self {
        Self::beginning(genesis, peers, None).await
    }

    /// Follows these peers from a snapshot: after so long without one, from the genesis.
    pub(super) async fn joining(
        genesis: &Genesis,
        peers: &[&Peer],
        trust: Option<TrustPoint>,
        grace: Duration,
    ) -> Self {
        Self::beginning(genesis, peers, Some((trust, grace))).await
    }

    async fn beginning(
        genesis: &Genesis,
        peers: &[&Peer],
        joining: Option<(Option<TrustPoint>, Duration)>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = settings(&folder);
        let addresses = peers.iter().flat_map(|peer| peer.handle.listen_addresses());
        config.network.bootstrap = addresses.map(|address| address.to_string()).collect();
        let common = common(&config, genesis);
        let stop = CancellationToken::new();
        let source = Arc::new(common.source());
        let started = swarm(&config, &common, source, &stop).await;
        let longer = Arc::new(Notify::new());
        let gossip = Gossip {
            instruments: Default::default(),
            ledger: common.ledger.clone(),
            mempool: common.mempool.clone(),
            wanted: common.wanted.clone(),
            longer: longer.clone(),
        };
        let (pass_on, events) = mpsc::channel(64);
        tokio::spawn(gossip.run(events, stop.clone()));
        let (tell, refused) = watch::channel(Vec::new());
        let mut arriving = started.events;
        tokio::spawn(async move {
            while let Some(event) = arriving.recv().await {
                if let Event::PeerRefused { peer, .. } = &event {
                    tell.send_modify(|refused| refused.push(*peer));
                }
                // the gossip ends with the node
                let _ = pass_on.send(event).await;
            }
        });
        tokio::spawn(common.attendant(&config, &started.handle).run(stop.clone()));
        let follower = Follower {
            ledger: common.ledger.clone(),
            verification: common.verification.clone(),
            network: started.handle.clone(),
            wanted: common.wanted.clone(),
            longer,
            patience: Duration::from_secs(20),
            joining: joining.map(|(trust, grace)| Joining {
                ledger: common.ledger.clone(),
                network: started.handle.clone(),
                trust,
                grace,
            }),
        };
        let follower = tokio::spawn(follower.run(stop.clone()));
        Self {
            common,
            handle: started.handle,
            follower: Some(follower),
            refused,
            stop,
            network: started.task,
            _folder: folder,
        }
    }

    pub(super) async fn dials(&self, other: &Peer) {
        let address = other.handle.listen_addresses().remove(0);
        self.handle.dial(address).await.unwrap();
    }

    async fn until_peers(&self, what: &str, holds: impl Fn(&[PeerId]) -> bool) {
        within(what, async {
            loop {
                let peers = self.handle.peers().await.unwrap();
                let peers: Vec<_> = peers.iter().map(|info| info.peer).collect();
                if holds(&peers) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until the other one is connected.
    pub(super) async fn until_met(&self, other: &Peer) {
        let other = other.handle.local_peer();
        self.until_peers("the connection", |peers| peers.contains(&other))
            .await;
    }

    /// Waits until a peer has been turned away for what it did.
    pub(super) async fn until_banned(&self, other: &Peer) {
        let other = other.handle.local_peer();
        let mut refused = self.refused.clone();
        let banned = refused.wait_for(|refused| refused.contains(&other));
        within("the ban", banned).await.unwrap();
    }

    /// Waits until the ledger has reached a height.
    pub(super) async fn reaches(&self, height: u64) {
        let mut watch = self.common.ledger.watch();
        let there = watch.wait_for(|tip| *tip >= Height::new(height));
        within("the height", there).await.unwrap();
    }

    /// How the follower ended by itself.
    pub(super) async fn ended(&mut self) -> Result<(), NodeError> {
        let follower = self.follower.take().expect("the peer follows");
        within("the follower's end", follower).await.unwrap()
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Some(follower) = self.follower {
            within("the follower's end", follower)
                .await
                .unwrap()
                .unwrap();
        }
        within("the swarm's end", self.network).await.unwrap();
        let verification = self.common.verification.clone();
        tokio::task::spawn_blocking(move || verification.stop())
            .await
            .unwrap();
    }
}

type Change<T> = Box<dyn Fn(T) -> T + Send + Sync>;

/// A source that tells the truth but for what a test changes.
pub(super) struct Liar {
    truth: ChainSource,
    pub(super) verdicts: Box<dyn Fn(Vec<u8>) -> Option<Vec<u8>> + Send + Sync>,
    /// Of every certified block.
    pub(super) block: Change<Vec<u8>>,
    pub(super) offers: Change<Vec<SnapshotOffer>>,
}

impl Liar {
    pub(super) fn honest(story: &Story) -> Self {
        Self {
            truth: story.source(),
            verdicts: Box::new(Some),
            block: Box::new(|block| block),
            offers: Box::new(|offers| offers),
        }
    }
}

impl Source for Liar {
    fn tip(&self) -> Tip {
        self.truth.tip()
    }

    fn certified_blocks(&self, from: u64, max_count: usize, max_bytes: usize) -> Vec<Vec<u8>> {
        let blocks = self.truth.certified_blocks(from, max_count, max_bytes);
        blocks.into_iter().map(&self.block).collect()
    }

    fn verdicts(&self, height: u64) -> Option<Vec<u8>> {
        (self.verdicts)(self.truth.verdicts(height)?)
    }

    fn snapshots(&self) -> Vec<SnapshotOffer> {
        (self.offers)(self.truth.snapshots())
    }
}
