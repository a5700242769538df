//! The prover.

use std::io;

use ff::{Field, PrimeField};
use group::GroupEncoding;
use halo2_proofs::plonk::{Error as Halo2Error, create_proof};
use halo2_proofs::transcript::{Blake2bWrite, Challenge255, Transcript as _};
use rand_chacha::ChaCha20Rng;
use thiserror::Error;

use crate::field::{Point, Scalar};
use crate::relations::circuit::{ADVICE, Cells, RelationsCircuit, index, on_own_thread};
use crate::relations::hiding::{ChosenFirst, Hiding};
use crate::relations::keys::ProvingRelationKey;
use crate::relations::pads::Pads;
use crate::relations::system::System;
use crate::relations::{RelationsProof, capacity, is_left_out};
use crate::transcript::Transcript;

/// Why relations cannot be proven.
#[derive(Debug, Error)]
pub(crate) enum RelationsError {
    /// More pads than rows.
    #[error("{count} pads do not fit a circuit of 2^{k} rows")]
    Capacity {
        /// Binary logarithm of the rows.
        k: u32,
        /// The pads.
        count: usize,
    },
    /// Pads committed for another size.
    #[error("the pads are committed for 2^{found} rows, the key is for 2^{expected}")]
    Size {
        /// Binary logarithm of the pads' rows.
        found: u32,
        /// Binary logarithm of the key's rows.
        expected: u32,
    },
    /// Equations about pads that there are not.
    #[error("the equations name pads that there are not")]
    System,
    /// The pads do not satisfy the equations.
    #[error("the pads do not satisfy the equations")]
    Unsatisfied,
    /// The system gives no thread.
    #[error("no thread to prove on: {0}")]
    Thread(#[from] io::Error),
    /// halo2 refused; a bug.
    #[error("the proof system refused the relations: {0}; please report this")]
    Halo2(#[from] Halo2Error),
    /// halo2 drew randomness in another order than assumed; a bug.
    #[error("the relations' commitments differ from the ones prepared; please report this")]
    Replay,
}

/// Where a dishonest prover departs from the protocol, for tests: they attack the very prover that is shipped.
pub(super) trait Strategy: Sync {
    /// Edits the column q before it is committed to.
    fn edit_products(&self, _: &mut [Scalar]) {}

    /// Edits all columns before they are proven.
    fn edit_cells(&self, _: &mut Cells) {}

    /// Edits what hides the columns that no one has committed to yet.
    fn edit_hiding(&self, _: &mut [Hiding; ADVICE], _: &mut ChaCha20Rng) {}

    /// Goes on where the honest prover stops.
    fn is_stubborn(&self) -> bool {
        false
    }
}

/// Follows the protocol.
struct Honest;

impl Strategy for Honest {}

/// Proves that the pads satisfy the system. The caller has absorbed their commitment, and whatever the system is made from.
pub(crate) fn prove(
    key: &ProvingRelationKey,
    pads: Pads,
    system: &System,
    transcript: &mut Transcript,
) -> Result<RelationsProof, RelationsError> {
    prove_as(&Honest, key, pads, system, transcript)
}

/// [`prove`], honestly or not.
pub(super) fn prove_as(
    strategy: &dyn Strategy,
    key: &ProvingRelationKey,
    pads: Pads,
    system: &System,
    transcript: &mut Transcript,
) -> Result<RelationsProof, RelationsError> {
    let (k, generators) = (key.verifying().k(), key.verifying().generators());
    if pads.k() != k {
        return Err(RelationsError::Size {
            found: pads.k(),
            expected: k,
        });
    }
    if !system.fits(k) {
        return Err(RelationsError::System);
    }
    let equations = system.bind(key.verifying(), pads.commitment(), transcript);
    // Drawn from a copy: the verifier draws nothing here.
    let statement = transcript.clone().challenge("relations randomness");
    let mut rng = pads.proof_rng(&statement.to_repr());
    let mut products = equations.cofactors(pads.values(), capacity(k));
    strategy.edit_products(&mut products);
    let products_hiding = Hiding::random(&mut rng);
    let products_commitment = products_hiding.commit(generators, &products);
    let public = equations.public_columns(k, products_commitment, transcript);

    let mut values = pads.values().to_vec();
    values.resize(capacity(k), Scalar::ZERO);
    let mut cells = [
        values,
        products,
        Vec::new(),
        public.coefficients,
        public.weights,
    ];
    cells[index::SUM] = running_sum(&cells);
    if cells[index::SUM].last() != cells[index::COEFFICIENTS].last() && !strategy.is_stubborn() {
        return Err(RelationsError::Unsatisfied);
    }
    strategy.edit_cells(&mut cells);

    let mut hiding = [
        pads.hiding().clone(),
        products_hiding,
        Hiding::random(&mut rng),
        Hiding::public(&mut rng),
        Hiding::public(&mut rng),
    ];
    strategy.edit_hiding(&mut hiding, &mut rng);
    let rng = ChosenFirst::new(&hiding, rng);
    let mut inner = Blake2bWrite::<_, Point, Challenge255<Point>>::init(Vec::new());
    inner.common_scalar(transcript.challenge("relations circuit"))?;
    let circuit = RelationsCircuit::new(k, &cells);
    on_own_thread(|| {
        let params = generators.params();
        create_proof(params, key.key(), &[circuit], &[&[]], rng, &mut inner)
    })??;
    let bytes = inner.finalize();
    let prepared = [pads.commitment().to_bytes(), products_commitment.to_bytes()].concat();
    if !bytes.starts_with(&prepared) && !strategy.is_stubborn() {
        return Err(RelationsError::Replay);
    }
    let items = bytes.chunks(32).enumerate();
    let kept = items.filter(|(item, _)| !is_left_out(*item));
    let bytes: Vec<u8> = kept.flat_map(|(_, bytes)| bytes).copied().collect();
    transcript.absorb("relations proof", &bytes);
    Ok(RelationsProof { bytes })
}

/// From the first row's coefficient, row by row (pad + weight)·(cofactor + coefficient) more.
pub(super) fn running_sum(cells: &Cells) -> Vec<Scalar> {
    let [pads, products, _, coefficients, weights] = cells;
    let mut total = coefficients.first().copied().unwrap_or(Scalar::ZERO);
    let mut sums = vec![total];
    let rows = pads
        .iter()
        .zip(products)
        .zip(coefficients.iter().zip(weights));
    for ((pad, product), (coefficient, weight)) in rows {
        total += (*pad + weight) * (*product + coefficient);
        sums.push(total);
    }
    sums
}
