//! MET: tallies against test sets, points against exact scores, minima.

use std::cmp::Ordering;

use agon_protocol::metric::{CLASS_POINTS, MILLION, Metric, Tally, TallyError, Threshold};
use agon_protocol::statement::{Dataset, DatasetSummary, TargetSummary, Targets, Task};
use num_bigint::BigUint;
use proptest::prelude::*;

fn tally(numbers: &[u128]) -> Tally {
    Tally::new(numbers.to_vec()).unwrap()
}

/// Three samples of class 0, two of class 1, none of class 2.
fn classes() -> DatasetSummary {
    Dataset::new(1, 3, vec![0; 5], vec![0, 1, 0, 1, 0])
        .unwrap()
        .summary()
}

/// Targets -1, 2 and 4: the sum is 5, the sum of squares 21.
fn values() -> DatasetSummary {
    let targets = Targets::Values {
        exponent: -1,
        values: vec![-1, 2, 4],
    };
    Dataset::with_targets(1, vec![0; 3], targets)
        .unwrap()
        .summary()
}

#[test]
fn a_summary_counts_classes_and_adds_values() {
    let counts = vec![3, 2, 0];
    assert_eq!(classes().targets, TargetSummary::Classes { counts });
    assert_eq!(classes().task(), Task::Classification { classes: 3 });
    let (exponent, sum, squares) = (-1, 5, 21);
    let expected = TargetSummary::Values {
        exponent,
        sum,
        squares,
    };
    assert_eq!(values().targets, expected);
    assert_eq!(values().task(), Task::Regression { exponent });
    // 3·21 − 5²
    assert_eq!(values().spread(), 38);
    let far = Targets::Values {
        exponent: 0,
        values: [vec![-(1 << 24); 500], vec![1 << 24; 500]].concat(),
    };
    let far = Dataset::with_targets(1, vec![0; 1_000], far).unwrap();
    assert_eq!(far.summary().spread(), 1_000_000 << 48);
}

