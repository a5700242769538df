//! What happens, as it happens: the chain, this node's pool and the clock are followed once, and listeners are told.

mod changes;
mod journal;
mod listen;

use std::time::Duration;

use super::{Server, blocking};
use changes::Seen;
pub(super) use journal::Journal;
pub(super) use listen::{EventsQuery, events};

/// The pool changes with every transaction that arrives: it is not looked at more often than this.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest time between two looks at the clock: a clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Follows until the node stops.
pub(super) async fn follow(server: Server) {
    let shutdown = server.api.shutdown.clone();
    let mut height = server.api.ledger.watch();
    let mut pool = server.api.mempool.watch();
    let mut seen = Seen::now(&server);
    let mut rested = true;
    loop {
        let state = server.api.ledger.state();
        let deadline = Seen::until_deadline(&state).map_or(LOOK_AGAIN, |wait| wait.min(LOOK_AGAIN));
        drop(state);
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = height.changed() => if changed.is_err() { return },
            changed = pool.changed(), if rested => if changed.is_err() { return },
            () = tokio::time::sleep(PAUSE), if !rested => {
                rested = true;
                continue;
            }
            () = tokio::time::sleep(deadline) => {}
        }
        rested = false;
        let shared = server.clone();
        let look = blocking(move || {
            seen.blocks(&shared)?;
            seen.pool(&shared);
            seen.phases(&shared, &shared.api.ledger.state());
            Ok(seen)
        });
        // the cause is in the log; what is lost is told by the next look
        seen = match look.await {
            Ok(seen) => seen,
            Err(_) => Seen::now(&server),
        };
    }
}
