//! The argument by itself: for all operations and scores, every equation that the honest prover leaves holds, and the
//! verifier, who knows no numbers, arrives at the same equations.

pub(crate) mod graphs;
mod honest;
pub(crate) mod naive;
