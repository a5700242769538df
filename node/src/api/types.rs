//! The JSON objects of the HTTP API: what the node answers and what the command line reads.
//!
//! Both sides use these types, so the contract cannot drift. Heights, times (milliseconds since 1970) and amounts are plain
//! numbers; identifiers are 64 hexadecimal digits; a metric is its name (`top-5`), the numbers of a tally are decimal text.
//! A score is a floating-point number for people and for programs that draw: ranks come from tallies.

use agon_protocol::digest::{
    BlobId, BlockId, CompetitionId, DataDigest, KeyCommitment, ModelDigest, NetworkId,
    RegistrationId, StateRoot, TransactionId,
};
use agon_protocol::governance::{Measure, Upgrade};
use agon_protocol::identity::{AccountId, Signature};
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::statement::{InputEncoding, Task};
use serde::{Deserialize, Serialize};

/// `GET /v1/status` and `GET /v1/wait?height=H`: where the node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The network the node is on.
    pub network: NetworkId,
    /// Name of the network, from the genesis.
    pub name: String,
    /// Height of the last committed block; 0 before the first.
    pub height: u64,
    /// The lowest height whose block the node has: 1, or that of the snapshot it started from.
    #[serde(default)]
    pub first: u64,
    /// The snapshots that it offers to nodes that join, newest first.
    #[serde(default)]
    pub snapshots: Vec<SnapshotView>,
    /// Id of that block; the network's id as a block before the first.
    pub block: BlockId,
    /// Time of that block.
    pub time_ms: u64,
    /// State root after that block.
    pub state_root: StateRoot,
    /// The node's own account, when it has a key.
    pub account: Option<AccountId>,
    /// Whether that account is a validator of this network.
    pub validator: bool,
    /// Whether it became one after the node was started, so that only a restart makes the node validate.
    #[serde(default)]
    pub restart_to_validate: bool,
    /// Number of validators.
    pub validators: usize,
    /// Connected peers of the public swarm.
    pub peers: usize,
    /// Version of the software.
    pub version: String,
    /// Transactions waiting for a block.
    pub mempool: usize,
}

/// `GET /v1/peers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// Connected peers of this network.
    pub peers: Vec<PeerView>,
    /// Peers and addresses that are kept away.
    pub bans: Vec<BanView>,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its transport identity.
    pub peer: String,
    /// The far end of the connection.
    pub address: String,
    /// Whether the peer opened the connection.
    pub incoming: bool,
    /// The height that it claims.
    pub height: u64,
    /// Points for misbehaviour; they fade, and at 100 the peer is banned.
    pub points: u32,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanView {
    /// A peer id, or an IP address.
    pub subject: String,
    /// When it ends, in milliseconds since 1970; not at all when the operator's settings say so.
    pub until_ms: Option<u64>,
    /// Why.
    pub reason: String,
}

/// `GET /health` and `GET /ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether the answer is yes; the status is then 200, otherwise 503.
    pub ready: bool,
    /// Why it is no, and what to do.
    pub reasons: Vec<String>,
}

/// `GET /v1/accounts/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// The account.
    pub account: AccountId,
    /// What it owns, without what is escrowed in competitions.
    pub balance: u64,
    /// The nonce to use next; waiting transactions are counted.
    pub nonce: u64,
}

/// A blob named by a competition or a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobView {
    /// Its BLAKE3 hash.
    pub id: BlobId,
    /// Its length in bytes.
    pub length: u64,
}

/// An item of `GET /v1/competitions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompetitionSummary {
    /// The competition.
    pub id: CompetitionId,
    /// Its title.
    pub title: String,
    /// Who opened it.
    pub host: AccountId,
    /// Name of the phase now: `announced`, `open`, `sealed`, `proving`, `paid`, `void` or `cancelled`.
    pub phase: String,
    /// The escrowed prize.
    pub prize: u64,
    /// Registrations so far.
    pub registrations: usize,
    /// When registration opens.
    pub opens_at: u64,
    /// Registrations are accepted before this block time.
    pub register_until: u64,
    /// The key is accepted before this block time.
    pub key_until: u64,
    /// Proofs are accepted before this block time.
    pub prove_until: u64,
    /// By when to send a registration so that a busy network cannot make it late: the deadline less its grace.
    pub register_send_by: u64,
    /// By when to send the key.
    pub key_send_by: u64,
    /// By when to send a proof.
    pub prove_send_by: u64,
}

