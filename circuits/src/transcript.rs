//! The transcript of a proof: everything both sides know, in order, hashed; and the challenges drawn from it.
//!
//! Each entry is absorbed with its name and length, so no two histories are the same string of bytes.

use blake2b_simd::{Params, State};
use ff::PrimeField;
use group::GroupEncoding;

use crate::field::{Point, Scalar, challenge_from};

/// The running hash of a proof's history.
#[derive(Clone)]
pub(crate) struct Transcript {
    state: State,
}

impl Transcript {
    /// An empty history, for one `purpose`.
    pub(crate) fn new(purpose: &'static str) -> Self {
        let mut state = Params::new()
            .hash_length(64)
            .personal(b"agon-transcript2")
            .to_state();
        entry(&mut state, "purpose", purpose.as_bytes());
        Self { state }
    }

    /// Appends named bytes.
    pub(crate) fn absorb(&mut self, name: &'static str, bytes: &[u8]) {
        entry(&mut self.state, name, bytes);
    }

    /// Appends points: their number and their compressed forms.
    pub(crate) fn absorb_points(&mut self, name: &'static str, points: &[Point]) {
        let bytes: Vec<u8> = points.iter().flat_map(|point| point.to_bytes()).collect();
        self.absorb(name, &bytes);
    }

    /// Appends scalars.
    pub(crate) fn absorb_scalars(&mut self, name: &'static str, scalars: &[Scalar]) {
        let bytes: Vec<u8> = scalars.iter().flat_map(|s| s.to_repr()).collect();
        self.absorb(name, &bytes);
    }

    /// A challenge that depends on everything absorbed so far, and becomes part of the history.
    pub(crate) fn challenge(&mut self, name: &'static str) -> Scalar {
        entry(&mut self.state, name, b"challenge");
        challenge_from(self.state.finalize().as_array())
    }

    /// Several challenges.
    #[cfg(test)]
    #[cfg(test)]
    pub(crate) fn challenges(&mut self, name: &'static str, count: usize) -> Vec<Scalar> {
        (0..count).map(|_| self.challenge(name)).collect()
    }
}

fn entry(state: &mut State, name: &'static str, bytes: &[u8]) {
    for part in [name.as_bytes(), bytes] {
        state.update(&(part.len() as u64).to_le_bytes());
        state.update(part);
    }
}
