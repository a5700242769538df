//! The prover: commit, challenge, prove, link.
//!
//! 1. The cells' columns are committed before any challenge. halo2 commits to all columns at once, later; its randomness
//!    comes from the generator it is given, in a fixed order, so replaying that generator gives the same commitments
//!    ahead of time. Soundness does not rest on it: the verifier takes them from the proof.
//! 2. The statement with those commitments gives the challenges.
//! 3. The columns that depend on challenges are computed, and the circuit is proven.
//! 4. The link ties the proof's columns to the model commitment and to each other.

use agon_protocol::codec::Encode;
use agon_protocol::statement::{Context, Dataset};
use ff::Field;
use halo2_proofs::plonk::{Error as Halo2Error, create_proof};
use halo2_proofs::transcript::{Blake2bWrite, Challenge255, Transcript};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use thiserror::Error;

use crate::challenge::{Challenges, FORMAT_VERSION, Seed, Statement, derive};
use crate::circuit::{ScoreCircuit, with_layout};
use crate::columns;
use crate::commitment::CommittedModel;
use crate::field::{Point, Scalar};
use crate::generators::Generators;
use crate::keys::CircuitKey;
use crate::layout::{Layout, LayoutError, UNUSABLE_ROWS};
use crate::link::{LinkTranscript, Links, SECRETS};
use crate::model::integer::InputError;
use crate::msm;
use crate::public::{Coefficients, Instance};
use crate::random::{RandomnessError, fresh_seed};
use crate::submission::Submission;
use crate::witness::Witness;

/// Why a proof cannot be made.
#[derive(Debug, Error)]
pub enum ProveError {
    /// The data is not what the model was quantised for.
    #[error(transparent)]
    Input(#[from] InputError),
    /// No circuit for this many samples.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The commitment was made for another number of samples, so its generators are others.
    #[error(
        "the model was committed for {committed} samples and circuits of 2^{k} rows, this data set has {samples}; commit to it again for this number of samples"
    )]
    Samples {
        /// Samples of the commitment.
        committed: usize,
        /// Binary logarithm of its circuit's rows.
        k: u32,
        /// Samples of the data.
        samples: usize,
    },
    /// Generators of another size.
    #[error("the generators are for 2^{found} rows, this proof needs 2^{expected}")]
    Generators {
        /// Binary logarithm given.
        found: u32,
        /// Binary logarithm needed.
        expected: u32,
    },
    /// A competitor other than the commitment's owner.
    #[error(
        "the model was committed by {owner}, the proof is for {competitor}; use the owner's key"
    )]
    Owner {
        /// Who committed.
        owner: agon_protocol::identity::AccountId,
        /// Who is to be proven for.
        competitor: agon_protocol::identity::AccountId,
    },
    /// No entropy.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// halo2 refused; a bug, since the witness was checked.
    #[error("the proof system refused the witness: {0}; please report this")]
    Circuit(#[from] Halo2Error),
    /// halo2 drew randomness in another order than replayed; a bug.
    #[error("the proof's commitments differ from the ones prepared for it; please report this")]
    Replay,
}

/// The steps of a proof, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Running the model on every sample.
    Witness,
    /// Committing to the cells.
    Commit,
    /// Making the circuit's keys.
    Keys,
    /// Proving the circuit: most of the time.
    Circuit,
    /// Linking to the model commitment.
    Link,
}

/// Told which stage begins. Implemented for closures.
pub trait Progress: Sync {
    /// `stage` begins.
    fn begin(&self, stage: Stage);
}

impl<F: Fn(Stage) + Sync> Progress for F {
    fn begin(&self, stage: Stage) {
        self(stage);
    }
}

/// Proves how many samples of `data` the committed model classifies correctly, for `context`.
pub fn prove(
    generators: &Generators,
    committed: &CommittedModel,
    data: &Dataset,
    context: &Context,
    progress: &dyn Progress,
) -> Result<Submission, ProveError> {
    let model = committed.model();
    model.accepts(data)?;
    let layout = Layout::choose(model.architecture(), data.samples())?;
    check_commitment(generators, committed, &layout, context)?;
    progress.begin(Stage::Witness);
    let witness = Witness::new(&layout, model, data);
    Attempt {
        generators,
        committed,
        data,
        context,
        layout: &layout,
    }
    .run(&witness, &Honest, progress)
}

fn check_commitment(
    generators: &Generators,
    committed: &CommittedModel,
    layout: &Layout,
    context: &Context,
) -> Result<(), ProveError> {
    let k = committed.commitment().k();
    if k != layout.k() {
        return Err(ProveError::Samples {
            committed: committed.samples(),
            k,
            samples: layout.samples(),
        });
    }
    if generators.k() != k {
        return Err(ProveError::Generators {
            found: generators.k(),
            expected: k,
        });
    }
    if context.competitor != committed.owner() {
        return Err(ProveError::Owner {
            owner: committed.owner(),
            competitor: context.competitor,
        });
    }
    Ok(())
}

/// Where a dishonest prover departs from the protocol. The prover below is one and the same for both, so that the
/// soundness tests attack exactly what is shipped.
pub(crate) trait Strategy: Sync {
    /// The score to claim.
    fn claim(&self, counted: usize) -> usize {
        counted
    }

    /// Edits all columns once the challenges are known.
    fn edit(&self, _: &mut Vec<Vec<Scalar>>, _: &Challenges, _: &Instance) {}

    /// Whether to go on when the proof's columns are not the prepared ones.
    fn ignores_replay(&self) -> bool {
        false
    }

    /// Bytes appended to the circuit's proof.
    fn trailing(&self) -> &[u8] {
        &[]
    }
}

