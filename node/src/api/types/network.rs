//! The network as a node sees it: peers, validators, evidence, accounts.

use agon_protocol::digest::{
    BlockId, CompetitionId, NetworkId, RegistrationId, StateRoot, TransactionId,
};
use agon_protocol::governance::{Measure, Upgrade};
use agon_protocol::identity::{AccountId, Signature};
use serde::{Deserialize, Serialize};

use super::BlockLine;
use crate::api::schema::objects;

objects! {
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
        pub kind: String = ["prevote", "precommit", "proposal"],
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

    /// `GET /v1/accounts/{id}`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct AccountAnswer {
        /// Balance and nonce.
        #[serde(flatten)]
        pub view: AccountView,
        /// Its voting power, if it is a validator.
        pub power: Option<u64>,
        /// Whether it is a validator.
        pub validator: bool,
        /// The competitions that it hosts, newest first, at most 100.
        pub hosted: Vec<HostedLine>,
        /// Their number.
        pub hosted_total: usize,
        /// Its registrations, newest first, at most 100.
        pub registrations: Vec<RegistrationLine>,
        /// Their number.
        pub registrations_total: usize,
    }

    /// A competition of its host.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct HostedLine {
        /// The competition.
        pub competition: CompetitionId,
        /// Its title.
        pub title: String,
        /// Its phase now.
        pub phase: String = ["announced", "open", "sealed", "proving", "paid", "void", "cancelled"],
    }

    /// A registration of its competitor.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct RegistrationLine {
        /// The registration.
        pub registration: RegistrationId,
        /// Its competition.
        pub competition: CompetitionId,
        /// The competition's title.
        pub title: String,
        /// The competition's phase now.
        pub phase: String = ["announced", "open", "sealed", "proving", "paid", "void", "cancelled"],
        /// The rank, once the competition is settled.
        pub rank: Option<u32>,
        /// The best proven score.
        pub score: Option<f64>,
        /// The same in words.
        pub score_words: Option<String>,
        /// What the rank was paid.
        pub paid: u64,
    }

    /// An item of `GET /v1/accounts/{id}/history`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct HistoryEntry {
        /// Height of the block.
        pub height: u64,
        /// Index there, of a transaction of the account.
        pub index: Option<u32>,
        /// Time of the block.
        pub time_ms: u64,
        /// A transaction of the account, a transfer to it, or a payment out of a competition.
        pub kind: String = ["sent", "received", "paid"],
        /// What the transaction does.
        pub action: Option<String>,
        /// The transaction, when it is the account's own.
        pub transaction: Option<TransactionId>,
        /// The amount that moved, if one did.
        pub amount: Option<u64>,
        /// The other end of a transfer.
        pub counterparty: Option<AccountId>,
        /// The competition that it is about.
        pub competition: Option<CompetitionId>,
        /// The registration that it is about.
        pub registration: Option<RegistrationId>,
        /// What became of the account's transaction.
        pub outcome: Option<String> = ["accepted", "refused"],
        /// The rule of a refusal or a payment.
        pub rule: Option<String>,
        /// The same in words.
        pub words: String,
    }

    /// `GET /v1/network`: the network in numbers, as this node sees it.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct NetworkSummary {
        /// The network.
        pub network: NetworkId,
        /// Its name.
        pub name: String,
        /// Version of the software of this node.
        pub version: String,
        /// Version of the rules.
        pub protocol_version: u16,
        /// Height of the last block.
        pub height: u64,
        /// The lowest height whose block this node has.
        pub first: u64,
        /// The last block.
        pub block: BlockId,
        /// Its time.
        pub time_ms: u64,
        /// State root after it.
        pub state_root: StateRoot,
        /// Start of the network.
        pub genesis_time_ms: u64,
        /// Number of validators.
        pub validators: usize,
        /// Their power.
        pub total_power: u64,
        /// Connected peers of this node.
        pub peers: usize,
        /// Waiting transactions of this node.
        pub mempool: MempoolView,
        /// What this node verifies.
        pub verification: VerificationView,
        /// All money.
        pub supply: u64,
        /// What belongs to nobody.
        pub treasury: u64,
        /// How many competitions are in which phase.
        pub competitions: PhaseCounts,
        /// Proofs of double-signing that this node holds.
        pub evidence: usize,
        /// How long blocks take.
        pub finality: FinalityView,
        /// The last blocks, newest first, at most 60.
        pub blocks: Vec<BlockLine>,
        /// The node's own account, when it has a key.
        pub account: Option<AccountId>,
        /// Whether that is a validator.
        pub validator: bool,
    }

    /// Waiting transactions.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct MempoolView {
        /// Their number.
        pub transactions: usize,
        /// Their length, all together.
        pub bytes: u64,
        /// How many wait for earlier ones of their sender.
        pub nonce: u64,
        /// For a blob.
        pub blob: u64,
        /// For a block that makes them valid.
        pub ledger: u64,
        /// For a verdict of this node.
        pub verdict: u64,
        /// For nothing but the next block.
        pub block: u64,
    }

    /// What a node's verification has done since its start, and has before it.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct VerificationView {
        /// Claims that wait.
        pub waiting: usize,
        /// Claims found valid.
        pub valid: u64,
        /// Claims found invalid.
        pub invalid: u64,
        /// Times that this node had trouble of its own.
        pub failures: u64,
    }

    /// How many competitions are in which phase.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PhaseCounts {
        /// Before registration.
        pub announced: usize,
        /// Registration.
        pub open: usize,
        /// Before the key.
        pub sealed: usize,
        /// Proofs are taken.
        pub proving: usize,
        /// Ended with a winner.
        pub paid: usize,
        /// Ended without one.
        pub void: usize,
        /// Taken back.
        pub cancelled: usize,
    }

    /// How long the blocks took that this node saw become final, of the last 1,024.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct FinalityView {
        /// Their number.
        pub blocks: usize,
        /// Milliseconds from a block's time to its commit here: half of them took no longer.
        pub p50_ms: Option<u64>,
        /// Nine of ten took no longer.
        pub p90_ms: Option<u64>,
        /// The slowest.
        pub max_ms: Option<u64>,
        /// Half of the pauses between two blocks were no longer.
        pub interval_p50_ms: Option<u64>,
    }
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
