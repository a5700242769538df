//! Random steps of a history, sensible and not: what somebody tries, and the transaction that tries it.

use std::ops::Range;

use agon_protocol::competition::{BlobRef, CompetitionSpec};
use agon_protocol::digest::{BlobId, CompetitionId, NetworkId, RegistrationId};
use agon_protocol::genesis::Genesis;
use agon_protocol::governance::Measure;
use agon_protocol::identity::Signature;
use agon_protocol::judge::Question;
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::Task;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::{admit, possession_bytes};
use agon_protocol::units::{Amount, Height, TimeMs};
use proptest::prelude::*;

use crate::world::{BOND, PRIZE, Who, World, data_key, honest_proof, model, spec};

pub(crate) const PEOPLE: [Who; 5] = [Who::Host, Who::Alice, Who::Bob, Who::Carol, Who::Pauper];

/// Who is a validator, or may become one.
const KEYS: [Who; 4] = [Who::Validator, Who::Alice, Who::Bob, Who::Pauper];

/// Of a proof whose blob has not arrived.
const MISSING_SCORE: u32 = 77;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Transfer {
        from: usize,
        to: usize,
        amount: u64,
        damage: u8,
    },
    Open {
        host: usize,
        windows: [u64; 4],
        deposit: u64,
        payouts: usize,
        metric: usize,
        flaw: u8,
    },
    Cancel {
        who: usize,
        competition: usize,
    },
    Register {
        who: usize,
        competition: usize,
        model: u8,
    },
    Withdraw {
        who: usize,
        registration: usize,
    },
    Release {
        who: usize,
        competition: usize,
        right: bool,
    },
    Submit {
        who: usize,
        registration: usize,
        score: u32,
        honest: bool,
    },
    Approve {
        who: usize,
        set: usize,
        power: u64,
        stale: bool,
    },
    Upgrade {
        who: usize,
        version: u16,
        height: u64,
    },
    Rotate {
        who: usize,
        to: usize,
        held: bool,
    },
    Replay {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, any) = (0..PEOPLE.len(), 0..6usize);
    let opened = (
        0..2usize,
        prop::array::uniform4(1_500..7_000u64),
        9..2_000u64,
        (0..4usize, 0..METRICS.len(), 0..40u8),
    );
    prop_oneof![
        1 => (who.clone(), who.clone(), 0..900_000u64, 0..12u8)
            .prop_map(|(from, to, amount, damage)| Step::Transfer { from, to, amount, damage }),
        2 => opened.prop_map(|(host, windows, deposit, (payouts, metric, flaw))| {
            Step::Open { host, windows, deposit, payouts, metric, flaw }
        }),
        1 => (who.clone(), any.clone()).prop_map(|(who, competition)| Step::Cancel { who, competition }),
        9 => (who.clone(), any.clone(), 0..12u8)
            .prop_map(|(who, competition, model)| Step::Register { who, competition, model }),
        1 => (who.clone(), 0..20usize).prop_map(|(who, registration)| Step::Withdraw { who, registration }),
        4 => (0..2usize, any, prop::bool::weighted(0.9))
            .prop_map(|(who, competition, right)| Step::Release { who, competition, right }),
        14 => (who, 0..20usize, 40..=501u32, prop::bool::weighted(0.8))
            .prop_map(|(who, registration, score, honest)| Step::Submit { who, registration, score, honest }),
        3 => (0..KEYS.len(), 0..KEYS.len(), 0..30u64, prop::bool::weighted(0.1))
            .prop_map(|(who, set, power, stale)| Step::Approve { who, set, power: power / 3, stale }),
        1 => (0..KEYS.len(), 1..4u16, 10_000..10_003u64)
            .prop_map(|(who, version, height)| Step::Upgrade { who, version, height }),
        1 => (0..KEYS.len(), 0..KEYS.len(), prop::bool::weighted(0.9))
            .prop_map(|(who, to, held)| Step::Rotate { who, to, held }),
        1 => (0..100usize).prop_map(|which| Step::Replay { which }),
    ]
}

/// So many blocks: how long after the one before, and what is tried.
pub(crate) fn blocks(count: Range<usize>) -> impl Strategy<Value = Vec<(u64, Vec<Step>)>> {
    prop::collection::vec((1..1_500u64, prop::collection::vec(step(), 0..6)), count)
}

/// A world in which some blobs are missing and some do not hold what they should.
pub(crate) fn world(genesis: Genesis) -> World {
    let mut world = World::on(genesis);
    world.judge.rotten.insert(BlobId::of(b"rotten"));
    let missing = BlobId::of(&MISSING_SCORE.to_le_bytes());
    let sealed = BlobId::of(b"missing");
    world.judge.missing.extend([missing, sealed]);
    world
}

/// One of the last `few`: the earlier ones have mostly ended.
fn pick<T: Copy>(all: &[T], few: usize, index: usize) -> Option<T> {
    let latest = &all[all.len().saturating_sub(few)..];
    latest.get(index % latest.len().max(1)).copied()
}