/// Follows the protocol.
pub(crate) struct Honest;

impl Strategy for Honest {}

/// One proof in the making.
pub(crate) struct Attempt<'a> {
    pub(crate) generators: &'a Generators,
    pub(crate) committed: &'a CommittedModel,
    pub(crate) data: &'a Dataset,
    pub(crate) context: &'a Context,
    pub(crate) layout: &'a Layout,
}

/// The values that hide the columns: what halo2 will put on the unusable rows, and the blinds, last.
struct Blinding {
    rng: ChaCha20Rng,
    secrets: Vec<[Scalar; SECRETS]>,
}

impl Blinding {
    /// halo2 draws all columns' unusable rows first, then one blind a column.
    fn replay(rng: ChaCha20Rng, columns: usize) -> Self {
        let mut replayed = rng.clone();
        let mut secrets = vec![[Scalar::ZERO; SECRETS]; columns];
        for secret in &mut secrets {
            for cell in &mut secret[..UNUSABLE_ROWS] {
                *cell = Scalar::random(&mut replayed);
            }
        }
        for secret in &mut secrets {
            secret[UNUSABLE_ROWS] = Scalar::random(&mut replayed);
        }
        Self { rng, secrets }
    }
}

impl Attempt<'_> {
    pub(crate) fn run(
        &self,
        witness: &Witness,
        strategy: &dyn Strategy,
        progress: &dyn Progress,
    ) -> Result<Submission, ProveError> {
        let Self {
            generators,
            committed,
            data,
            context,
            layout,
        } = *self;
        let correct = strategy.claim(witness.correct);
        progress.begin(Stage::Keys);
        let key = CircuitKey::of(generators, layout)?;
        progress.begin(Stage::Commit);
        let blinding = Blinding::replay(self.rng()?, layout.advice_columns());
        let prepared = self.commit_cells(witness, &blinding);
        let statement = Statement {
            version: FORMAT_VERSION,
            generators: generators.digest(),
            verifying_key: &key.fingerprint,
            layout,
            context,
            model: committed.digest(),
            data: data.digest(),
            samples: data.samples(),
            features: data.width(),
            correct,
            weight_commitments: committed.commitment().points(),
            column_commitments: &prepared,
        };
        let seed = statement.seed();
        let challenges = Challenges::new(&seed);
        let coefficients = Coefficients::new(layout, &challenges);
        let instance = Instance::new(layout, &challenges, &coefficients, data, correct);
        let mut cells = columns::all(
            layout,
            &challenges,
            &coefficients,
            &instance,
            committed.model(),
            witness,
        );
        strategy.edit(&mut cells, &challenges, &instance);
        progress.begin(Stage::Circuit);
        let mut circuit_proof = self.prove_circuit(key, &cells, &instance, blinding.rng, &seed)?;
        circuit_proof.extend_from_slice(strategy.trailing());
        let columns =
            Submission::column_commitments(&circuit_proof, layout).ok_or(ProveError::Replay)?;
        if columns[..prepared.len()] != prepared && !strategy.ignores_replay() {
            return Err(ProveError::Replay);
        }
        progress.begin(Stage::Link);
        let transcript = LinkTranscript {
            seed: &seed,
            circuit_proof: &circuit_proof,
        };
        let weights = committed.commitment().points();
        let link = Links::new(layout, &coefficients).prove(
            generators,
            transcript,
            &columns,
            weights,
            &blinding.secrets,
            committed.blinds(),
        )?;
        Ok(Submission {
            commitment: committed.commitment().clone(),
            samples: data.samples() as u32,
            features: data.width() as u32,
            correct: correct as u32,
            circuit_proof,
            link,
        })
    }

    /// Fresh for every attempt: two proofs from one seed would give away differences of their columns.
    fn rng(&self) -> Result<ChaCha20Rng, RandomnessError> {
        let secrets = [
            self.committed.to_bytes(),
            self.context.to_bytes(),
            self.data.digest().to_bytes(),
        ];
        let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
        Ok(ChaCha20Rng::from_seed(fresh_seed("proof", &secrets)?))
    }

    fn commit_cells(&self, witness: &Witness, blinding: &Blinding) -> Vec<Point> {
        let cells = witness.columns();
        msm::points_of(cells.len(), |index| {
            let (tail, blind) = blinding.secrets[index].split_at(UNUSABLE_ROWS);
            let values = cells[index].iter().map(|cell| i64::from(*cell));
            self.generators.commit_small(values, tail, blind[0])
        })
    }

    fn prove_circuit(
        &self,
        key: CircuitKey,
        cells: &[Vec<Scalar>],
        instance: &Instance,
        rng: ChaCha20Rng,
        seed: &Seed,
    ) -> Result<Vec<u8>, ProveError> {
        let key = key.proving_key(self.generators, self.layout)?;
        let mut transcript = Blake2bWrite::<_, Point, Challenge255<Point>>::init(Vec::new());
        absorb_seed(&mut transcript, seed)?;
        let circuit = ScoreCircuit::new(self.layout, cells);
        let instance = instance.columns();
        with_layout(self.layout, || {
            let params = self.generators.params();
            create_proof(params, &key, &[circuit], &[&instance], rng, &mut transcript)
        })
        .map_err(Halo2Error::from)??;
        Ok(transcript.finalize())
    }
}

/// Starts halo2's own transcript from the statement's, as one scalar of it.
pub(crate) fn absorb_seed<T: Transcript<Point, Challenge255<Point>>>(
    transcript: &mut T,
    seed: &Seed,
) -> Result<(), Halo2Error> {
    transcript.common_scalar(derive(seed, "circuit", &[]))?;
    Ok(())
}
