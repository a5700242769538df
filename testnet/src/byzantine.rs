//! A validator that lies: it votes and follows as the rules want, with the shipped ledger and the shipped engine, but every block that it
//! proposes breaks a rule, by turns another one.
//!
//! It runs as a process of its own (`agon-testnet byzantine`), in place of `agon node run` on the folder of a validator. What it
//! proposed is written to `lies` in that folder, a line each.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agon_consensus::{
    Application, ApplicationError, CertifiedBlock, Check, Config, Engine, Evidence, Timeouts,
    Validator,
};
use agon_node::api::types::Addresses;
use agon_node::config::{ADDRESSES_FILE, NodeConfig};
use agon_node::keys::AccountKey;
use agon_node::ledger::{Ledger, LedgerError};
use agon_node::node::clock::next_block_time;
use agon_node::node::read_genesis;
use agon_protocol::block::Block;
use agon_protocol::codec::Encode;
use agon_protocol::digest::{BlockId, StateRoot};
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Judge, ProofClaim, TestSetClaim, Verdict};
use agon_protocol::limits::MAX_BLOCK_BYTES;
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use agon_protocol::transition::{BlockError, build_block};
use agon_protocol::units::{Amount, Height};
use ed25519_dalek::SigningKey;

use crate::proxy::port_of;
use crate::random::{Random, account_key};

/// Name of the file in the data folder that tells what was proposed: kind, height and id of the block.
pub const LIES_FILE: &str = "lies";

/// Milliseconds ahead of any clock that a rule allows.
const FAR_AHEAD_MS: u64 = 60_000;

/// What can be wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It pays from an account that has nothing.
    Transaction,
    /// A transaction in it has the signature of another one.
    Signature,
    /// Its time is a minute ahead.
    FarAhead,
    /// Its time is its parent's.
    NotLater,
    /// Its state root is another.
    StateRoot,
    /// It names another validator as its proposer.
    Proposer,
    /// It follows another block.
    Parent,
    /// It is longer than the genesis allows.
    Oversized,
    /// It is no block at all.
    Garbage,
}

impl Lie {
    /// All of them, in the order in which they take turns.
    pub const ALL: [Self; 9] = [
        Self::Transaction,
        Self::StateRoot,
        Self::NotLater,
        Self::FarAhead,
        Self::Oversized,
        Self::Garbage,
        Self::Signature,
        Self::Proposer,
        Self::Parent,
    ];
}

/// Judges no proofs: networks of this validator have none.
struct NoVerdicts;

impl Judge for NoVerdicts {
    fn test_set(&self, _: &TestSetClaim) -> Option<Verdict> {
        None
    }

    fn proof(&self, _: &ProofClaim) -> Option<Verdict> {
        None
    }
}

/// The ledger as the engine drives it, but for what it proposes.
struct Liar {
    ledger: Arc<Ledger>,
    account: AccountId,
    told: usize,
    lies: File,
    last: Option<BlockId>,
}

impl Liar {
    /// A block with nothing wrong with it, and no transactions.
    fn honest(&self) -> Result<Block, ApplicationError> {
        let state = self.ledger.state();
        let time = next_block_time(&state);
        Ok(build_block(&state, [], self.account, time, &NoVerdicts)?.block)
    }

    fn lie(&self, lie: Lie) -> Result<Vec<u8>, ApplicationError> {
        let mut block = self.honest()?;
        let state = self.ledger.state();
        match lie {
            Lie::Transaction => block.transactions.push(self.unpaid(1)),
            Lie::Signature => {
                let mut altered = self.unpaid(1);
                altered.signature = self.unpaid(2).signature;
                block.transactions.push(altered);
            }
            Lie::FarAhead => block.time = block.time.saturating_add(FAR_AHEAD_MS),
            Lie::NotLater => block.time = state.time(),
            Lie::StateRoot => block.state_root = StateRoot::from_raw([7; 32]),
            Lie::Proposer => block.proposer = AccountId::from_raw([7; 32]),
            Lie::Parent => block.parent = BlockId::of(b"another"),
            Lie::Oversized => {
                let limit = self.ledger.genesis().parameters.max_block_bytes as usize;
                let one = self.unpaid(1);
                let needed = limit / one.to_bytes().len() + 1;
                block.transactions = vec![one; needed];
            }
            Lie::Garbage => return Ok(Random::new(state.height().get()).bytes(1_000)),
        }
        Ok(block.to_bytes())
    }