#[test]
fn takes_tallies_that_repeat_the_facts_of_the_test_set() {
    // Rule MET-1: accept
    for (metric, numbers) in [
        (Metric::Accuracy, &[5][..]),
        (Metric::TopK { k: 2 }, &[0]),
        // one of class 0 taken for class 2, one of class 1 for class 0
        (Metric::BalancedAccuracy, &[2, 1, 1, 1, 0, 1, 0, 1, 0]),
        (Metric::MacroF1, &[3, 0, 0, 2, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(metric.check(&tally(numbers), &classes()), Ok(()));
    }
    for (metric, numbers) in [
        (Metric::Mse, &[0][..]),
        (Metric::Rmse, &[1 << 100]),
        (Metric::Mae, &[3]),
        (Metric::R2, &[3, 38]),
    ] {
        assert_eq!(metric.check(&tally(numbers), &values()), Ok(()));
    }
}

#[test]
fn rejects_tallies_of_another_test_set() {
    // Rule MET-1: reject
    let refused = |metric: Metric, numbers: &[u128], data: &DatasetSummary| {
        metric.check(&tally(numbers), data).unwrap_err()
    };
    // the sums are right, but the sizes of the classes are those of another test set
    let (class, found, expected) = (0, 2, 3);
    for metric in [Metric::BalancedAccuracy, Metric::MacroF1] {
        assert_eq!(
            refused(metric, &[2, 0, 0, 3, 0, 0, 0, 0, 0], &classes()),
            TallyError::Class {
                class,
                found,
                expected
            }
        );
    }
    let (class, found, expected) = (1, 1, 2);
    assert_eq!(
        refused(Metric::MacroF1, &[3, 0, 0, 1, 0, 0, 0, 1, 1], &classes()),
        TallyError::Class {
            class,
            found,
            expected
        }
    );
    let (found, expected) = (39, 38);
    assert_eq!(
        refused(Metric::R2, &[3, 39], &values()),
        TallyError::Spread { found, expected }
    );
    // and what the rules see without the test set
    for (metric, numbers, data) in [
        (Metric::Accuracy, &[6][..], classes()),
        (Metric::TopK { k: 3 }, &[1], classes()),
        (Metric::Rmse, &[1], classes()),
        (Metric::Accuracy, &[1], values()),
        (Metric::R2, &[3], values()),
        (Metric::Mae, &[3, 38], values()),
    ] {
        refused(metric, numbers, &data);
    }
}

#[test]
fn points_are_hits_shares_of_classes_and_negated_errors() {
    // Rule MET-2: accept
    let points = |metric: Metric, numbers: &[u128]| metric.points(&tally(numbers));
    assert_eq!(points(Metric::Accuracy, &[7]), 7);
    assert_eq!(points(Metric::TopK { k: 5 }, &[7]), 7);
    for metric in [Metric::Mse, Metric::Rmse, Metric::Mae] {
        assert_eq!(points(metric, &[1 << 100]), -(1 << 100));
    }
    assert_eq!(points(Metric::R2, &[5, 1 << 90]), -5);
    // recalls 1, 1/4 and none; F1 scores 2/5, 2/5 and 0
    let counts = [1, 3, 0, 1, 0, 3, 0, 0, 0];
    let one = CLASS_POINTS as i128;
    assert_eq!(points(Metric::BalancedAccuracy, &counts), one + one / 4);
    assert_eq!(points(Metric::MacroF1, &counts), 2 * (2 * one / 5));
    // a class that is guessed and has no samples: its F1 is 0, its recall does not count
    let guessed = [4, 0, 1, 0, 1, 0];
    assert_eq!(points(Metric::MacroF1, &guessed), 8 * one / 9);
    assert_eq!(points(Metric::BalancedAccuracy, &guessed), 4 * one / 5);
}

#[test]
fn rejects_no_tally_but_orders_what_is_out_of_range_without_a_panic() {
    // Rule MET-2: reject
    // SUB-4 keeps such tallies away; the points are still numbers
    for metric in [
        Metric::Accuracy,
        Metric::BalancedAccuracy,
        Metric::MacroF1,
        Metric::R2,
    ] {
        let largest = tally(&vec![1 << 100; 3_072]);
        let _ = metric.points(&largest);
        let share = Threshold::AtLeast { millionths: 1 };
        let _ = share.is_reached(&metric, &largest, 1);
        let _ = metric.points(&tally(&[1]));
    }
}

/// Σ a/b as one fraction; terms without a divisor are 0.
fn exact_sum(terms: &[(u128, u128)]) -> (BigUint, BigUint) {
    let (mut above, mut below) = (BigUint::from(0u8), BigUint::from(1u8));
    for (a, b) in terms.iter().filter(|(_, b)| *b > 0) {
        above = above * *b + &below * *a;
        below *= *b;
    }
    (above, below)
}

fn terms(metric: Metric, tally: &Tally) -> Vec<(u128, u128)> {
    let counts = tally.numbers().chunks_exact(3);
    match metric {
        Metric::BalancedAccuracy => counts.map(|c| (c[0], c[0] + c[2])).collect(),
        _ => counts.map(|c| (2 * c[0], 2 * c[0] + c[1] + c[2])).collect(),
    }
}

fn exact_order(metric: Metric, a: &Tally, b: &Tally) -> Ordering {
    let (a, b) = (exact_sum(&terms(metric, a)), exact_sum(&terms(metric, b)));
    (a.0 * b.1).cmp(&(b.0 * a.1))
}

/// Labels and two models' guesses for a few classes.
fn guesses(
    most_classes: usize,
    most_samples: usize,
) -> impl Strategy<Value = (usize, Vec<(u16, u16, u16)>)> {
    (2..=most_classes).prop_flat_map(move |classes| {
        let class = 0..classes as u16;
        // a good model, and one that differs in a few samples
        let sample = (class.clone(), class.clone(), class, 0..8u8).prop_map(
            |(label, guess, other, luck)| match luck {
                0 => (label, guess, other),
                1..=2 => (label, guess, guess),
                _ => (label, label, label),
            },
        );
        (
            Just(classes),
            prop::collection::vec(sample, 1..most_samples),
        )
    })
}

fn confusion(classes: usize, samples: impl Iterator<Item = (u16, u16)>) -> Tally {
    let mut numbers = vec![0; 3 * classes];
    for (label, guess) in samples {
        match label == guess {
            true => numbers[3 * usize::from(label)] += 1,
            false => {
                numbers[3 * usize::from(guess) + 1] += 1;
                numbers[3 * usize::from(label) + 2] += 1;
            }
        }
    }
    Tally::new(numbers).unwrap()
}

proptest! {
    #[test]
    fn points_order_means_over_classes_as_exact_rationals_do((classes, samples) in guesses(5, 300)) {
        // Rule MET-2: accept
        let one = confusion(classes, samples.iter().map(|(label, guess, _)| (*label, *guess)));
        let other = confusion(classes, samples.iter().map(|(label, _, guess)| (*label, *guess)));
        let labels = samples.iter().map(|(label, _, _)| *label).collect::<Vec<_>>();
        let data = Dataset::new(1, classes, vec![0; labels.len()], labels).unwrap().summary();
        for metric in [Metric::BalancedAccuracy, Metric::MacroF1] {
            prop_assert_eq!(metric.check(&one, &data), Ok(()));
            prop_assert_eq!(metric.check(&other, &data), Ok(()));
            let found = metric.points(&one).cmp(&metric.points(&other));
            let exact = exact_order(metric, &one, &other);
            match exact {
                // equal sums of different fractions may be rounded apart by less than one a class
                Ordering::Equal => prop_assert!(
                    metric.points(&one).abs_diff(metric.points(&other)) < classes as u128
                ),
                _ => prop_assert_eq!(found, exact, "{} {:?} {:?}", metric, one, other),
            }
        }
    }

    #[test]
    fn points_are_the_exact_sum_but_for_less_than_one_a_class(
        counts in prop::collection::vec((0..1u128 << 20, 0..1u128 << 20, 0..1u128 << 20), 1..40),
    ) {
        // Rule MET-2: accept
        let numbers = counts.iter().flat_map(|(a, b, c)| [*a, *b, *c]).collect();
        let tally = Tally::new(numbers).unwrap();
        for metric in [Metric::BalancedAccuracy, Metric::MacroF1] {
            let (above, below) = exact_sum(&terms(metric, &tally));
            let points = BigUint::from(u128::try_from(metric.points(&tally)).unwrap());
            let exact = above * CLASS_POINTS;
            prop_assert!(&points * &below <= exact);
            prop_assert!((points + counts.len()) * below > exact);
        }
    }

    #[test]
    fn points_order_counts_and_errors_exactly(a in 0..=1u128 << 100, b in 0..=1u128 << 100) {
        // Rule MET-2: accept
        for metric in [Metric::Mse, Metric::Rmse, Metric::Mae] {
            let order = metric.points(&tally(&[a])).cmp(&metric.points(&tally(&[b])));
            prop_assert_eq!(order, b.cmp(&a));
        }
        let (a, b) = (a >> 80, b >> 80);
        let order = Metric::Accuracy.points(&tally(&[a])).cmp(&Metric::Accuracy.points(&tally(&[b])));
        prop_assert_eq!(order, a.cmp(&b));
    }

    #[test]
    fn a_minimum_is_compared_exactly(
        (classes, samples) in guesses(5, 60),
        millionths in 0..=MILLION,
        simple in (0..6u32, 1..6u32),
    ) {
        // Rule MET-3: accept
        // Rule MET-3: reject
        let tally = confusion(classes, samples.iter().map(|(label, guess, _)| (*label, *guess)));
        let n = samples.len() as u32;
        // shares of small numbers are the ones that scores hit exactly
        let simple = MILLION * simple.0.min(simple.1) / simple.1;
        for millionths in [millionths, simple] {
            let least = Threshold::AtLeast { millionths };
            for metric in [Metric::BalancedAccuracy, Metric::MacroF1] {
                let terms = terms(metric, &tally);
                let count = match metric {
                    Metric::BalancedAccuracy => terms.iter().filter(|(_, b)| *b > 0).count(),
                    _ => classes,
                };
                let (above, below) = exact_sum(&terms);
                let reached = above * MILLION >= below * millionths * count;
                prop_assert_eq!(least.is_reached(&metric, &tally, n), reached, "{}", metric);
            }
            let hits = Tally::of_hits(n / 2);
            let reached = u64::from(n / 2) * u64::from(MILLION) >= u64::from(millionths) * u64::from(n);
            prop_assert_eq!(least.is_reached(&Metric::Accuracy, &hits, n), reached);
        }
    }
}

#[test]
fn every_count_of_a_million_samples_is_one_number_of_millionths() {
    // Rule MET-3: accept
    // Rule MET-3: reject
    for samples in [100u32, 540, 999_983, 1_000_000] {
        for hits in [1, 2, 7, samples / 3, samples - 1, samples] {
            let millionths = u64::from(MILLION) * u64::from(hits) / u64::from(samples);
            let least = Threshold::AtLeast {
                millionths: millionths as u32,
            };
            let reached =
                |hits| least.is_reached(&Metric::Accuracy, &Tally::of_hits(hits), samples);
            assert!(reached(hits), "{hits} of {samples}");
            assert!(!reached(hits - 1), "{hits} of {samples}");
        }
    }
}

#[test]
fn a_largest_sum_is_compared_exactly_and_none_takes_everything() {
    // Rule MET-3: accept
    // Rule MET-3: reject
    let most = Threshold::AtMost { sum: 1 << 90 };
    for metric in [Metric::Mse, Metric::Rmse, Metric::Mae, Metric::R2] {
        assert!(most.is_reached(&metric, &tally(&[1 << 90, 3]), 10));
        assert!(!most.is_reached(&metric, &tally(&[(1 << 90) + 1, 3]), 10));
        assert!(Threshold::None.is_reached(&metric, &tally(&[1 << 100, 3]), 10));
    }
}

#[test]
fn people_see_the_usual_scores() {
    let (two, value) = (
        Task::Classification { classes: 3 },
        Task::Regression { exponent: -1 },
    );
    let close = |metric: Metric, numbers: &[u128], samples, task: &Task, expected: f64| {
        let found = metric.display(&tally(numbers), samples, task);
        assert!((found - expected).abs() < 1e-12, "{metric}: {found}");
    };
    // sklearn.metrics on y = [0,0,0,1,1], p = [0,0,2,1,0] with labels 0, 1, 2 and zero_division=0
    let counts = [2, 1, 1, 1, 0, 1, 0, 1, 0];
    close(Metric::Accuracy, &[3], 5, &two, 0.6);
    close(Metric::TopK { k: 2 }, &[4], 5, &two, 0.8);
    let recalls = (2.0 / 3.0 + 0.5) / 2.0;
    close(Metric::BalancedAccuracy, &counts, 5, &two, recalls);
    let f1 = (2.0 / 3.0 + 2.0 / 3.0) / 3.0;
    close(Metric::MacroF1, &counts, 5, &two, f1);
    // targets -1, 2, 4 and predictions 0, 2, 2 in steps of a half
    close(Metric::Mse, &[5], 3, &value, 5.0 / 3.0 / 4.0);
    close(Metric::Rmse, &[5], 3, &value, (5.0f64 / 3.0).sqrt() / 2.0);
    close(Metric::Mae, &[3], 3, &value, 0.5);
    close(Metric::R2, &[5, 38], 3, &value, 1.0 - 15.0 / 38.0);
    // equal targets
    close(Metric::R2, &[5, 0], 3, &value, 0.0);
    close(Metric::R2, &[0, 0], 3, &value, 1.0);
    let words =
        |metric: Metric, numbers: &[u128], task: &Task| metric.describe(&tally(numbers), 540, task);
    assert_eq!(words(Metric::Accuracy, &[519], &two), "519 of 540 correct");
    assert_eq!(
        words(Metric::TopK { k: 2 }, &[519], &two),
        "519 of 540 in the top-2"
    );
    assert_eq!(words(Metric::MacroF1, &counts, &two), "macro-f1 0.444444");
    assert_eq!(words(Metric::Rmse, &[540 << 40], &value), "rmse 524288");
    assert_eq!(words(Metric::Mae, &[0], &value), "mae 0");
}

#[test]
fn a_minimum_is_shown_in_the_metrics_words() {
    let value = Task::Regression { exponent: 1 };
    let (classes, share) = (
        Task::from(3),
        Threshold::AtLeast {
            millionths: 925_000,
        },
    );
    let shown = share.display(&Metric::MacroF1, 540, &classes);
    assert_eq!(shown.as_deref(), Some("at least macro-f1 0.925"));
    let sum = Threshold::AtMost { sum: 400 };
    for (metric, words) in [
        (Metric::Mse, "at most mse 16.0000"),
        (Metric::Mae, "at most mae 8.00000"),
        (Metric::R2, "at most rmse 4.00000"),
    ] {
        assert_eq!(sum.display(&metric, 100, &value).as_deref(), Some(words));
    }
    assert_eq!(Threshold::None.display(&Metric::Mse, 5, &value), None);
}
