//! When transactions became final on a node: a thread that asks for the next block as soon as there is one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agon_node::client::Client;
use agon_protocol::digest::TransactionId;

use crate::TestnetError;
use crate::account::failed;

/// Follows one node from now on.
#[derive(Debug)]
pub struct Finality {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<HashMap<TransactionId, Instant>>,
    changed: Condvar,
    ended: AtomicBool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, HashMap<TransactionId, Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Finality {
    /// Starts to follow. The thread ends with its handle, or with the node.
    pub fn follow(client: &Client) -> Result<Self, TestnetError> {
        let shared = Arc::new(Shared::default());
        let height = client.status().map_err(failed("the height"))?.height;
        let (client, writer) = (client.clone(), shared.clone());
        std::thread::spawn(move || read_blocks(&client, &writer, height));
        Ok(Self { shared })
    }

    /// Waits for a transaction.
    pub fn wait(&self, id: &TransactionId, limit: Duration) -> Result<Instant, TestnetError> {
        let seen = self.shared.seen();
        let waiting = self
            .shared
            .changed
            .wait_timeout_while(seen, limit, |seen| !seen.contains_key(id));
        let (seen, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        seen.get(id).copied().ok_or_else(|| TestnetError::Timeout {
            what: format!("transaction {id} in a block"),
            seconds: limit.as_secs(),
        })
    }
}

impl Drop for Finality {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

fn read_blocks(client: &Client, shared: &Shared, mut height: u64) {
    // a node that is gone, or that stops, ends the thread
    while !shared.ended.load(Ordering::Relaxed) {
        let Ok(status) = client.wait(height) else {
            return;
        };
        while height < status.height {
            let Ok(block) = client.block(height + 1) else {
                return;
            };
            let now = Instant::now();
            let mut seen = shared.seen();
            seen.extend(
                block
                    .transactions
                    .iter()
                    .map(|transaction| (transaction.id, now)),
            );
            drop(seen);
            shared.changed.notify_all();
            height += 1;
        }
    }
}
