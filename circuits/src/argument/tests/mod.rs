//! The argument by itself: every equation the honest prover leaves holds, for all operations and scores.

mod naive;