#[derive(Default)]
pub(crate) struct Known {
    pub(crate) competitions: Vec<CompetitionId>,
    pub(crate) registrations: Vec<RegistrationId>,
    pub(crate) sent: Vec<SignedTransaction>,
}

const METRICS: [Metric; 8] = [
    Metric::Accuracy,
    Metric::TopK { k: 2 },
    Metric::BalancedAccuracy,
    Metric::MacroF1,
    Metric::Mse,
    Metric::Rmse,
    Metric::Mae,
    Metric::R2,
];

fn terms(time: u64, windows: [u64; 4], deposit: u64, payouts: usize) -> CompetitionSpec {
    let mut spec = spec();
    let [opens, register, key, prove] = windows;
    spec.opens_at = TimeMs::new(time + opens);
    spec.register_until = TimeMs::new(time + opens + register);
    spec.key_until = TimeMs::new(time + opens + register + key);
    spec.prove_until = TimeMs::new(time + opens + register + key + prove);
    spec.deposit = Amount::new(deposit);
    let tables: [&[u16]; 4] = [
        &[10_000],
        &[7_000, 2_000, 1_000],
        &[3_334, 3_333, 3_333],
        &[9_999],
    ];
    spec.payouts = tables[payouts].to_vec();
    spec
}

fn score_by(spec: &mut CompetitionSpec, metric: Metric) {
    spec.metric = metric;
    if metric.is_of_classes() {
        spec.task = Task::Classification { classes: 3 };
        return;
    }
    spec.task = Task::Regression { exponent: -10 };
    spec.minimum = Threshold::AtMost { sum: 450_000 };
}

/// Breaks a rule on terms or stakes for the lower numbers, and leaves them as they are for the others.
fn spoil(spec: &mut CompetitionSpec, flaw: u8) -> (u64, u64) {
    let mut stakes = (PRIZE, BOND);
    match flaw {
        0 => spec.title.clear(),
        1 => spec.title.push('\u{85}'),
        2 => spec.encoding.features.clear(),
        3 => spec.samples = 99,
        4 => spec.max_parameters = 0,
        5 => spec.metric = Metric::TopK { k: 3 },
        6 => {
            let millionths = 1_000_001;
            spec.minimum = Threshold::AtLeast { millionths };
        }
        7 => spec.sealed_data.length = 0,
        8 => spec.training_data = Some(spec.sealed_data),
        9 => spec.register_until = spec.opens_at.saturating_add(1_999),
        10 => spec.prove_until = spec.prove_until.saturating_add(100_000),
        11 => spec.payouts = vec![1_000, 9_000],
        12 => spec.submissions_per_registration = 0,
        13 => spec.registrations_per_account = 0,
        14 => spec.deposit = Amount::new(9),
        15 => stakes.1 = 99,
        16 => stakes.0 = 0,
        17 => stakes.0 = u64::MAX,
        18 => spec.sealed_data.id = BlobId::of(b"rotten"),
        19 => spec.sealed_data.id = BlobId::of(b"missing"),
        20 => spec.description.push('\r'),
        21 => spec.training_data = None,
        _ => {}
    }
    stakes
}

/// What a model shows that is right about `score` of 500 samples; of more than there are, what no model can show.
fn tally(spec: &CompetitionSpec, score: u32) -> Tally {
    let (hits, samples) = (u128::from(score), u128::from(spec.samples));
    let missed = 1_000 * samples.saturating_sub(hits);
    let numbers = match spec.metric {
        Metric::Accuracy | Metric::TopK { .. } => vec![hits],
        Metric::BalancedAccuracy | Metric::MacroF1 => confusion(hits),
        Metric::Mse | Metric::Rmse | Metric::Mae if hits > samples => vec![0, 0],
        Metric::Mse | Metric::Rmse | Metric::Mae => vec![missed],
        Metric::R2 if hits > samples => vec![0],
        Metric::R2 => vec![missed, 1 << 60],
    };
    Tally::new(numbers).unwrap()
}

/// Counts of three classes of 200, 200 and 100 samples; a missed sample is taken for one of the next class.
fn confusion(hits: u128) -> Vec<u128> {
    let first = (hits * 2 / 5).min(200);
    let second = (hits - first).min(200);
    let found = [first, second, hits - first - second];
    let missed = [200 - first, 200 - second, 100u128.saturating_sub(found[2])];
    let class = |index: usize| [found[index], missed[(index + 2) % 3], missed[index]];
    (0..3).flat_map(class).collect()
}

/// Makes a transaction invalid before its action is looked at.
fn damaged(world: &World, who: Who, action: Action, damage: u8) -> SignedTransaction {
    let mut transaction = world.transaction(who, action);
    match damage {
        0 => transaction.network = NetworkId::of(b"another"),
        1 => return transaction.sign(&Who::Validator.key()),
        2 => transaction.nonce += 1,
        3 => transaction.nonce += 65,
        4 => transaction.nonce = transaction.nonce.wrapping_sub(1),
        _ => {}
    }
    transaction.sign(&who.key())
}