    /// A transfer from an account that does not exist.
    fn unpaid(&self, amount: u64) -> SignedTransaction {
        let key = account_key(u64::MAX, 0);
        let transaction = Transaction {
            network: self.ledger.network(),
            sender: AccountId::of(&key),
            nonce: 0,
            action: Action::Transfer {
                to: self.account,
                amount: Amount::new(amount),
            },
        };
        transaction.sign(&key)
    }
}

impl Application for Liar {
    fn height(&self) -> Height {
        self.ledger.state().height()
    }

    fn validators(&self) -> Vec<Validator> {
        self.ledger.validators()
    }

    fn evidence(&mut self, _: &Evidence) -> Result<(), ApplicationError> {
        // it tells on nobody
        Ok(())
    }

    fn propose(&mut self, height: Height) -> Result<Vec<u8>, ApplicationError> {
        let lie = Lie::ALL[self.told % Lie::ALL.len()];
        let bytes = self.lie(lie)?;
        let id = BlockId::of(&bytes);
        writeln!(self.lies, "{lie:?} {height} {id}")?;
        self.lies.sync_data()?;
        self.told += 1;
        self.last = Some(id);
        Ok(bytes)
    }

    fn timely(&self, _: &[u8]) -> bool {
        true
    }

    fn check(&mut self, block: &[u8]) -> Check {
        if self.last == Some(BlockId::of(block)) {
            return Check::Valid;
        }
        match self.ledger.apply(block, &NoVerdicts) {
            Ok(_) => Check::Valid,
            Err(LedgerError::Block(BlockError::Undecided { .. })) => Check::Undecided,
            Err(error) => Check::Invalid(error.to_string()),
        }
    }

    fn commit(&mut self, certified: &CertifiedBlock) -> Result<(), ApplicationError> {
        if certified.certificate.height <= self.height() {
            return Ok(self.ledger.improve_certificate(certified)?);
        }
        let (block, applied) = self.ledger.apply(&certified.block, &NoVerdicts)?;
        Ok(self.ledger.commit(certified, &block, &applied)?)
    }

    fn certified(&self, height: Height) -> Result<Option<CertifiedBlock>, ApplicationError> {
        Ok(self.ledger.certified(height)?)
    }

    fn rest(&self) -> Duration {
        Duration::MAX
    }
}

/// Lies as the validator of a folder until the process is killed, or the engine gives up.
pub fn run(data_dir: &Path) -> Result<(), ApplicationError> {
    let config = NodeConfig::load(data_dir)?;
    let key = config.key.as_ref().ok_or("the folder has no key")?;
    let key = AccountKey::load(&config.resolve(key))?;
    let genesis = read_genesis(&config.resolve(&config.genesis))?;
    let ledger = Arc::new(Ledger::open(&data_dir.join("ledger"), genesis)?);
    let settings = Config {
        home: data_dir.join("consensus"),
        listen: port_of(&config.consensus.listen)?,
        peers: config
            .consensus
            .peers
            .iter()
            .map(|peer| port_of(peer))
            .collect::<Result<_, _>>()?,
        network: ledger.network(),
        key: SigningKey::from_bytes(&key.secret()),
        // its own limit is no obstacle to a block that is too long for the network
        max_block_bytes: MAX_BLOCK_BYTES,
        idle: Duration::from_millis(config.consensus.idle_ms),
        timeouts: Timeouts::default(),
    };
    let liar = Liar {
        account: key.account(),
        lies: File::options()
            .create(true)
            .append(true)
            .open(data_dir.join(LIES_FILE))?,
        ledger,
        told: 0,
        last: None,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut engine = Engine::start(settings, Box::new(liar)).await?;
        let addresses = Addresses {
            process: std::process::id(),
            api: String::new(),
            swarm: Vec::new(),
            consensus: Some(config.consensus.listen),
        };
        let text = serde_json::to_vec(&addresses)?;
        std::fs::write(data_dir.join(ADDRESSES_FILE), text)?;
        Err(engine.failed().await.into())
    })
}
