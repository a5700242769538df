//! The soundness suite: what a malicious prover may try, and that it is refused. It drives the prover that is shipped, through
//! its [`Strategy`](crate::prover::Strategy), at circuits small enough to run in a second.

mod attacks;
mod binding;
mod cheats;
mod completeness;
mod gates;
mod pins;
mod scene;
