//! Work for a network: transfers of one unit each, in nonce order, from several payers at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agon_node::client::Client;
use agon_protocol::digest::TransactionId;
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::Action;
use agon_protocol::units::Amount;

use crate::account::{Account, failed};
use crate::finality::Finality;
use crate::measure::Times;
use crate::{TestnetError, interrupt};

/// Where a stream's transfers go: an account that does nothing else.
pub const RECEIVER: AccountId = AccountId::from_raw([1; 32]);
/// A node that refuses for want of room is asked again after this.
const BACK_OFF: Duration = Duration::from_millis(20);

/// A transfer that a node has accepted.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The transaction.
    pub id: TransactionId,
    /// Which of the stream's nodes it was sent to.
    pub node: usize,
    /// When the request that brought it began.
    pub at: Instant,
}

/// What a stream has done.
#[derive(Debug, Clone, Default)]
pub struct Streamed {
    /// All transfers, each accepted by a node.
    pub sent: Vec<Sent>,
    /// How often a node had no room for the next one.
    pub refused_for_room: u64,
}

/// Transfers of 1 at a steady rate, from several payers at the same time, each with a node of its own. A payer that falls
/// behind sends the next ones at once.
#[derive(Debug)]
pub struct Stream {
    ended: Arc<AtomicBool>,
    payers: Vec<JoinHandle<Result<Streamed, TestnetError>>>,
}

impl Stream {
    /// Starts; `rate` counts the transfers of all payers in a second. Each payer ends after `most` of them.
    pub fn start(accounts: Vec<Account>, clients: &[&Client], rate: f64, most: usize) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs_f64(accounts.len() as f64 / rate);
        let count = accounts.len().max(1) as u32;
        let payers = accounts
            .into_iter()
            .zip(0_u32..)
            .map(|(account, index)| {
                let node = index as usize % clients.len();
                let payer = StreamPayer {
                    account,
                    client: clients[node].clone(),
                    node,
                    pause,
                    ended: ended.clone(),
                };
                std::thread::spawn(move || payer.pay(pause * index / count, most))
            })
            .collect();
        Self { ended, payers }
    }

    /// Stops all payers: what they have sent.
    pub fn stop(self) -> Result<Streamed, TestnetError> {
        self.ended.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until every payer has sent its last transfer.
    pub fn finish(self) -> Result<Streamed, TestnetError> {
        let mut all = Streamed::default();
        for payer in self.payers {
            let streamed = payer
                .join()
                .map_err(|_| TestnetError::Expectation("a payer broke off".into()))??;
            all.sent.extend(streamed.sent);
            all.refused_for_room += streamed.refused_for_room;
        }
        Ok(all)
    }
}

struct StreamPayer {
    account: Account,
    client: Client,
    node: usize,
    pause: Duration,
    ended: Arc<AtomicBool>,
}

impl StreamPayer {
    fn pay(mut self, offset: Duration, most: usize) -> Result<Streamed, TestnetError> {
        let mut streamed = Streamed::default();
        let mut due = Instant::now() + offset;
        while streamed.sent.len() < most && !self.ended.load(Ordering::Relaxed) {
            interrupt::pass(due.saturating_duration_since(Instant::now()))?;
            let at = Instant::now();
            let transfer = self.account.sign(Action::Transfer {
                to: RECEIVER,
                amount: Amount::new(1),
            });
            match self.client.send(&transfer) {
                Ok(admitted) => {
                    let (id, node) = (admitted.id, self.node);
                    streamed.sent.push(Sent { id, node, at });
                    due += self.pause;
                }
                Err(error) if error.is_back_pressure() => {
                    self.account.rewind(transfer.transaction.nonce);
                    streamed.refused_for_room += 1;
                    due = Instant::now() + BACK_OFF;
                }
                Err(error) => return Err(failed("a transfer")(error)),
            }
        }
        Ok(streamed)
    }
}

/// Waits until all that was streamed is final on the node that it was sent to: how long each took.
pub fn times(
    streamed: &Streamed,
    nodes: &[Finality],
    limit: Duration,
) -> Result<Times, TestnetError> {
    let time = |sent: &Sent| {
        let seen = nodes[sent.node].wait(&sent.id, limit)?;
        Ok(seen.saturating_duration_since(sent.at))
    };
    Ok(Times::new(
        streamed
            .sent
            .iter()
            .map(time)
            .collect::<Result<_, TestnetError>>()?,
    ))
}

/// Follows the blocks of each node.
pub fn follow(clients: &[&Client]) -> Result<Vec<Finality>, TestnetError> {
    clients
        .iter()
        .map(|client| Finality::follow(client))
        .collect()
}
