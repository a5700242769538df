//! The verifier: recomputes everything public, and accepts or says why not.
//!
//! It answers with a value whatever it is given. Cheap checks come first: nothing is computed on the curve before sizes, score, limits,
//! the registered digest and the proof's exact length are right. What a proof can then cost is bounded by its layout (see
//! [`crate::layout`]): at most 256 MiB for the labels' columns.

use std::path::PathBuf;

use agon_protocol::codec::{Decode, DecodeError};
use agon_protocol::digest::ModelDigest;
use agon_protocol::statement::{Context, Dataset};
use halo2_proofs::plonk::{Error as Halo2Error, VerificationStrategy, verify_proof};
use halo2_proofs::poly::commitment::{Guard, MSM};
use halo2_proofs::transcript::{Blake2bRead, Challenge255, EncodedChallenge};
use thiserror::Error;

use crate::challenge::{Challenges, FORMAT_VERSION, Statement};
use crate::commitment::digest_of;
use crate::field::Point;
use crate::generators::{GeneratorCache, Generators, GeneratorsError};
use crate::keys::KeyCache;
use crate::layout::{Layout, LayoutError};
use crate::link::{LinkTranscript, Links};
use crate::prover::absorb_seed;
use crate::public::{Coefficients, Instance};
use crate::submission::{Claims, Submission};

/// Why a proof is not accepted. The same bytes always give the same answer, on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Not the encoding of a proof.
    #[error("the proof cannot be read: {0}")]
    Encoding(#[from] DecodeError),
    /// Made for other data.
    #[error("the proof is about {what} {found}, the data has {expected}")]
    Data {
        /// What differs.
        what: &'static str,
        /// In the proof.
        found: usize,
        /// In the data.
        expected: usize,
    },
    /// A score that cannot be.
    #[error("the proof claims {correct} of {samples} samples")]
    Score {
        /// Claimed.
        correct: usize,
        /// Samples there are.
        samples: usize,
    },
    /// Another score than the one submitted.
    #[error("the proof shows {found} correct samples, {expected} were claimed")]
    Claim {
        /// In the proof.
        found: usize,
        /// In the claim.
        expected: usize,
    },
    /// Another model than the registered one.
    #[error("the proof opens the commitment {found}, {expected} was registered")]
    Model {
        /// Digest of the opening for the context's competitor.
        found: ModelDigest,
        /// The registered digest.
        expected: ModelDigest,
    },
    /// More parameters than the competition allows.
    #[error("the model has {found} parameters, the limit is {limit}")]
    Parameters {
        /// Parameters of the model.
        found: u64,
        /// The competition's limit.
        limit: u64,
    },
    /// No circuit for this shape.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Committed over another circuit's generators.
    #[error(
        "the model is committed for circuits of 2^{found} rows, this test set needs 2^{expected}"
    )]
    Rows {
        /// Binary logarithm in the commitment.
        found: u32,
        /// Binary logarithm needed.
        expected: u32,
    },
    /// A circuit's proof of a length that this layout's never has.
    #[error("the circuit's proof has {found} bytes, for this model and test set it has {expected}")]
    Length {
        /// Bytes in the proof.
        found: usize,
        /// Bytes of this layout's proofs.
        expected: usize,
    },
    /// The columns are not those of the committed model.
    #[error("the proof is not linked to the committed model")]
    Link,
    /// The circuit's proof fails.
    #[error("the circuit's proof is invalid")]
    Circuit,
}

/// Why there is no verdict.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// There is one: no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// This machine cannot verify.
    #[error(transparent)]
    Generators(#[from] GeneratorsError),
    /// The circuit's key cannot be made; a bug.
    #[error("the verifying key cannot be made: {0}; please report this")]
    Key(String),
}

/// What a proof must be about, beyond the data.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The place the proof was made for.
    pub context: &'a Context,
    /// The registered digest; `None` accepts any model.
    pub model: Option<ModelDigest>,
    /// The competition's limit.
    pub max_parameters: u64,
    /// The submitted score; `None` accepts whatever is proven.
    pub correct: Option<usize>,
}

/// What an accepted proof shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Samples that the committed model classifies correctly, at least.
    pub correct: usize,
    /// Samples.
    pub samples: usize,
}

/// Verifies proofs. Keeps generators and keys; share one.
#[derive(Debug)]
pub struct Verifier {
    generators: GeneratorCache,
    keys: KeyCache,
}

