//! Every rule of the protocol with a case that is accepted and one that is refused. `tests/tidy.rs` checks that none
//! is forgotten: a test names what it shows in a comment, `// Rule REG-3: accept` or `// Rule REG-3: reject`.

// a failing unwrap is a failing test, also in the functions that tests share
#![allow(clippy::unwrap_used)]

mod blocks;
mod certificates;
mod competing;
mod encoding;
mod genesis;
mod governing;
mod histories;
mod hosting;
mod lifecycle;
mod metrics;
mod proving;
mod reference;
mod settlement;
mod steps;
mod transactions;
mod vectors;
mod world;
