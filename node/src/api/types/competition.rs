//! Competitions, their rankings, registrations, submissions and files.

use agon_protocol::digest::{
    BlobId, CompetitionId, DataDigest, KeyCommitment, ModelDigest, RegistrationId, TransactionId,
};
use agon_protocol::identity::AccountId;
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::statement::{InputEncoding, Task};
use agon_protocol::transition::PaymentReason;
use serde::{Deserialize, Serialize};

use super::{BlobView, metric_name};
use crate::api::schema::objects;

/// All phases, as a filter names them.
pub const PHASES: [&str; 7] = [
    "announced",
    "open",
    "sealed",
    "proving",
    "paid",
    "void",
    "cancelled",
];

/// What a payment is for, as `reason` names it.
pub fn payment_reason(reason: PaymentReason) -> &'static str {
    match reason {
        PaymentReason::Prize => "prize",
        PaymentReason::UnclaimedPrize => "unclaimed_prize",
        PaymentReason::Deposit => "deposit",
        PaymentReason::Bond => "bond",
        PaymentReason::BondShare => "bond_share",
    }
}

objects! {
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
        pub phase: String = ["announced", "open", "sealed", "proving", "paid", "void", "cancelled"],
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
        /// The transaction that opened it.
        pub opened: Position,
        /// Whether a greater score is a better one.
        pub higher_is_better: bool,
        /// The least score that earns a rank, in words.
        pub minimum_words: Option<String>,
        /// Numbers of a sample.
        pub features: u32,
        /// Height of the block in which the key was released.
        pub key_height: Option<u64>,
        /// The deadlines, in their order.
        pub timeline: Vec<Step>,
    }

    /// `GET /v1/competitions/{id}/leaderboard`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Leaderboard {
        /// The competition.
        pub competition: CompetitionId,
        /// Its phase now.
        pub phase: String = ["announced", "open", "sealed", "proving", "paid", "void", "cancelled"],
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
        /// Whether a greater score is a better one.
        pub higher_is_better: bool,
        /// How entries with the same points are put in order.
        pub ties: Rule,
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
        /// What it would be paid if the ranking stayed as it is.
        pub would_earn: u64,
        /// The score in words.
        pub score_words: String,
        /// Index of the registration in its block, which decides among equals.
        pub index: u32,
        /// Time of that block.
        pub registered_at: u64,
        /// Whether the entry before or after has as many points.
        pub tied: bool,
        /// Why it is here.
        pub why: Why,
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
        /// Time of the block that holds the registration.
        pub registered_at: u64,
        /// The best score in words.
        pub score_words: Option<String>,
        /// The rank now, final once the competition is settled.
        pub rank: Option<u32>,
        /// What the rank was paid.
        pub paid: u64,
        /// What became of the deposit.
        pub deposit: String = ["held", "returned", "lost"],
        /// Why it ranks where it does.
        pub why: Why,
    }

    /// An item of `GET /v1/competitions`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CompetitionLine {
        /// What every list shows.
        #[serde(flatten)]
        pub summary: CompetitionSummary,
        /// What decides.
        #[serde(with = "metric_name")]
        pub metric: Metric,
        /// What a model is asked.
        pub task: Task,
        /// Samples of the test set.
        pub samples: u32,
        /// The transaction that opened it.
        pub opened: Position,
        /// The next deadline; none once the competition has ended.
        pub next: Option<Step>,
    }

    /// Where and when a transaction is in the chain.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Position {
        /// Height of its block.
        pub height: u64,
        /// Index there.
        pub index: u32,
        /// Time of the block.
        pub time_ms: u64,
    }

    /// A deadline of a competition.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Step {
        /// What happens.
        pub step: String = ["registration_opens", "registration_closes", "key_due", "proofs_due"],
        /// When.
        pub at_ms: u64,
        /// By when to send, so that a busy network cannot make it late.
        pub send_by_ms: Option<u64>,
        /// Whether it lies behind.
        pub passed: bool,
    }

    /// A rule of the specification.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Rule {
        /// Its name there.
        pub rule: String,
        /// What it says.
        pub words: String,
    }

    /// Why a registration ranks where it does.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Why {
        /// The kind of answer.
        pub outcome: String = [
            "first", "outscored", "tied_and_later", "no_proof", "invalid_proof", "below_minimum", "key_missed", "cancelled",
        ],
        /// The rule that it comes from.
        pub rule: String,
        /// The answer in words.
        pub what: String,
    }

    /// `GET /v1/competitions/{id}`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CompetitionAnswer {
        /// What every node that is as far shows.
        #[serde(flatten)]
        pub view: CompetitionView,
        /// The next of its deadlines; none once the competition has ended.
        pub next: Option<Step>,
        /// How it ended.
        pub ending: Option<EndingView>,
        /// Proofs in blocks.
        pub submissions: usize,
        /// Proofs that this node has and no block.
        pub submissions_waiting: usize,
    }

    /// How a competition ended.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct EndingView {
        /// With a winner, without one, or taken back by the host.
        pub outcome: String = ["paid", "void", "cancelled"],
        /// Height of the block that ended it.
        pub height: u64,
        /// Why nobody won, if nobody did.
        pub reason: Option<String> = ["key_missed", "no_score"],
        /// The same in words.
        pub words: String,
        /// Who received what of the escrow; null on a node that does not hold that block.
        pub payments: Option<Vec<PaymentView>>,
    }

    /// A payment out of a competition's escrow.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PaymentView {
        /// Who received.
        pub account: AccountId,
        /// How much.
        pub amount: u64,
        /// What for.
        pub reason: String = ["prize", "unclaimed_prize", "deposit", "bond", "bond_share"],
        /// The registration that earned it.
        pub registration: Option<RegistrationId>,
        /// The rule.
        pub rule: String,
    }

    /// `GET /v1/competitions/{id}/leaderboard`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct LeaderboardAnswer {
        /// The ranking, or the part that was asked for.
        #[serde(flatten)]
        pub board: Leaderboard,
        /// The block as of which it is.
        pub height: u64,
        /// Ranked registrations in all.
        pub ranked: usize,
    }

    /// An item of `GET /v1/competitions/{id}/submissions`, and `GET /v1/submissions/{transaction}`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct SubmissionView {
        /// The transaction that submits the proof.
        pub transaction: TransactionId,
        /// The competition; null when this node refused the proof and does not know its registration.
        pub competition: Option<CompetitionId>,
        /// The registration.
        pub registration: RegistrationId,
        /// Who submitted it.
        pub competitor: AccountId,
        /// `waiting`, `verifying` and `ready` are this node's own; the other two are final when the height is given.
        pub state: String = ["waiting", "verifying", "ready", "accepted", "refused"],
        /// What it waits for, in words.
        pub waiting_for: Option<String>,
        /// Height of its block.
        pub height: Option<u64>,
        /// Index there.
        pub index: Option<u32>,
        /// Time of the block.
        pub time_ms: Option<u64>,
        /// What the proof claims to show; null for a proof that this node refused before any block.
        pub tally: Option<Tally>,
        /// The score.
        pub score: Option<f64>,
        /// The score in words.
        pub score_words: Option<String>,
        /// Number of hits, for the metrics that count them.
        pub correct: Option<u32>,
        /// Whether it is the proof that counts for its registration.
        pub best: bool,
        /// The rule that accepts or refuses it.
        pub rule: Option<String>,
        /// Why it is refused, as precisely as this node knows.
        pub reason: Option<String>,
        /// The proof itself.
        pub proof: Option<ProofBlob>,
        /// What this node found when it verified the proof itself.
        pub verified: Option<Verified>,
        /// Who certified the block that holds it.
        pub certified_by: Vec<AccountId>,
        /// The engine round in which the block was decided.
        pub round: Option<u32>,
    }

    /// The blob of a proof.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ProofBlob {
        /// BLAKE3 hash of its bytes.
        pub id: BlobId,
        /// Their number.
        pub length: u64,
        /// Whether this node holds them.
        pub held: bool,
    }

    /// A node's own verification of a proof.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Verified {
        /// What it found.
        pub valid: bool,
        /// Why the proof is invalid.
        pub reason: Option<String>,
        /// Milliseconds that it took; its share when several were judged together.
        pub took_ms: Option<f64>,
        /// How many were judged together.
        pub together: Option<u32>,
        /// When.
        pub at_ms: Option<u64>,
    }

    /// An item of `GET /v1/competitions/{id}/files`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct FileView {
        /// Name for a folder, unique in the competition.
        pub name: String,
        /// What it is.
        pub role: String = ["training", "sealed_test", "proof"],
        /// Media type.
        pub content_type: String,
        /// BLAKE3 hash of its bytes.
        pub blob: BlobId,
        /// Their number.
        pub length: u64,
        /// Whether this node holds them.
        pub held: bool,
        /// Where to get it.
        pub url: String,
        /// Of a proof: the registration.
        pub registration: Option<RegistrationId>,
        /// Of a proof: the transaction.
        pub transaction: Option<TransactionId>,
    }
}