/// `GET /v1/competitions/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompetitionView {
    /// What the list shows too.
    #[serde(flatten)]
    pub summary: CompetitionSummary,
    /// Description by the host.
    pub description: String,
    /// The public encoding of the inputs.
    pub encoding: InputEncoding,
    /// What a model is asked: a class, or a value.
    pub task: Task,
    /// Samples of the sealed test set.
    pub samples: u32,
    /// What decides, by its name (`accuracy`).
    #[serde(with = "metric_name")]
    pub metric: Metric,
    /// Weights and biases a model may have.
    pub max_parameters: u64,
    /// Published training data.
    pub training_data: Option<BlobView>,
    /// The sealed test set.
    pub sealed_data: BlobView,
    /// Digest of the opened test set.
    pub data_digest: DataDigest,
    /// Commitment to the key of the sealed test set.
    pub key_commitment: KeyCommitment,
    /// Basis points of the prize by rank.
    pub payouts: Vec<u16>,
    /// Deposit of a registration.
    pub deposit: u64,
    /// Bond of the host.
    pub bond: u64,
    /// Proofs a registration may submit.
    pub submissions_per_registration: u8,
    /// Registrations an account may have.
    pub registrations_per_account: u8,
    /// The least score that earns a rank.
    pub minimum: Threshold,
    /// The released key, 64 hexadecimal digits.
    pub key: Option<String>,
    /// Ids of the registrations, in ledger order.
    pub registration_ids: Vec<RegistrationId>,
}

/// `GET /v1/competitions/{id}/leaderboard`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leaderboard {
    /// The competition.
    pub competition: CompetitionId,
    /// Its phase now.
    pub phase: String,
    /// What is asked.
    pub task: Task,
    /// What decides.
    #[serde(with = "metric_name")]
    pub metric: Metric,
    /// Samples of the test set.
    pub samples: u32,
    /// Whether the ranking is final (the competition has been settled).
    pub settled: bool,
    /// The first deadline that has not passed; absent after the last.
    pub next_deadline: Option<u64>,
    /// Ranked entries, best first. Only registrations with an accepted proof are ranked.
    pub entries: Vec<LeaderboardEntry>,
}

/// A line of the leaderboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaderboardEntry {
    /// 1 for the best.
    pub rank: u32,
    /// Who registered the model.
    pub competitor: AccountId,
    /// The proven tally, which the rank comes from.
    pub tally: Tally,
    /// The proven score: a share, an error in the targets' unit (its square for MSE), or R².
    pub score: f64,
    /// Proven number of hits, for the metrics that count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correct: Option<u32>,
    /// Samples of the test set.
    pub samples: u32,
    /// The registration.
    pub registration: RegistrationId,
    /// Height of the block that holds the registration.
    pub height: u64,
    /// What this rank is paid, once settled.
    pub prize: Option<u64>,
}

/// `GET /v1/registrations/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistrationView {
    /// The registration.
    pub id: RegistrationId,
    /// Its competition.
    pub competition: CompetitionId,
    /// Who registered.
    pub competitor: AccountId,
    /// The committed model.
    pub model: ModelDigest,
    /// Height of the block that holds the registration.
    pub height: u64,
    /// Index of the transaction in that block.
    pub index: u32,
    /// The best proven tally.
    pub tally: Option<Tally>,
    /// Its score.
    pub score: Option<f64>,
    /// Its number of hits, for the metrics that count them.
    pub correct: Option<u32>,
    /// Proofs submitted so far.
    pub submissions: u32,
    /// Whether the competitor withdrew it.
    pub withdrawn: bool,
}

/// `POST /v1/transactions` when the transaction was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Its id.
    pub id: TransactionId,
}

/// `GET /v1/transactions/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum TransactionStatus {
    /// Admitted, in no block yet.
    Pending {
        /// What it waits for (a blob, a verdict, an earlier nonce, the next block).
        waiting_for: String,
    },
    /// In a block.
    Committed {
        /// Height of that block.
        height: u64,
        /// Index in that block.
        index: u32,
        /// What the transaction did.
        receipt: ReceiptView,
    },
    /// Refused by this node before it reached a block.
    Refused {
        /// Why.
        error: String,
    },
    /// This node has not seen it, or has forgotten the refusal.
    Unknown,
}

