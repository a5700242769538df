//! `vectors/scoring.json`: ranks and prizes.

use agon_protocol::competition::Position;
use agon_protocol::digest::RegistrationId;
use agon_protocol::identity::AccountId;
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::scorer::{Entry, Rank, Scoring, rank};
use agon_protocol::units::{Amount, Height};
use serde::{Deserialize, Serialize};

use super::pinned;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    metric: Metric,
    samples: u32,
    entries: Vec<Entry>,
    /// Of each entry, as decimal text.
    points: Vec<String>,
    minimum: Threshold,
    prize: Amount,
    payouts: Vec<u16>,
    ranks: Vec<Rank>,
}

fn entry(name: u8, height: u64, index: u32, hits: u32) -> Entry {
    shown(name, height, index, &[u128::from(hits)])
}

fn shown(name: u8, height: u64, index: u32, numbers: &[u128]) -> Entry {
    Entry {
        registration: RegistrationId::from_raw([name; 32]),
        competitor: AccountId::from_raw([0xf0 | (name & 3); 32]),
        registered: Position {
            height: Height::new(height),
            index,
        },
        tally: Tally::new(numbers.to_vec()).unwrap(),
    }
}

fn case(name: &str, entries: Vec<Entry>, least_hits: u32, prize: u64, payouts: &[u16]) -> Case {
    // of 100 samples, one is 10,000 millionths
    let millionths = 10_000 * least_hits;
    let minimum = Threshold::AtLeast { millionths };
    scored(
        name,
        (Metric::Accuracy, 100),
        entries,
        minimum,
        prize,
        payouts,
    )
}

fn scored(
    name: &str,
    (metric, samples): (Metric, u32),
    entries: Vec<Entry>,
    minimum: Threshold,
    prize: u64,
    payouts: &[u16],
) -> Case {
    let prize = Amount::new(prize);
    let scoring = Scoring {
        metric,
        minimum,
        samples,
        prize,
        payouts,
    };
    let points = entries.iter().map(|entry| metric.points(&entry.tally));
    Case {
        name: name.to_owned(),
        metric,
        samples,
        points: points.map(|points| points.to_string()).collect(),
        ranks: rank(entries.clone(), &scoring),
        entries,
        minimum,
        prize,
        payouts: payouts.to_vec(),
    }
}

/// Cases of every other metric than accuracy.
fn metrics() -> Vec<Case> {
    let (halves, of_values) = ([5_000, 5_000], |numbers: [[u128; 2]; 3], count: usize| {
        let entries = (0..3u8).zip(&numbers);
        entries
            .map(|(name, numbers)| shown(name + 1, 5, u32::from(name), &numbers[..count]))
            .collect::<Vec<_>>()
    });
    // class sizes 50, 30 and 20, and one without samples
    let confusions = || {
        vec![
            shown(1, 5, 0, &[50, 9, 0, 21, 0, 9, 20, 0, 0, 0, 0, 0]),
            shown(2, 5, 1, &[40, 0, 10, 30, 0, 0, 20, 0, 0, 0, 10, 0]),
            shown(3, 5, 2, &[50, 50, 0, 0, 0, 30, 0, 0, 20, 0, 0, 0]),
        ]
    };
    let least = |millionths| Threshold::AtLeast { millionths };
    vec![
        scored(
            "top-k counts hits",
            (Metric::TopK { k: 3 }, 100),
            vec![entry(1, 5, 0, 97), entry(2, 5, 1, 98), entry(3, 5, 2, 90)],
            least(900_000),
            1_000,
            &halves,
        ),
        scored(
            "balanced accuracy weighs classes alike and leaves out one without samples",
            (Metric::BalancedAccuracy, 100),
            confusions(),
            least(333_333),
            1_000,
            &halves,
        ),
        scored(
            "a mean of a third is not quite 333,334 millionths",
            (Metric::BalancedAccuracy, 100),
            confusions(),
            least(333_334),
            1_000,
            &halves,
        ),
        scored(
            "a mean of nine tenths, rounded down, still reaches nine tenths",
            (Metric::BalancedAccuracy, 100),
            confusions(),
            least(900_000),
            1_000,
            &halves,
        ),
        scored(
            "macro F1 counts every class of the task, a guessed one without samples as 0",
            (Metric::MacroF1, 100),
            confusions(),
            least(500_000),
            1_000,
            &halves,
        ),
        scored(
            "the least sum of squared errors is first",
            (Metric::Mse, 100),
            of_values([[1 << 70, 0], [(1 << 70) - 1, 0], [(1 << 70) + 1, 0]], 1),
            Threshold::AtMost { sum: 1 << 70 },
            1_000,
            &halves,
        ),
        scored(
            "equal errors go to the earlier registration",
            (Metric::Rmse, 100),
            of_values([[12, 0], [0, 0], [12, 0]], 1),
            Threshold::None,
            1_000,
            &halves,
        ),
        scored(
            "the least sum of absolute errors is first",
            (Metric::Mae, 100),
            of_values([[12, 0], [10, 0], [11, 0]], 1),
            Threshold::AtMost { sum: 11 },
            1_000,
            &halves,
        ),
        scored(
            "the spread does not rank",
            (Metric::R2, 100),
            of_values([[12, 900], [10, 900], [11, 900]], 2),
            Threshold::None,
            1_000,
            &halves,
        ),
    ]
}

