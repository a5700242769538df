//! A small competition to attack: a model, a test set, generators and a verifier.

use std::path::PathBuf;
use std::sync::OnceLock;

use agon_protocol::codec::Encode;
use agon_protocol::digest::{CompetitionId, NetworkId, RegistrationId};
use agon_protocol::identity::AccountId;
use agon_protocol::statement::{Architecture, Context, Dataset, FeatureEncoding, InputEncoding};

use crate::challenge::Challenges;
use crate::commitment::CommittedModel;
use crate::field::{Scalar, from_signed};
use crate::generators::{GeneratorCache, Generators};
use crate::layout::Layout;
use crate::model::integer::{IntegerLayer, IntegerModel};
use crate::prover::{Attempt, Honest, ProveError, Stage, Strategy};
use crate::public::Instance;
use crate::submission::Submission;
use crate::verifier::{Expected, Rejection, Verified, Verifier, VerifyError};
use crate::witness::Witness;

pub(super) const INPUTS: usize = 12;
pub(super) const CLASSES: usize = 4;
pub(super) const SAMPLES: usize = 101;
pub(super) const MAX_INPUT: u16 = 15;
pub(super) const SHIFT: u8 = 6;

/// A generator of test values: xorshift64*, seeded by the test.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    fn around_zero(&mut self, bound: u64) -> i64 {
        self.below(2 * bound + 1) as i64 - bound as i64
    }
}

pub(super) fn folder() -> PathBuf {
    std::env::temp_dir().join("agon-test-generators")
}

pub(super) fn generators(k: u32) -> Generators {
    static CACHE: OnceLock<GeneratorCache> = OnceLock::new();
    CACHE
        .get_or_init(|| GeneratorCache::new(folder()))
        .get(k)
        .unwrap()
}

pub(super) fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| Verifier::new(folder()))
}

pub(super) fn context() -> Context {
    Context {
        network: NetworkId::of(b"network"),
        competition: CompetitionId::of(b"competition"),
        registration: RegistrationId::of(b"registration"),
        competitor: AccountId::from_raw([7; 32]),
        nonce: 3,
    }
}

pub(super) fn encoding(inputs: usize, max: u16) -> InputEncoding {
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max,
    };
    InputEncoding {
        features: vec![feature; inputs],
    }
}

/// A model whose weights are as large as its bounds allow.
pub(super) fn random_model(architecture: &Architecture, max_input: u16, seed: u64) -> IntegerModel {
    let mut numbers = Numbers(seed);
    let shift = architecture.shift();
    let mut largest = i64::from(max_input);
    let mut layers = Vec::new();
    for (inputs, outputs) in architecture.layers() {
        let room = (1i64 << (2 * shift - 1)) / 2;
        let weight = (room / (inputs as i64 * largest.max(1))).max(1) as u64;
        layers.push(IntegerLayer {
            weights: (0..inputs * outputs)
                .map(|_| numbers.around_zero(weight) as i32)
                .collect(),
            biases: (0..outputs)
                .map(|_| numbers.around_zero(room as u64 / 4))
                .collect(),
        });
        largest = (1 << shift) / 2;
    }
    IntegerModel::new(
        architecture.clone(),
        layers,
        &encoding(architecture.inputs(), max_input),
    )
    .unwrap()
}

/// Random inputs; four of five labels are the model's own predictions.
pub(super) fn random_data(
    model: &IntegerModel,
    max_input: u16,
    samples: usize,
    seed: u64,
) -> Dataset {
    let mut numbers = Numbers(seed);
    let (width, classes) = (
        model.architecture().inputs(),
        model.architecture().classes(),
    );
    let inputs: Vec<u16> = (0..samples * width)
        .map(|_| numbers.below(u64::from(max_input) + 1) as u16)
        .collect();
    let label = |sample: usize| {
        let prediction = model.predict(&inputs[sample * width..][..width]);
        ((prediction + usize::from(sample.is_multiple_of(5))) % classes) as u16
    };
    let labels = (0..samples).map(label).collect();
    Dataset::new(width, classes, inputs, labels).unwrap()
}

pub(super) struct Scene {
    pub(super) layout: Layout,
    pub(super) generators: Generators,
    pub(super) committed: CommittedModel,
    pub(super) data: Dataset,
    pub(super) context: Context,
}

