//! `vectors/scoring.json`: ranks and prizes. `reference/scoring.py` computes the same without this crate.

use agon_protocol::competition::Position;
use agon_protocol::digest::RegistrationId;
use agon_protocol::identity::AccountId;
use agon_protocol::scorer::{Entry, Rank, rank};
use agon_protocol::units::{Amount, Height};
use serde::{Deserialize, Serialize};

use super::pinned;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    entries: Vec<Entry>,
    minimum_correct: u32,
    prize: Amount,
    payouts: Vec<u16>,
    ranks: Vec<Rank>,
}

fn entry(name: u8, height: u64, index: u32, correct: u32) -> Entry {
    Entry {
        registration: RegistrationId::from_raw([name; 32]),
        competitor: AccountId::from_raw([0xf0 | (name & 3); 32]),
        registered: Position {
            height: Height::new(height),
            index,
        },
        correct,
    }
}

fn case(
    name: &str,
    entries: Vec<Entry>,
    minimum_correct: u32,
    prize: u64,
    payouts: &[u16],
) -> Case {
    let (name, prize) = (name.to_owned(), Amount::new(prize));
    let ranks = rank(entries.clone(), minimum_correct, prize, payouts);
    Case {
        name,
        entries,
        minimum_correct,
        prize,
        payouts: payouts.to_vec(),
        ranks,
    }
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
}

#[test]
fn scoring_is_pinned() {
    for case in pinned("scoring.json", &cases()) {
        let Case {
            name,
            mut entries,
            minimum_correct,
            prize,
            payouts,
            ranks,
        } = case;
        // the order in which entries arrive does not matter
        for _ in 0..entries.len().max(1) {
            let found = rank(entries.clone(), minimum_correct, prize, &payouts);
            assert_eq!(found, ranks, "{name}");
            let by = usize::from(!entries.is_empty());
            entries.rotate_left(by);
        }
        let paid = Amount::checked_sum(ranks.iter().map(|rank| rank.amount)).unwrap();
        assert!(paid <= prize, "{name}");
    }
}
