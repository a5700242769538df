//! The rules of an Agon competition.
//!
//! This crate is the law: prose pages beside it, and here the same rules as types and a pure state machine. It
//! refuses to know I/O, clocks, randomness, floating point (but for showing a score to people), async code, proofs or the
//! network.
//!
//! Start at [`transition::apply_block`]: a state, a block and a [`judge::Judge`] in; the next state, receipts and
//! events out. Everything else is what that function reads and writes.

pub mod block;
pub mod codec;
pub mod competition;
mod dataset;
pub mod digest;
pub mod genesis;
pub mod governance;
pub mod identity;
pub mod judge;
pub mod limits;
pub mod metric;
pub mod scorer;
pub mod sealed;
pub mod settlement_certificate;
pub mod state;
pub mod statement;
pub mod transactions;
pub mod transition;
pub mod units;
