//! Random models of every operation under every metric: executed, committed, proven, encoded, verified; and refused when
//! anything about them is changed.

use agon_protocol::codec::{Decode, DecodeError, Encode};
use agon_protocol::identity::AccountId;
use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::{Context, Dataset, FeatureEncoding, InputEncoding, Targets};

use crate::chunk::Chunk;
use crate::commitment::{CommitError, Commitment, CommittedModel};
use crate::generators::GeneratorCache;
use crate::graph::{Graph, Node, Op, Shape};
use crate::model::IntegerModel;
use crate::model::executor::random_graph::{Random, case};
use crate::prover::{JoinError, ProveError, Settings, Stage, join, prove, prove_chunk};
use crate::standalone_context;
use crate::submission::{ProvenChunk, Submission};
use crate::verifier::{Expected, Rejection, Verified, Verifier, VerifyError};

pub(crate) struct Scene {
    pub(crate) generators: GeneratorCache,
    pub(crate) verifier: Verifier,
    pub(crate) context: Context,
    pub(crate) committed: CommittedModel,
    pub(crate) data: Dataset,
    pub(crate) metric: Metric,
}

fn quiet(_: Stage, _: f64) {}

impl Scene {
    /// The model of a seed with `samples` samples, random answers, and a metric that fits.
    pub(crate) fn new(seed: u64, samples: usize) -> Self {
        let case = case(seed);
        let mut random = Random(seed ^ 0x5eed);
        let outputs = case.graph.outputs();
        let width = case.encoding.width();
        let inputs: Vec<u16> = (0..samples)
            .flat_map(|sample| case.inputs[sample % case.inputs.len()].clone())
            .collect();
        let metric = match outputs {
            1 => [Metric::Mse, Metric::Rmse, Metric::Mae, Metric::R2][seed as usize % 4],
            _ => [
                Metric::Accuracy,
                Metric::TopK {
                    k: outputs as u16 - 1,
                },
                Metric::BalancedAccuracy,
                Metric::MacroF1,
            ][seed as usize % 4],
        };
        let targets = match outputs {
            1 => Targets::Values {
                exponent: -3,
                values: (0..samples)
                    .map(|_| random.within(-200, 200) as i32)
                    .collect(),
            },
            _ => Targets::Classes {
                classes: outputs,
                labels: (0..samples)
                    .map(|_| random.within(0, outputs as i64 - 1) as u16)
                    .collect(),
            },
        };
        let folder = std::env::temp_dir().join("agon-test-generators");
        let generators = GeneratorCache::new(&folder);
        let context = standalone_context();
        let model = case.model();
        Self {
            committed: CommittedModel::new(&generators, model, context.competitor).unwrap(),
            data: Dataset::with_targets(width, inputs, targets).unwrap(),
            verifier: Verifier::new(folder),
            generators,
            context,
            metric,
        }
    }

    pub(crate) fn prove(&self) -> Submission {
        let settings = Settings::default();
        let Self {
            generators,
            committed,
            data,
            metric,
            context,
            ..
        } = self;
        prove(
            generators, committed, data, *metric, context, &settings, &quiet,
        )
        .unwrap()
    }

    pub(crate) fn chunk(&self, index: usize, count: usize) -> ProvenChunk {
        let chunk = Chunk::new(index, count).unwrap();
        let Self {
            generators,
            committed,
            data,
            metric,
            context,
            ..
        } = self;
        let proven = prove_chunk(generators, committed, data, *metric, context, chunk, &quiet);
        ProvenChunk::from_bytes(&proven.unwrap().to_bytes()).unwrap()
    }

    fn verify(&self, bytes: &[u8], tally: Option<&Tally>) -> Result<Verified, VerifyError> {
        let expected = Expected {
            context: &self.context,
            model: Some(self.committed.digest()),
            max_parameters: u64::MAX,
            metric: Some(self.metric),
            tally,
        };
        self.verifier.verify(bytes, &self.data, &expected)
    }