/// What a committed transaction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum ReceiptView {
    /// It did what it asked for.
    Accepted,
    /// It is in the block and cost the deposit, but did not do what it asked for.
    Refused {
        /// Why.
        reason: String,
    },
}

/// `PUT /v1/blobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBlob {
    /// BLAKE3 hash of the bytes.
    pub id: BlobId,
    /// Their number.
    pub length: u64,
}

/// `GET /v1/blocks/{height}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Height.
    pub height: u64,
    /// Id.
    pub id: BlockId,
    /// Id of the parent.
    pub parent: BlockId,
    /// Block time.
    pub time_ms: u64,
    /// Who proposed it.
    pub proposer: AccountId,
    /// State root after it.
    pub state_root: StateRoot,
    /// Its transactions, in order.
    pub transactions: Vec<BlockTransaction>,
    /// What happened in it, in words, in order (settlements and voids too).
    pub events: Vec<String>,
    /// Who certified it.
    pub certificate: CertificateView,
}

/// A transaction of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockTransaction {
    /// Id.
    pub id: TransactionId,
    /// Sender.
    pub sender: AccountId,
    /// Nonce.
    pub nonce: u64,
    /// Kind of action (`submit_proof`).
    pub action: String,
    /// What it did.
    pub receipt: ReceiptView,
}

/// A snapshot that a node offers to those that join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotView {
    /// Height of the block after which the state was taken.
    pub height: u64,
    /// The block.
    pub block: BlockId,
}

/// The certificate of a block, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Engine round in which the block was decided.
    pub round: u32,
    /// Validators whose precommit is in the certificate.
    pub signers: Vec<AccountId>,
}

/// `GET /v1/validators`: who decides the next block, and what is under way to change that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorsView {
    /// Height of the last committed block.
    pub height: u64,
    /// Version of the set, which an approval names.
    pub set_version: u64,
    /// The power of all validators.
    pub total_power: u64,
    /// The validators, in the order in which they take turns.
    pub validators: Vec<ValidatorView>,
    /// Measures that some validators approve.
    pub pending: Vec<PendingMeasure>,
    /// Version of the rules at the last block.
    pub protocol_version: u16,
    /// The version that will come into force.
    pub upgrade: Option<Upgrade>,
}

/// A validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorView {
    /// Its account.
    pub account: AccountId,
    /// Its voting power.
    pub power: u64,
    /// The height at which it last changed its key.
    pub rotated_at: Option<u64>,
}

/// A measure that has not taken effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingMeasure {
    /// What it does.
    #[serde(flatten)]
    pub measure: Measure,
    /// The power that approves it; more than two thirds of all put it in force.
    pub approving_power: u64,
    /// Who approves it.
    pub approved_by: Vec<AccountId>,
}

/// An item of `GET /v1/evidence`: two contradicting messages that a validator signed, as far as this node noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceView {
    /// Who signed both.
    pub validator: AccountId,
    /// The height of both.
    pub height: u64,
    /// The engine round of both.
    pub round: u32,
    /// `prevote`, `precommit` or `proposal`.
    pub kind: String,
    /// The messages.
    pub messages: [SignedChoice; 2],
}

/// One of two contradicting messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedChoice {
    /// The block; absent in a vote for none.
    pub block: Option<BlockId>,
    /// The earlier round that a repeated proposal refers to; -1 in every other message.
    pub valid_round: i64,
    /// The validator's signature.
    pub signature: Signature,
}

/// Any answer with a 4xx or 5xx status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: String,
    /// What to do next.
    pub hint: String,
}

/// `<data-dir>/addresses.json`: where a running node listens, written once everything is bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Process id of the node.
    pub process: u32,
    /// Address of the HTTP API, `127.0.0.1:PORT`.
    pub api: String,
    /// Multiaddresses of the public swarm, with `/p2p/PEER`, as they go into another node's `bootstrap`.
    pub swarm: Vec<String>,
    /// Multiaddress of the validators' own port, when the node is a validator.
    pub consensus: Option<String>,
}

/// A metric as its name.
mod metric_name {
    use agon_protocol::metric::Metric;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        metric: &Metric,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(metric)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Metric, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
