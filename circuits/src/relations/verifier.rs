//! The verifier: recomputes everything public, and defers the one costly sum.

use std::io;

use group::GroupEncoding;
use halo2_proofs::plonk::{Error as Halo2Error, VerificationStrategy, verify_proof};
use halo2_proofs::poly::commitment::{Guard, MSM};
use halo2_proofs::transcript::{
    Blake2bRead, Challenge255, EncodedChallenge, Transcript as Halo2Transcript, TranscriptRead,
};
use thiserror::Error;

use crate::field::{Point, Scalar};
use crate::relations::deferred::Deferred;
use crate::relations::keys::RelationKey;
use crate::relations::system::{PublicColumns, System};
use crate::relations::{PADS_ITEM, PUBLIC_ITEMS, RelationsProof, proof_bytes};
use crate::transcript::Transcript;

/// Why relations are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RelationsRejection {
    /// A length that no proof of this size has.
    #[error("the proof of relations has {found} bytes, over 2^{k} rows it has {expected}")]
    Length {
        /// Binary logarithm of the rows.
        k: u32,
        /// Bytes in the proof.
        found: usize,
        /// Bytes of this size's proofs.
        expected: usize,
    },
    /// Equations about pads that no circuit of this size holds.
    #[error("the equations name more pads than there are")]
    System,
    /// The proof fails.
    #[error("the proof of relations is invalid")]
    Proof,
}

/// Verifies up to one sum of points: the proof is valid if it is accepted here and the answer
/// [`holds`](Deferred::holds). The transcript stands where it stood in the prover's hands.
pub(crate) fn verify<'a>(
    key: &'a RelationKey,
    pads: Point,
    system: &System,
    proof: &RelationsProof,
    transcript: &mut Transcript,
) -> Result<Deferred<'a>, RelationsRejection> {
    let k = key.k();
    let (found, expected) = (proof.bytes.len(), proof_bytes(k));
    if found != expected {
        return Err(RelationsRejection::Length { k, found, expected });
    }
    if !system.fits(k) {
        return Err(RelationsRejection::System);
    }
    let equations = system.bind(key, pads, transcript);
    let products = first_point(&proof.bytes).ok_or(RelationsRejection::Proof)?;
    let public = equations.public_columns(k, products, transcript);
    let mut bytes = &proof.bytes[..];
    let mut reader = Completed {
        key,
        pads,
        public: &public,
        inner: Blake2bRead::<_, Point, Challenge255<Point>>::init(&mut bytes),
        items: 0,
        challenge: None,
        evaluations: None,
    };
    let seed = transcript.challenge("relations circuit");
    let sum = Halo2Transcript::common_scalar(&mut reader, seed)
        .map_err(Halo2Error::from)
        .and_then(|()| {
            let params = key.generators().params();
            let strategy = FinalSum(params.empty_msm());
            verify_proof(params, key.key(), strategy, &[&[]], &mut reader)
        })
        .map_err(|_| RelationsRejection::Proof)?;
    if !bytes.is_empty() {
        return Err(RelationsRejection::Proof);
    }
    transcript.absorb("relations proof", &proof.bytes);
    Ok(Deferred { k, sum })
}

/// The commitment to q, with which a proof begins.
fn first_point(bytes: &[u8]) -> Option<Point> {
    let bytes: [u8; 32] = *bytes.first_chunk()?;
    Point::from_bytes(&bytes).into()
}

/// Reads a proof and puts in, where halo2 expects them, the items that it leaves out because the verifier has them.
struct Completed<'a, R: io::Read> {
    key: &'a RelationKey,
    pads: Point,
    public: &'a PublicColumns,
    inner: Blake2bRead<R, Point, Challenge255<Point>>,
    /// Items read so far, those put in included.
    items: usize,
    /// The latest challenge. When evaluations are read it is the point they are at: halo2 draws nothing between.
    challenge: Option<Scalar>,
    evaluations: Option<[Scalar; 4]>,
}

impl<R: io::Read> Completed<'_, R> {
    /// The evaluation that belongs at this item.
    fn evaluation(&mut self, item: usize) -> io::Result<Scalar> {
        let missing = || io::Error::other("an evaluation before its point");
        if self.evaluations.is_none() {
            let x = self.challenge.ok_or_else(missing)?;
            let omega = self.key.key().get_domain().get_omega();
            self.evaluations = Some(self.public.evaluate(self.key.k(), omega, x));
        }
        let evaluations = self.evaluations.iter().flatten();
        let mut here = evaluations.skip(item.saturating_sub(PUBLIC_ITEMS.start));
        here.next().copied().ok_or_else(missing)
    }

    /// Counts an item and gives its number.
    fn count(&mut self) -> usize {
        let item = self.items;
        self.items += 1;
        item
    }
}

impl<R: io::Read> Halo2Transcript<Point, Challenge255<Point>> for Completed<'_, R> {
    fn squeeze_challenge(&mut self) -> Challenge255<Point> {
        let challenge = self.inner.squeeze_challenge();
        self.challenge = Some(challenge.get_scalar());
        challenge
    }

    fn common_point(&mut self, point: Point) -> io::Result<()> {
        self.inner.common_point(point)
    }

    fn common_scalar(&mut self, scalar: Scalar) -> io::Result<()> {
        self.inner.common_scalar(scalar)
    }
}

impl<R: io::Read> TranscriptRead<Point, Challenge255<Point>> for Completed<'_, R> {
    fn read_point(&mut self) -> io::Result<Point> {
        if self.count() != PADS_ITEM {
            return self.inner.read_point();
        }
        self.inner.common_point(self.pads)?;
        Ok(self.pads)
    }

    fn read_scalar(&mut self) -> io::Result<Scalar> {
        let item = self.count();
        if !PUBLIC_ITEMS.contains(&item) {
            return self.inner.read_scalar();
        }
        let evaluation = self.evaluation(item)?;
        self.inner.common_scalar(evaluation)?;
        Ok(evaluation)
    }
}

/// Leaves the final multi-scalar sum to the caller.
struct FinalSum<'a>(MSM<'a, Point>);

impl<'a> VerificationStrategy<'a, Point> for FinalSum<'a> {
    type Output = MSM<'a, Point>;

    fn process<E: EncodedChallenge<Point>>(
        self,
        prepare: impl FnOnce(MSM<'a, Point>) -> Result<Guard<'a, Point, E>, Halo2Error>,
    ) -> Result<Self::Output, Halo2Error> {
        Ok(prepare(self.0)?.use_challenges())
    }
}