    /// The score, straight from the executor's results.
    fn tally(&self) -> Tally {
        let model = self.committed.model();
        let outputs = model.all_outputs(&self.data).unwrap();
        let values = |error: fn(i64) -> i64| -> u128 {
            let Targets::Values { values, .. } = self.data.targets() else {
                return 0;
            };
            let pairs = outputs.iter().zip(values);
            pairs
                .map(|(y, t)| error(y[0] - i64::from(*t)) as u128)
                .sum()
        };
        let rank = |sample: usize| {
            let (logits, label) = (&outputs[sample], self.data.label(sample));
            let ahead = (0..logits.len()).filter(|c| {
                logits[*c] > logits[label] || (logits[*c] == logits[label] && *c < label)
            });
            ahead.count()
        };
        let samples = self.data.samples();
        Tally::new(match self.metric {
            Metric::Accuracy => vec![(0..samples).filter(|s| rank(*s) == 0).count() as u128],
            Metric::TopK { k } => {
                vec![(0..samples).filter(|s| rank(*s) < usize::from(k)).count() as u128]
            }
            Metric::BalancedAccuracy | Metric::MacroF1 => {
                let predictions = model.predictions(&self.data).unwrap();
                let count = |wanted: &dyn Fn(usize, usize) -> bool| {
                    let pairs = predictions.iter().enumerate();
                    pairs
                        .filter(|(s, p)| wanted(**p, self.data.label(*s)))
                        .count() as u128
                };
                (0..self.data.classes())
                    .flat_map(|c| {
                        [
                            count(&|p, l| p == c && l == c),
                            count(&|p, l| p == c && l != c),
                            count(&|p, l| p != c && l == c),
                        ]
                    })
                    .collect()
            }
            Metric::Mse | Metric::Rmse => vec![values(|e| e * e)],
            Metric::Mae => vec![values(i64::abs)],
            Metric::R2 => vec![values(|e| e * e), self.data.summary().spread()],
        })
        .unwrap()
    }
}

/// Every operation and metric, at sample counts around powers of two.
#[test]
fn random_models_are_proven_and_verified() {
    for seed in 0..32 {
        let scene = Scene::new(seed, 1 + seed as usize % 9);
        let submission = scene.prove();
        let tally = scene.tally();
        assert_eq!(submission.tally(), &tally, "seed {seed}");
        let bytes = submission.to_bytes();
        assert_eq!(Submission::from_bytes(&bytes).unwrap(), submission);
        let verified = scene
            .verify(&bytes, Some(&tally))
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(verified.tally, tally);
        // a better and a worse score
        for change in [1i128, -1] {
            let mut other = submission.clone();
            let mut numbers = tally.numbers().to_vec();
            let Some(first) = numbers[0].checked_add_signed(change) else {
                continue;
            };
            numbers[0] = first;
            other.tally = Tally::new(numbers).unwrap();
            assert!(
                scene.verify(&other.to_bytes(), None).is_err(),
                "seed {seed} {change}"
            );
        }
    }
}

#[test]
fn chunks_add_up_and_hide_their_parts() {
    for seed in [1, 2, 4, 7] {
        let scene = Scene::new(seed, 7);
        let mut chunks: Vec<ProvenChunk> = (0..3).map(|index| scene.chunk(index, 3)).collect();
        chunks.rotate_left(1);
        let joined = join(chunks.clone(), &scene.data).unwrap();
        assert_eq!(joined.tally(), &scene.tally(), "seed {seed}");
        scene
            .verify(&joined.to_bytes(), Some(&scene.tally()))
            .unwrap();
        // one changed number of the total, another blind, parts in another order
        let refused = |edit: &dyn Fn(&mut Submission)| {
            let mut changed = joined.clone();
            edit(&mut changed);
            assert!(
                scene.verify(&changed.to_bytes(), None).is_err(),
                "seed {seed}"
            );
        };
        refused(&|s| s.tally_blind += crate::field::Scalar::from(1));
        refused(&|s| s.proofs.swap(0, 1));
        refused(&|s| s.proofs[1] = s.proofs[0].clone());
        refused(&|s| {
            s.proofs.pop();
        });
        // parts of two runs are about one statement and may be mixed
        chunks[0] = scene.chunk(chunks[0].chunk().index(), 3);
        let mixed = join(chunks.clone(), &scene.data).unwrap();
        scene.verify(&mixed.to_bytes(), None).unwrap();
        // but not with parts missing, doubled, or of another split
        let Err(JoinError::Missing { .. }) = join(chunks[..2].to_vec(), &scene.data) else {
            panic!("a missing chunk is not noticed");
        };
        let doubled = [&chunks[..], &chunks[..1]].concat();
        assert!(matches!(
            join(doubled, &scene.data),
            Err(JoinError::Twice { .. })
        ));
        let other = [&chunks[..2], &[scene.chunk(1, 2)]].concat();
        assert!(matches!(
            join(other, &scene.data),
            Err(JoinError::Mixed { .. })
        ));
        assert_eq!(join(Vec::new(), &scene.data), Err(JoinError::Nothing));
    }
}