/// The transaction of a step, sensible or not; none when there is nothing to name.
pub(crate) fn transaction(
    world: &World,
    known: &Known,
    step: &Step,
    time: u64,
) -> Option<SignedTransaction> {
    let (who, action) = match *step {
        Step::Transfer {
            from,
            to,
            amount,
            damage,
        } => {
            let (to, amount) = (PEOPLE[to].account(), Amount::new(amount));
            let action = Action::Transfer { to, amount };
            return Some(damaged(world, PEOPLE[from], action, damage));
        }
        Step::Open {
            host,
            windows,
            deposit,
            payouts,
            metric,
            flaw,
        } => {
            let mut spec = terms(time, windows, deposit, payouts);
            score_by(&mut spec, METRICS[metric]);
            let (prize, bond) = spoil(&mut spec, flaw);
            let (spec, prize, bond) = (Box::new(spec), Amount::new(prize), Amount::new(bond));
            (host, Action::OpenCompetition { spec, prize, bond })
        }
        Step::Cancel { who, competition } => {
            let competition = pick(&known.competitions, 3, competition)?;
            (who, Action::CancelCompetition { competition })
        }
        Step::Register {
            who,
            competition,
            model: name,
        } => {
            let competition = pick(&known.competitions, 3, competition)?;
            let model = model(&name.to_string());
            (who, Action::Register { competition, model })
        }
        Step::Withdraw { who, registration } => {
            let registration = pick(&known.registrations, 8, registration)?;
            (who, Action::Withdraw { registration })
        }
        Step::Release {
            who,
            competition,
            right,
        } => {
            let competition = pick(&known.competitions, 3, competition)?;
            let wrong = DataKey::from_raw([1; 32]);
            let key = if right { data_key() } else { wrong };
            (who, Action::ReleaseKey { competition, key })
        }
        Step::Submit {
            who,
            registration,
            score,
            honest,
        } => {
            let registration = pick(&known.registrations, 8, registration)?;
            return submission(world, (who, honest), registration, score, time);
        }
        Step::Approve {
            who,
            set,
            power,
            stale,
        } => {
            let (account, set_version) =
                (KEYS[set].account(), world.state.governance().set_version);
            let measure = Measure::SetPower { account, power };
            let set_version = set_version + u64::from(stale);
            let action = Action::Approve {
                measure,
                set_version,
            };
            return Some(world.sign(KEYS[who], action));
        }
        Step::Upgrade {
            who,
            version,
            height,
        } => {
            // far above every height that a history reaches
            let height = Height::new(height);
            let measure = Measure::Upgrade { version, height };
            let set_version = world.state.governance().set_version;
            let action = Action::Approve {
                measure,
                set_version,
            };
            return Some(world.sign(KEYS[who], action));
        }
        Step::Rotate { who, to, held } => {
            let message = possession_bytes(&world.state.network(), &KEYS[who].account());
            let holder = if held { KEYS[to] } else { Who::Carol };
            let action = Action::RotateKey {
                to: KEYS[to].account(),
                possession: Signature::sign(&holder.key(), &message),
            };
            return Some(world.sign(KEYS[who], action));
        }
        Step::Replay { which } => return known.sent.get(which % known.sent.len().max(1)).cloned(),
    };
    Some(world.sign(PEOPLE[who], action))
}

/// A proof: of the owner and true of the claim, or of anybody and of nothing.
fn submission(
    world: &World,
    (who, honest): (usize, bool),
    registration: RegistrationId,
    score: u32,
    time: u64,
) -> Option<SignedTransaction> {
    let found = world.state.registration(&registration);
    let owner = found.and_then(|found| {
        let owner = |who: &Who| who.account() == found.competitor;
        PEOPLE.iter().position(owner)
    });
    let who = PEOPLE[if honest { owner? } else { who }];
    let competition = found.and_then(|found| world.state.competition(&found.competition));
    let tally = match competition {
        Some(competition) => tally(&competition.spec, score),
        None => Tally::of_hits(score),
    };
    let proof = BlobRef {
        id: BlobId::of(&score.to_le_bytes()),
        // one in some hundred is too short
        length: u64::from(score % 300),
    };
    let submit = |proof| {
        let tally = tally.clone();
        let action = Action::SubmitProof {
            registration,
            tally,
            proof,
        };
        world.sign(who, action)
    };
    let draft = submit(BlobRef { length: 1, ..proof });
    let admitted = admit(&world.state, &draft, TimeMs::new(time));
    match admitted.map(|admitted| admitted.question) {
        Ok(Some(Question::Proof(claim))) if honest => Some(submit(honest_proof(&claim))),
        _ => Some(submit(proof)),
    }
}