impl Scene {
    pub(super) fn new(hidden: &[u32]) -> Self {
        let architecture =
            Architecture::new(INPUTS as u32, hidden.to_vec(), CLASSES as u32, SHIFT).unwrap();
        let model = random_model(&architecture, MAX_INPUT, 1);
        let data = random_data(&model, MAX_INPUT, SAMPLES, 2);
        Self::with(model, data)
    }

    pub(super) fn with(model: IntegerModel, data: Dataset) -> Self {
        let layout = Layout::choose(model.architecture(), data.samples()).unwrap();
        let generators = generators(layout.k());
        let context = context();
        let committed =
            CommittedModel::new(&generators, model, data.samples(), context.competitor).unwrap();
        Self {
            layout,
            generators,
            committed,
            data,
            context,
        }
    }

    pub(super) fn witness(&self) -> Witness {
        Witness::new(&self.layout, self.committed.model(), &self.data)
    }

    pub(super) fn prove_with(
        &self,
        witness: &Witness,
        strategy: &dyn Strategy,
    ) -> Result<Submission, ProveError> {
        let Self {
            layout,
            generators,
            committed,
            data,
            context,
        } = self;
        Attempt {
            generators,
            committed,
            data,
            context,
            layout,
        }
        .run(witness, strategy, &|_: Stage| {})
    }

    pub(super) fn prove(&self) -> Submission {
        self.prove_with(&self.witness(), &Honest).unwrap()
    }

    pub(super) fn expected(&self) -> Expected<'_> {
        Expected {
            context: &self.context,
            model: Some(self.committed.digest()),
            max_parameters: u64::MAX,
            correct: None,
        }
    }

    pub(super) fn verify(&self, submission: &Submission) -> Result<Verified, Rejection> {
        self.verify_bytes(&submission.to_bytes())
    }

    pub(super) fn verify_bytes(&self, bytes: &[u8]) -> Result<Verified, Rejection> {
        rejection(verifier().verify(bytes, &self.data, &self.expected()))
    }

    /// What an honest committer's vectors look like, to be edited by an attack.
    pub(super) fn weight_vectors(&self) -> Vec<Vec<Scalar>> {
        let model = self.committed.model();
        let mut vectors = Vec::new();
        for (layer, (inputs, outputs)) in
            self.layout.architecture().layers().into_iter().enumerate()
        {
            let content = &model.layers()[layer];
            for output in 0..outputs {
                let mut vector = vec![Scalar::from(0); self.layout.usable_rows()];
                for input in 0..inputs {
                    let weight = content.weights[output * inputs + input];
                    vector[self.layout.weight_row(layer, input)] = from_signed(i64::from(weight));
                }
                vector[self.layout.bias_row(layer)] = from_signed(content.biases[output]);
                vectors.push(vector);
            }
        }
        vectors
    }
}

pub(super) fn rejection(verdict: Result<Verified, VerifyError>) -> Result<Verified, Rejection> {
    verdict.map_err(|error| match error {
        VerifyError::Rejected(rejection) => rejection,
        other => panic!("no verdict: {other}"),
    })
}

/// A dishonest prover: each part can be replaced.
pub(super) struct Cheat<'a> {
    /// Added to the score.
    pub(super) claims_more: usize,
    /// Edits the columns after the challenges.
    #[allow(clippy::type_complexity)]
    pub(super) edit: Box<dyn Fn(&mut Vec<Vec<Scalar>>, &Challenges, &Instance) + Sync + 'a>,
    /// Appended to the circuit's proof.
    pub(super) trailing: Vec<u8>,
}

impl<'a> Cheat<'a> {
    pub(super) fn claiming(more: usize) -> Self {
        Self {
            claims_more: more,
            edit: Box::new(|_, _, _| {}),
            trailing: Vec::new(),
        }
    }

    pub(super) fn editing(
        edit: impl Fn(&mut Vec<Vec<Scalar>>, &Challenges, &Instance) + Sync + 'a,
    ) -> Self {
        Self {
            edit: Box::new(edit),
            ..Self::claiming(0)
        }
    }
}

impl Strategy for Cheat<'_> {
    fn claim(&self, counted: usize) -> usize {
        counted + self.claims_more
    }

    fn edit(&self, cells: &mut Vec<Vec<Scalar>>, challenges: &Challenges, instance: &Instance) {
        (self.edit)(cells, challenges, instance);
    }

    fn ignores_replay(&self) -> bool {
        true
    }

    fn trailing(&self) -> &[u8] {
        &self.trailing
    }
}
