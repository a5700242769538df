//! The engine with a toy ledger, on loopback: one test binary, because linking the engine takes long.

mod agreement;
mod judgement;
mod starting;
mod support;
