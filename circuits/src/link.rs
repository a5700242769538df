//! The link: columns inside the proof equal combinations of commitments outside it.
//!
//! Two commitments over the same generators hold the same values on all usable rows iff their difference is a
//! combination of the generators of the unusable rows and of the blind: seven points, so a Schnorr proof of knowledge for
//! seven scalars shows it. All links of a proof are batched by a challenge into one. Cf. LegoSNARK (ePrint 2019/142), CP-link.
//!
//! Linked are, for each linear layer, the column `p_l = Σ_o v_o·W_o` to the model commitment, and the three columns of sums over
//! the samples of a row to the columns of cells.

use agon_protocol::codec::{DecodeError, Reader};
use blake2b_simd::Params;
use ff::{Field, PrimeField};
use group::{Curve, GroupEncoding};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::challenge::{Seed, derive};
use crate::circuit::AdviceIndex;
use crate::commitment::{read_points, read_scalar};
use crate::field::{Point, Projective, Scalar, powers};
use crate::generators::Generators;
use crate::layout::{Layout, UNUSABLE_ROWS};
use crate::msm;
use crate::public::Coefficients;
use crate::random::{RandomnessError, fresh_seed};

/// Scalars that a difference can consist of: the unusable rows, then the blind.
pub(crate) const SECRETS: usize = UNUSABLE_ROWS + 1;

/// A Schnorr proof of knowledge of `SECRETS` scalars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkProof {
    pub(crate) nonce_commitment: Point,
    pub(crate) responses: [Scalar; SECRETS],
}

impl LinkProof {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.nonce_commitment.to_bytes().as_ref());
        for response in &self.responses {
            out.extend_from_slice(response.to_repr().as_ref());
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "link";
        let points = read_points(reader.take(32, what)?).ok_or(DecodeError::Invalid { what })?;
        let mut responses = [Scalar::ZERO; SECRETS];
        for response in &mut responses {
            *response = read_scalar(reader, what)?;
        }
        Ok(Self {
            nonce_commitment: points[0],
            responses,
        })
    }
}

/// What is opened to zero: the columns' and commitments' indices, and the coefficients of the difference.
#[derive(Debug)]
pub(crate) struct Links<'a> {
    layout: &'a Layout,
    coefficients: &'a Coefficients,
    index: AdviceIndex,
}

impl<'a> Links<'a> {
    pub(crate) fn new(layout: &'a Layout, coefficients: &'a Coefficients) -> Self {
        Self {
            layout,
            coefficients,
            index: AdviceIndex::of(layout),
        }
    }

    /// The columns of one part (positive, negative, low) that sum `number` adds up.
    fn parts(&self, number: usize) -> std::ops::Range<usize> {
        let start = [self.index.positive, self.index.negative, self.index.low][number];
        start..start + self.layout.width()
    }

    /// `Σ η^j·(linked column j - its combination)` over anything a commitment has one of: `column(i)` for advice columns,
    /// `weight(n)` for neurons. Calls `term(coefficient, source)`.
    fn terms(&self, batch: &[Scalar], mut term: impl FnMut(Scalar, Source)) {
        let (layers, sums) = batch.split_at(self.layout.layers());
        let mut neuron = 0;
        for (layer, factor) in layers.iter().enumerate() {
            term(*factor, Source::Column(self.index.weights + layer));
            for v in self.coefficients.of_layer(self.layout, layer) {
                term(-*factor * v, Source::Neuron(neuron));
                neuron += 1;
            }
        }
        for (number, factor) in sums.iter().enumerate() {
            term(*factor, Source::Column(self.index.sums + number));
            for (column, power) in self.parts(number).zip(&self.coefficients.columns) {
                term(-*factor * power, Source::Column(column));
            }
        }
    }

    /// Challenges that batch all links into one: from everything before, the circuit's proof included.
    fn batch(&self, seed: &Seed, circuit_proof: &[u8]) -> Vec<Scalar> {
        let digest = digest_of(circuit_proof);
        powers(
            derive(seed, "link batch", &[&digest]),
            self.layout.layers() + 3,
        )
    }

    /// The batched difference as a point.
    fn difference(&self, batch: &[Scalar], columns: &[Point], weights: &[Point]) -> Projective {
        let (mut scalars, mut points) = (Vec::new(), Vec::new());
        self.terms(batch, |coefficient, source| {
            scalars.push(coefficient);
            points.push(match source {
                Source::Column(index) => columns[index],
                Source::Neuron(index) => weights[index],
            });
        });
        msm::sum(&scalars, &points)
    }

    /// Proves all links. `columns` are the commitments in the proof's head; `secrets[i]` are the unusable rows and the
    /// blind of column i; `blinds` those of the weight commitments, which have nothing on unusable rows.
    pub(crate) fn prove(
        &self,
        generators: &Generators,
        transcript: LinkTranscript<'_>,
        columns: &[Point],
        weights: &[Point],
        secrets: &[[Scalar; SECRETS]],
        blinds: &[Scalar],
    ) -> Result<LinkProof, RandomnessError> {
        let batch = self.batch(transcript.seed, transcript.circuit_proof);
        let mut opening = [Scalar::ZERO; SECRETS];
        self.terms(&batch, |coefficient, source| match source {
            Source::Column(index) => {
                for (sum, secret) in opening.iter_mut().zip(&secrets[index]) {
                    *sum += coefficient * secret;
                }
            }
            Source::Neuron(index) => opening[SECRETS - 1] += coefficient * blinds[index],
        });
        let opening_bytes: Vec<u8> = opening.iter().flat_map(|s| s.to_repr()).collect();
        let rng_seed = fresh_seed("link nonce", &[transcript.seed, &opening_bytes])?;
        let mut rng = ChaCha20Rng::from_seed(rng_seed);
        let nonces = [(); SECRETS].map(|()| Scalar::random(&mut rng));
        let nonce_commitment = msm::sum(&nonces, generators.blinding()).to_affine();
        let difference = self.difference(&batch, columns, weights).to_affine();
        let challenge = transcript.challenge(difference, nonce_commitment);
        let responses = std::array::from_fn(|i| nonces[i] + challenge * opening[i]);
        Ok(LinkProof {
            nonce_commitment,
            responses,
        })
    }

    /// Whether all links hold.
    pub(crate) fn verify(
        &self,
        generators: &Generators,
        transcript: LinkTranscript<'_>,
        columns: &[Point],
        weights: &[Point],
        proof: &LinkProof,
    ) -> bool {
        let batch = self.batch(transcript.seed, transcript.circuit_proof);
        let difference = self.difference(&batch, columns, weights);
        let challenge = transcript.challenge(difference.to_affine(), proof.nonce_commitment);
        msm::sum(&proof.responses, generators.blinding())
            == Projective::from(proof.nonce_commitment) + difference * challenge
    }
}

enum Source {
    Column(usize),
    Neuron(usize),
}

/// What the link's challenges depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkTranscript<'a> {
    pub(crate) seed: &'a Seed,
    pub(crate) circuit_proof: &'a [u8],
}

impl LinkTranscript<'_> {
    fn challenge(&self, difference: Point, nonce_commitment: Point) -> Scalar {
        let digest = digest_of(self.circuit_proof);
        let points = [difference.to_bytes(), nonce_commitment.to_bytes()];
        derive(
            self.seed,
            "link",
            &[&digest, points[0].as_ref(), points[1].as_ref()],
        )
    }
}

fn digest_of(circuit_proof: &[u8]) -> [u8; 64] {
    let mut params = Params::new();
    params.hash_length(64).personal(b"agon-link-proof1");
    *params.hash(circuit_proof).as_array()
}
