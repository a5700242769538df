//! Fresh seeds. Each hashes new entropy with what it is used for, a counter and the secrets at hand, so that neither a weak
//! source nor a restored snapshot of a machine makes two proofs share one.

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// The operating system gives no randomness.
#[derive(Debug, Error)]
#[error(
    "the operating system gives no randomness: {0}; nothing secret can be made on this machine"
)]
pub struct RandomnessError(getrandom::Error);

/// A 32-byte seed for `purpose`, hedged with `secrets`.
pub(crate) fn fresh_seed(
    purpose: &'static str,
    secrets: &[&[u8]],
) -> Result<[u8; 32], RandomnessError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(RandomnessError)?;
    let mut hasher = blake3::Hasher::new_derive_key("agon 2026-11 prover randomness");
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    for part in [&entropy[..], purpose.as_bytes(), &counter]
        .iter()
        .chain(secrets)
    {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Ok(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_seeds_are_equal() {
        let seeds: Vec<_> = (0..4)
            .map(|_| fresh_seed("test", &[b"secret"]).unwrap())
            .collect();
        assert!(seeds.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
