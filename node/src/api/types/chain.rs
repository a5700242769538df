//! Blocks, transactions and blobs.

use agon_protocol::digest::{
    BlobId, BlockId, CompetitionId, NetworkId, RegistrationId, StateRoot, TransactionId,
};
use agon_protocol::identity::{AccountId, Signature};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::schema::{Described, Object, Schemas, objects, tagged};

objects! {
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

    /// A snapshot that a node offers to those that join.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct SnapshotView {
        /// Height of the block after which the state was taken.
        pub height: u64,
        /// The block.
        pub block: BlockId,
    }

    /// A blob named by a competition or a transaction.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct BlobView {
        /// Its BLAKE3 hash.
        pub id: BlobId,
        /// Its length in bytes.
        pub length: u64,
    }

    /// `POST /v1/transactions` when the transaction was admitted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Admitted {
        /// Its id.
        pub id: TransactionId,
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
        /// The rule by which it was refused.
        pub rule: Option<String>,
        /// The competition that it is about.
        pub competition: Option<CompetitionId>,
        /// The registration that it is about.
        pub registration: Option<RegistrationId>,
    }

    /// The certificate of a block, in short.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CertificateView {
        /// Engine round in which the block was decided.
        pub round: u32,
        /// Validators whose precommit is in the certificate.
        pub signers: Vec<AccountId>,
    }

    /// An item of `GET /v1/blocks`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct BlockLine {
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
        /// Number of its transactions.
        pub transactions: usize,
        /// Its length.
        pub bytes: usize,
        /// The engine round in which it was decided.
        pub round: u32,
        /// Number of validators in its certificate.
        pub signers: usize,
        /// Milliseconds since the block before it.
        pub interval_ms: Option<u64>,
        /// Milliseconds from its time to its commit here; null when this node caught up on it or had not started.
        pub final_after_ms: Option<u64>,
    }

    /// `GET /v1/blocks/{height}`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct BlockAnswer {
        /// What every node that holds it shows.
        #[serde(flatten)]
        pub block: BlockView,
        /// Milliseconds since the block before it.
        pub interval_ms: Option<u64>,
        /// Milliseconds from its time to its commit here; null when this node caught up on it or had not started.
        pub final_after_ms: Option<u64>,
    }

    /// `GET /v1/blocks/{height}/certificate`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CertificateAnswer {
        /// The height that was decided.
        pub height: u64,
        /// The block.
        pub block: BlockId,
        /// The engine round.
        pub round: u32,
        /// Whose precommits it holds, by rising account.
        pub signers: Vec<Signer>,
        /// Their power together.
        pub power: u64,
        /// The power of all validators at that height.
        pub total_power: u64,
    }

    /// A signature of a certificate.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Signer {
        /// The validator.
        pub account: AccountId,
        /// Its signature on the precommit.
        pub signature: Signature,
        /// Its power; null when it was no validator of that height as this node knows them.
        pub power: Option<u64>,
    }

    /// `GET /v1/transactions/{id}`.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct TransactionAnswer {
        /// What became of it.
        #[serde(flatten)]
        pub status: TransactionStatus,
        /// The rule that refused it, in a block or before.
        pub rule: Option<String>,
        /// Time of its block.
        pub block_time_ms: Option<u64>,
        /// Who sent it, when it is in a block.
        pub sender: Option<AccountId>,
        /// What it does, when it is in a block.
        pub action: Option<String>,
        /// The competition that it is about.
        pub competition: Option<CompetitionId>,
        /// The registration that it is about.
        pub registration: Option<RegistrationId>,
    }
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

impl Described for TransactionStatus {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("TransactionStatus", |schemas| {
            let mut pending = Object::new(&["Admitted, in no block yet."]);
            let what = ["What it waits for: a blob, a verdict, an earlier nonce, the next block."];
            pending.field::<String>(schemas, "waiting_for", &what, &[], &[]);
            let mut committed = Object::new(&["In a block."]);
            committed.field::<u64>(schemas, "height", &["Height of that block."], &[], &[]);
            committed.field::<u32>(schemas, "index", &["Index in that block."], &[], &[]);
            let what = ["What the transaction did."];
            committed.field::<ReceiptView>(schemas, "receipt", &what, &[], &[]);
            let mut refused = Object::new(&["Refused by this node before it reached a block."]);
            refused.field::<String>(schemas, "error", &["Why."], &[], &[]);
            let unknown = Object::new(&["Not seen here, or the refusal is forgotten."]);
            let shapes = vec![
                ("pending", pending),
                ("committed", committed),
                ("refused", refused),
                ("unknown", unknown),
            ];
            tagged("What became of a transaction.", "status", shapes)
        })
    }
}

impl Described for ReceiptView {
    fn schema(schemas: &mut Schemas) -> Value {
        schemas.named("ReceiptView", |schemas| {
            let accepted = Object::new(&["It did what it asked for."]);
            let mut refused =
                Object::new(&["It cost the deposit and did not do what it asked for."]);
            refused.field::<String>(schemas, "reason", &["Why."], &[], &[]);
            let shapes = vec![("accepted", accepted), ("refused", refused)];
            tagged("What a committed transaction did.", "outcome", shapes)
        })
    }
}