#[test]
fn a_batch_finds_its_bad_proofs() {
    let scene = Scene::new(3, 5);
    let tally = scene.tally();
    let expected = Expected {
        context: &scene.context,
        model: Some(scene.committed.digest()),
        max_parameters: u64::MAX,
        metric: Some(scene.metric),
        tally: Some(&tally),
    };
    let good: Vec<Submission> = (0..2).map(|_| scene.prove()).collect();
    let mut bad = good[0].clone();
    let last = bad.proofs[0].messages.len() - 1;
    bad.proofs[0].messages[last] += crate::field::Scalar::from(1);
    let mut unopened = good[1].clone();
    unopened.proofs[0].inner.scalar += crate::field::Scalar::from(1);
    let all = [&good[0], &bad, &good[1], &unopened, &good[0]].map(Encode::to_bytes);
    let mut proofs: Vec<(&[u8], &Expected<'_>)> = all.iter().map(|b| (&b[..], &expected)).collect();
    proofs.push((b"AGONPROF and no more", &expected));
    let verdicts = scene.verifier.verify_all(&proofs, &scene.data);
    let valid: Vec<bool> = verdicts.iter().map(Result::is_ok).collect();
    assert_eq!(valid, [true, false, true, false, true, false]);
    assert!(scene.verifier.verify_all(&[], &scene.data).is_empty());
}

/// Everything that a proof is bound to, changed alone.
#[test]
fn proofs_are_bound_to_their_statement() {
    let scene = Scene::new(8, 6);
    let submission = scene.prove();
    let bytes = submission.to_bytes();
    scene.verify(&bytes, None).unwrap();
    let with = |context: &Context, data: &Dataset| {
        let expected = Expected {
            context,
            model: None,
            max_parameters: u64::MAX,
            metric: None,
            tally: None,
        };
        scene.verifier.verify(&bytes, data, &expected)
    };
    with(&scene.context, &scene.data).unwrap();
    let mut contexts = vec![scene.context; 5];
    contexts[0].nonce += 1;
    contexts[1].competitor = AccountId::from_raw([1; 32]);
    contexts[2].network = agon_protocol::digest::NetworkId::from_raw([1; 32]);
    contexts[3].competition = agon_protocol::digest::CompetitionId::from_raw([1; 32]);
    contexts[4].registration = agon_protocol::digest::RegistrationId::from_raw([1; 32]);
    for context in &contexts {
        assert!(matches!(
            with(context, &scene.data),
            Err(VerifyError::Rejected(Rejection::Proof))
        ));
    }
    let samples = scene.data.samples();
    let inputs = scene.data.inputs(0..samples).to_vec();
    let mut changed = inputs.clone();
    changed[0] ^= 1;
    let other = Dataset::with_targets(scene.data.width(), changed, scene.data.targets().clone());
    assert!(with(&scene.context, &other.unwrap()).is_err());
    // another salt, owner or graph is another model
    let digest = scene.committed.digest();
    let own = scene.committed.commitment().clone();
    let encoded = own.to_bytes();
    assert_eq!(Commitment::from_bytes(&encoded).unwrap(), own);
    assert_ne!(own.digest(AccountId::from_raw([1; 32])), digest);
    let restored = CommittedModel::from_bytes(&scene.committed.to_bytes()).unwrap();
    assert_eq!(restored.digest(), digest);
}

#[test]
fn what_does_not_fit_is_refused_before_proving() {
    let scene = Scene::new(8, 6);
    let Scene {
        generators,
        committed,
        data,
        metric,
        context,
        ..
    } = &scene;
    let settings = Settings {
        memory_bytes: 1 << 20,
    };
    let error = prove(
        generators, committed, data, *metric, context, &settings, &quiet,
    );
    let Err(ProveError::Memory { needed, limit }) = error else {
        panic!("a megabyte is enough?");
    };
    assert!(needed > limit);
    let stranger = Context {
        competitor: AccountId::from_raw([9; 32]),
        ..*context
    };
    let settings = Settings::default();
    let error = prove(
        generators, committed, data, *metric, &stranger, &settings, &quiet,
    );
    assert!(matches!(error, Err(ProveError::Owner { .. })));
    let wrong = match metric.is_of_classes() {
        true => Metric::Mse,
        false => Metric::Accuracy,
    };
    let error = prove(
        generators, committed, data, wrong, context, &settings, &quiet,
    );
    assert!(matches!(error, Err(ProveError::Metric { .. })));
    let chunk = Chunk::new(999, 1_000).unwrap();
    let empty = (0..1_000)
        .map(|index| Chunk::new(index, 1_000).unwrap())
        .find(|chunk| chunk.samples(6).is_empty())
        .unwrap_or(chunk);
    let error = prove_chunk(generators, committed, data, *metric, context, empty, &quiet);
    assert!(matches!(error, Err(ProveError::Empty { .. })));
}

/// Two limbs of 8 to 10 bits hold no error of 2^24 target steps.
#[test]
fn absolute_errors_beyond_two_limbs_are_refused_before_anything_is_committed() {
    let mut seeds = (0..200).filter(|seed| case(*seed).graph.outputs() == 1 && seed % 4 == 2);
    let mut scene = Scene::new(seeds.next().unwrap(), 4);
    assert_eq!(scene.metric, Metric::Mae);
    scene.prove();
    let Targets::Values { exponent, values } = scene.data.targets() else {
        panic!("a model with one output is a regressor");
    };
    let mut values = values.clone();
    values[2] = agon_protocol::limits::MAX_TARGET;
    let targets = Targets::Values {
        exponent: *exponent,
        values,
    };
    let inputs = scene.data.inputs(0..4).to_vec();
    scene.data = Dataset::with_targets(scene.data.width(), inputs, targets).unwrap();
    for chunk in [Chunk::WHOLE, Chunk::new(1, 2).unwrap()] {
        let proven = prove_chunk(
            &scene.generators,
            &scene.committed,
            &scene.data,
            Metric::Mae,
            &scene.context,
            chunk,
            &|stage: Stage, _: f64| assert_eq!(stage, Stage::Witness),
        );
        let Err(ProveError::AbsoluteError { sample, .. }) = proven else {
            panic!("{chunk}: {proven:?}");
        };
        assert_eq!(sample, 2);
    }
    // the remedy that the error names
    scene.metric = Metric::Mse;
    let submission = scene.prove();
    scene.verify(&submission.to_bytes(), None).unwrap();
}

/// A thousand additions without a rounding: no verifier would go through them, so nobody should register them.
#[test]
fn a_model_too_deep_to_verify_is_not_committed() {
    let bias = |node: usize| Op::Bias {
        input: node,
        bias: node,
    };
    let model = |depth: usize| {
        let rounding = Op::Requant {
            input: depth,
            shift: 0,
            offset: 0,
            low: -100,
            high: 100,
            saturates: false,
            table: None,
        };
        let ops = (0..depth).map(bias).chain([rounding]);
        let shape = Shape(vec![1]);
        let graph = Graph {
            range_bits: 8,
            nodes: std::iter::once(Op::Input)
                .chain(ops)
                .map(|op| Node {
                    op,
                    shape: shape.clone(),
                })
                .collect(),
            parameters: vec![shape.clone(); depth],
            tables: Vec::new(),
            output: depth + 1,
        };
        let feature = FeatureEncoding {
            exponent: 0,
            offset: 0,
            max: 1,
        };
        let encoding = InputEncoding {
            features: vec![feature],
        };
        IntegerModel::new(graph, vec![vec![0]; depth], &encoding).unwrap()
    };
    let generators = GeneratorCache::new(std::env::temp_dir().join("agon-test-generators"));
    let owner = standalone_context().competitor;
    // what is just shallow enough is proven and verified, on a thread with the stack of any other
    let targets = Targets::Values {
        exponent: 0,
        values: vec![3, -1],
    };
    let folder = std::env::temp_dir().join("agon-test-generators");
    let scene = Scene {
        committed: CommittedModel::new(&generators, model(510), owner).unwrap(),
        data: Dataset::with_targets(1, vec![0, 1], targets).unwrap(),
        verifier: Verifier::new(&folder),
        generators: GeneratorCache::new(folder),
        context: standalone_context(),
        metric: Metric::Mse,
    };
    let submission = scene.prove();
    assert_eq!(submission.tally().numbers(), [3 * 3 + 2 * 2]);
    scene.verify(&submission.to_bytes(), None).unwrap();
    assert!(matches!(
        CommittedModel::new(&generators, model(1_000), owner),
        Err(CommitError::Cost(_))
    ));
}

/// A submission is a blob, whose size the protocol limits.
#[test]
fn more_bytes_than_a_blob_holds_are_not_read() {
    let scene = Scene::new(8, 2);
    let mut bytes = scene.prove().to_bytes();
    bytes.resize(agon_protocol::limits::MAX_PROOF_BYTES as usize + 1, 0);
    let rejected = scene.verify(&bytes, None);
    assert!(matches!(
        rejected,
        Err(VerifyError::Rejected(Rejection::Encoding(
            DecodeError::TooLong { .. }
        )))
    ));
    // chunks that fit one by one may not fit together
    let mut chunks: Vec<ProvenChunk> = (0..2).map(|index| scene.chunk(index, 2)).collect();
    for chunk in &mut chunks {
        chunk
            .proof
            .messages
            .resize(1 << 14, crate::field::Scalar::from(1));
    }
    assert!(matches!(
        join(chunks, &scene.data),
        Err(JoinError::Bytes { chunks: 2, .. })
    ));
}
