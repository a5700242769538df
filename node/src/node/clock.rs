//! The node's clock: the only place that reads the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use agon_protocol::state::State;
use agon_protocol::units::TimeMs;

/// Milliseconds since 1970.
pub fn now() -> TimeMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    TimeMs::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The time that a block made now on top of `state` would have.
pub fn next_block_time(state: &State) -> TimeMs {
    now().max(state.time().saturating_add(1))
}
