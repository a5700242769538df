//! From the ledger's objects to the JSON objects of the API: what follows from the chain alone, so that an audit can compare it.

mod chain;
mod competition;
mod events;
mod network;

pub(crate) use chain::block;
pub(super) use chain::{receipt, refusal_rule};
pub(crate) use competition::{competition, leaderboard, registration};
pub(super) use competition::{counting, ending, line, next};
pub(super) use events::event;
pub(super) use network::evidence;
pub(crate) use network::validators;