fn cases() -> Vec<Case> {
    let table = [7_000, 2_000, 1_000];
    vec![
        case("nobody", vec![], 0, 100, &[10_000]),
        case(
            "one takes the first share only",
            vec![entry(1, 5, 0, 90)],
            0,
            1_000,
            &table,
        ),
        case(
            "most correct first",
            vec![entry(1, 5, 0, 90), entry(2, 5, 1, 91), entry(3, 6, 0, 89)],
            0,
            1_000,
            &table,
        ),
        case(
            "ties by height before index before name",
            vec![
                entry(4, 7, 0, 90),
                entry(3, 6, 9, 90),
                entry(2, 6, 2, 90),
                entry(1, 6, 9, 90),
            ],
            0,
            1_000,
            &table,
        ),
        case(
            "shares are rounded down",
            vec![entry(1, 5, 0, 3), entry(2, 5, 1, 2), entry(3, 5, 2, 1)],
            0,
            100,
            &[3_334, 3_333, 3_333],
        ),
        case(
            "a prize of one",
            vec![entry(1, 5, 0, 3), entry(2, 5, 1, 2)],
            0,
            1,
            &[5_000, 5_000],
        ),
        case(
            "the largest prize",
            vec![entry(1, 5, 0, 3), entry(2, 5, 1, 2)],
            0,
            u64::MAX,
            &[9_999, 1],
        ),
        case(
            "the minimum is enough and one less is not",
            vec![entry(1, 5, 0, 50), entry(2, 5, 1, 49)],
            50,
            1_000,
            &[5_000, 5_000],
        ),
        case(
            "nothing correct ranks when nothing is asked",
            vec![entry(1, 5, 0, 0), entry(2, 5, 1, 0)],
            0,
            1_000,
            &[10_000],
        ),
    ]
    .into_iter()
    .chain(metrics())
    .collect()
}

#[test]
fn scoring_is_pinned() {
    for case in pinned("scoring.json", &cases()) {
        let Case {
            name,
            metric,
            samples,
            mut entries,
            points,
            minimum,
            prize,
            payouts,
            ranks,
        } = case;
        let scoring = Scoring {
            metric,
            minimum,
            samples,
            prize,
            payouts: &payouts,
        };
        for (entry, points) in entries.iter().zip(points) {
            assert_eq!(metric.points(&entry.tally).to_string(), points, "{name}");
        }
        // the order in which entries arrive does not matter
        for _ in 0..entries.len().max(1) {
            let found = rank(entries.clone(), &scoring);
            assert_eq!(found, ranks, "{name}");
            let by = usize::from(!entries.is_empty());
            entries.rotate_left(by);
        }
        let paid = Amount::checked_sum(ranks.iter().map(|rank| rank.amount)).unwrap();
        assert!(paid <= prize, "{name}");
    }
}