impl Verifier {
    /// A verifier that caches generators in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            generators: GeneratorCache::new(folder),
            keys: KeyCache::default(),
        }
    }

    /// Verifies the encoding of a [`Submission`] against `data`.
    pub fn verify(
        &self,
        proof: &[u8],
        data: &Dataset,
        expected: &Expected<'_>,
    ) -> Result<Verified, VerifyError> {
        let claims = Claims::read(proof).map_err(Rejection::from)?;
        let layout = check_claims(&claims, data, expected)?;
        let submission = Submission::from_bytes(proof).map_err(Rejection::from)?;
        let generators = self.generators.get(layout.k())?;
        let key = self
            .keys
            .get(&generators, &layout)
            .map_err(|error| VerifyError::Key(error.to_string()))?;
        let check = Check {
            generators: &generators,
            layout: &layout,
            submission: &submission,
            data,
            context: expected.context,
        };
        check.run(&key.key, &key.fingerprint)?;
        Ok(Verified {
            correct: submission.correct(),
            samples: submission.samples(),
        })
    }
}

/// Everything that needs no arithmetic on the curve.
fn check_claims(
    claims: &Claims<'_>,
    data: &Dataset,
    expected: &Expected<'_>,
) -> Result<Layout, Rejection> {
    let architecture = &claims.architecture;
    let same = |what, found: usize, expected: usize| match found == expected {
        true => Ok(()),
        false => Err(Rejection::Data {
            what,
            found,
            expected,
        }),
    };
    same("a number of samples of", claims.samples, data.samples())?;
    same("a number of features of", claims.features, data.width())?;
    same("a number of inputs of", architecture.inputs(), data.width())?;
    same(
        "a number of classes of",
        architecture.classes(),
        data.classes(),
    )?;
    let (correct, samples) = (claims.correct, data.samples());
    if correct > samples {
        return Err(Rejection::Score { correct, samples });
    }
    if let Some(claimed) = expected.correct.filter(|claimed| *claimed != correct) {
        return Err(Rejection::Claim {
            found: correct,
            expected: claimed,
        });
    }
    if architecture.parameters() > expected.max_parameters {
        return Err(Rejection::Parameters {
            found: architecture.parameters(),
            limit: expected.max_parameters,
        });
    }
    let digest = digest_of(expected.context.competitor, claims.commitment);
    if let Some(registered) = expected.model.filter(|registered| *registered != digest) {
        return Err(Rejection::Model {
            found: digest,
            expected: registered,
        });
    }
    let layout = Layout::choose(architecture, samples)?;
    if claims.k != layout.k() {
        return Err(Rejection::Rows {
            found: claims.k,
            expected: layout.k(),
        });
    }
    let (found, expected) = (claims.circuit_proof_bytes, layout.circuit_proof_bytes());
    match found == expected {
        true => Ok(layout),
        false => Err(Rejection::Length { found, expected }),
    }
}

/// One verification.
struct Check<'a> {
    generators: &'a Generators,
    layout: &'a Layout,
    submission: &'a Submission,
    data: &'a Dataset,
    context: &'a Context,
}

impl Check<'_> {
    fn run(
        &self,
        key: &halo2_proofs::plonk::VerifyingKey<Point>,
        fingerprint: &[u8; 64],
    ) -> Result<(), Rejection> {
        let Self {
            generators,
            layout,
            submission,
            data,
            context,
        } = *self;
        let columns = Submission::column_commitments(&submission.circuit_proof, layout)
            .ok_or(Rejection::Circuit)?;
        let statement = Statement {
            version: FORMAT_VERSION,
            generators: generators.digest(),
            verifying_key: fingerprint,
            layout,
            context,
            model: submission.commitment.digest(context.competitor),
            data: data.digest(),
            samples: data.samples(),
            features: data.width(),
            correct: submission.correct(),
            weight_commitments: submission.commitment.points(),
            column_commitments: &columns[..layout.committed_columns()],
        };
        let seed = statement.seed();
        let challenges = Challenges::new(&seed);
        let coefficients = Coefficients::new(layout, &challenges);
        let transcript = LinkTranscript {
            seed: &seed,
            circuit_proof: &submission.circuit_proof,
        };
        let weights = submission.commitment.points();
        let links = Links::new(layout, &coefficients);
        if !links.verify(generators, transcript, &columns, weights, &submission.link) {
            return Err(Rejection::Link);
        }
        let instance = Instance::new(
            layout,
            &challenges,
            &coefficients,
            data,
            submission.correct(),
        );
        let mut bytes = &submission.circuit_proof[..];
        let mut transcript = Blake2bRead::<_, Point, Challenge255<Point>>::init(&mut bytes);
        absorb_seed(&mut transcript, &seed).map_err(|_| Rejection::Circuit)?;
        let strategy = FinalSum(generators.params().empty_msm());
        let sum = verify_proof(
            generators.params(),
            key,
            strategy,
            &[&instance.columns()],
            &mut transcript,
        )
        .map_err(|_| Rejection::Circuit)?;
        if !bytes.is_empty() || !sum.eval() {
            return Err(Rejection::Circuit);
        }
        Ok(())
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
