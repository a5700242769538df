//! Every bound of the protocol in one place: what a decoder accepts before it allocates, and what a rule may ask for.

/// Features of one sample.
pub const MAX_FEATURES: usize = 65_536;
/// Classes of a classification task.
pub const MAX_CLASSES: usize = 1_024;
/// Samples of a test set.
pub const MAX_SAMPLES: usize = 1_000_000;
/// Cells (samples times features) of a test set.
pub const MAX_CELLS: usize = 256 << 20;
/// Largest encoded feature value: inputs are integers in `0..=MAX_INPUT`.
pub const MAX_INPUT: u16 = 4_095;
/// Largest encoded target of a regression task, either way from 0.
pub const MAX_TARGET: i32 = 1 << 24;
/// Largest binary logarithm of a target's step, either way from 0.
pub const MAX_TARGET_EXPONENT: i16 = 256;

/// Bytes of a network's name.
pub const MAX_NETWORK_NAME_BYTES: usize = 64;
/// Validators of a network.
pub const MAX_VALIDATORS: usize = 256;
/// Voting power of all validators together: leaves room for the engine to multiply.
pub const MAX_TOTAL_POWER: u64 = 1 << 60;
/// Measures that a validator approves at a time.
pub const MAX_OPEN_APPROVALS: usize = 8;
/// Blocks between two changes of a validator's key.
pub const MIN_ROTATION_BLOCKS: u64 = 64;
/// Balances a genesis hands out.
pub const MAX_GENESIS_BALANCES: usize = 65_536;

/// Bytes of a competition's title.
pub const MAX_TITLE_BYTES: usize = 120;
/// Bytes of a competition's description.
pub const MAX_DESCRIPTION_BYTES: usize = 8_192;
/// Ranks that a payout table may name.
pub const MAX_PAYOUTS: usize = 64;
/// What the entries of a payout table add up to: basis points of the prize.
pub const PAYOUT_TOTAL: u32 = 10_000;
/// Weights and biases that a competition may allow.
pub const MAX_PARAMETERS: u64 = 1 << 27;
/// Registrations that one competition holds at a time.
pub const MAX_REGISTRATIONS: usize = 4_096;

/// Bytes of a data blob: training data, or a sealed test set.
pub const MAX_DATA_BLOB_BYTES: u64 = 1 << 30;
/// Bytes of a proof blob.
pub const MAX_PROOF_BYTES: u64 = 1 << 20;

/// Bytes of a signed transaction: the limits of its fields already keep every encoding below this.
pub const MAX_TRANSACTION_BYTES: usize = 1 << 20;
/// How far ahead of its account's nonce a transaction may be and still wait in a mempool.
pub const MAX_NONCE_GAP: u64 = 64;
/// Bytes of a block; the genesis may set a lower limit.
pub const MAX_BLOCK_BYTES: usize = 4 << 20;
/// Transactions of a block; the genesis may set a lower limit.
pub const MAX_BLOCK_TRANSACTIONS: usize = 10_000;
/// A fresh proposal's time may be this far behind a validator's clock.
pub const MAX_PROPOSAL_LAG_MS: u64 = 5_000;
/// A fresh proposal's time may be this far ahead of a validator's clock.
pub const MAX_PROPOSAL_LEAD_MS: u64 = 2_000;

/// Entries of one table of a state that is read back from a store.
pub const MAX_STATE_ENTRIES: usize = 1 << 26;

/// Bytes of a commit certificate: one signature of each validator, and what is signed.
pub const MAX_COMMIT_CERTIFICATE_BYTES: usize = 64 + MAX_VALIDATORS * 96;
/// Changes of the validator set that a settlement certificate may show.
pub const MAX_SET_CHANGES: usize = 4_096;
