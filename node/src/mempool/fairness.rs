//! The order of candidates under any load: nobody starves, nobody overtakes unfairly, and no room is exceeded.

use agon_protocol::identity::AccountId;
use agon_protocol::units::TimeMs;
use proptest::prelude::*;

use super::order::{Candidate, Queues, Room, choose};

const LENGTH: usize = 100;

fn sender(number: u8) -> AccountId {
    AccountId::from_raw([number; 32])
}

fn room(transactions: usize) -> Room {
    Room {
        transactions,
        bytes: transactions * LENGTH,
    }
}

/// A pool of made-up transactions, with the rule by which real ones become due.
#[derive(Default)]
struct Pool {
    height: u64,
    arrivals: u64,
    queues: Queues,
}

impl Pool {
    fn arrive(&mut self, sender: AccountId, deadline: Option<u64>) -> u64 {
        self.arrivals += 1;
        let queue = self.queues.entry(sender).or_default();
        let after_own = queue.last().map_or(0, |last| last.due + 1);
        queue.push(Candidate {
            arrival: self.arrivals,
            due: (self.height + 1).max(after_own),
            length: LENGTH,
            deadline: deadline.map(TimeMs::new),
        });
        self.arrivals
    }

    /// Makes a block, and returns whose transactions it took.
    fn block(&mut self, capacity: usize) -> Vec<(AccountId, u64)> {
        let chosen = choose(&self.queues, room(capacity), room(capacity));
        self.height += 1;
        let mut taken = Vec::new();
        for arrival in chosen {
            for (sender, queue) in &mut self.queues {
                if queue.first().map(|head| head.arrival) == Some(arrival) {
                    queue.remove(0);
                    taken.push((*sender, arrival));
                }
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        taken
    }
}

proptest! {
    #[test]
    fn each_choice_keeps_nonces_in_order_and_stays_within_the_room(
        arrivals in proptest::collection::vec((0u8..6, proptest::option::of(1u64..9)), 0..60),
        capacity in 1usize..20,
    ) {
        let mut pool = Pool::default();
        for (number, deadline) in arrivals {
            pool.arrive(sender(number), deadline);
        }
        let chosen = choose(&pool.queues, room(capacity), room(2 * capacity));
        let all: usize = pool.queues.values().map(Vec::len).sum();
        prop_assert_eq!(chosen.len(), all.min(2 * capacity));
        for queue in pool.queues.values() {
            let places: Vec<_> = queue
                .iter()
                .map(|candidate| chosen.iter().position(|arrival| *arrival == candidate.arrival))
                .collect();
            // chosen ones come in order, and no later one is chosen without the earlier
            for pair in places.windows(2) {
                match (pair[0], pair[1]) {
                    (Some(first), Some(second)) => prop_assert!(first < second),
                    (None, Some(_)) => prop_assert!(false, "a gap in the nonces"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_transaction_waits_only_for_what_was_there_before_it(
        before in 0usize..60,
        flood in 1u8..40,
        capacity in 1usize..8,
    ) {
        let mut pool = Pool::default();
        for number in 0..before {
            pool.arrive(sender((number % 5) as u8), None);
        }
        let victim = sender(200);
        let arrival = pool.arrive(victim, None);
        // every block, others send more than fits
        let mut blocks = 0;
        loop {
            blocks += 1;
            for number in 0..flood {
                pool.arrive(sender(10 + number), None);
                pool.arrive(sender(10 + number), None);
            }
            if pool.block(capacity).contains(&(victim, arrival)) {
                break;
            }
            prop_assert!(blocks <= (before + 1).div_ceil(capacity), "starved for {} blocks", blocks);
        }
    }

    #[test]
    fn who_sends_much_gets_no_more_than_who_sends_as_much_as_the_network_takes(
        many in 20usize..60,
        senders in 2u8..6,
    ) {
        // one sender queues a lot at once; the others send one transaction for every block
        let mut pool = Pool::default();
        let greedy = sender(0);
        for _ in 0..many {
            pool.arrive(greedy, None);
        }
        let capacity = usize::from(senders);
        for _ in 0..10 {
            for number in 1..senders {
                pool.arrive(sender(number), None);
            }
            let taken = pool.block(capacity);
            for number in 1..senders {
                let count = taken.iter().filter(|(who, _)| *who == sender(number)).count();
                prop_assert_eq!(count, 1);
            }
        }
    }

    #[test]
    fn those_near_a_deadline_come_first_but_fill_no_more_than_half(
        near in 1u8..40,
        capacity in 2usize..20,
    ) {
        let mut pool = Pool::default();
        let patient = sender(250);
        for _ in 0..capacity {
            pool.arrive(patient, None);
        }
        for number in 0..near {
            pool.arrive(sender(number), Some(u64::from(number)));
        }
        // all are due at the same time or later: only the deadline puts the newcomers first
        let chosen = choose(&pool.queues, room(capacity), room(capacity));
        let half = (capacity / 2).min(usize::from(near));
        let expected: Vec<u64> = (0..half as u64).map(|index| capacity as u64 + 1 + index).collect();
        prop_assert_eq!(&chosen[..half], &expected[..]);
        prop_assert!(chosen.contains(&1) , "the first of the patient sender");
    }
}

#[test]
fn a_deadline_takes_along_the_earlier_transactions_that_it_needs() {
    let mut pool = Pool::default();
    pool.arrive(sender(1), None);
    let needed = pool.arrive(sender(2), None);
    let late = pool.arrive(sender(2), Some(5));
    let chosen = choose(&pool.queues, room(4), room(4));
    assert_eq!(chosen, [needed, late, 1]);
}
