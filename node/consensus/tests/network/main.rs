//! The engine with a toy ledger, on loopback: one test binary, because linking the engine takes long.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod agreement;
mod changes;
mod judgement;
mod starting;
mod support;
