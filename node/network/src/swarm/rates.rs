//! How much a peer may send: token buckets for its transactions, their bytes, its offers of blobs, and news of its tip.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;
use tokio::time::Instant;

use crate::config::Limits;

/// Peers whose buckets are kept; full ones are forgotten, for they say nothing.
const MAX_REMEMBERED: usize = 10_000;
/// A bucket holds what flows into it in this time.
const BURST: Duration = Duration::from_secs(4);
/// Offers of blobs that a peer may make at once, and per second.
const OFFERS: f64 = 1_024.0;
const OFFERS_PER_SECOND: f64 = 2.0;
/// News of a tip, at once and per second. An honest node has no more than ten in a second.
const TIPS: f64 = 500.0;
const TIPS_PER_SECOND: f64 = 50.0;

/// One token bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    size: f64,
    per_second: f64,
    left: f64,
    since: Instant,
}

impl Bucket {
    fn full(size: f64, per_second: f64, now: Instant) -> Self {
        Self {
            size,
            per_second,
            left: size,
            since: now,
        }
    }

    fn of_rate(per_second: usize, now: Instant) -> Self {
        let per_second = per_second as f64;
        Self::full(per_second * BURST.as_secs_f64(), per_second, now)
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        self.left = (self.left + seconds * self.per_second).min(self.size);
        self.since = now;
    }

    /// Takes `amount` when it is there. More than a full bucket is taken from a full one, so that nothing is too large for ever.
    fn take(&mut self, amount: f64, now: Instant) -> bool {
        self.refill(now);
        let enough = self.left >= amount.min(self.size);
        if enough {
            self.left -= amount;
        }
        enough
    }

    fn is_full(&self, now: Instant) -> bool {
        let mut later = *self;
        later.refill(now);
        later.left >= later.size
    }
}

#[derive(Debug, Clone, Copy)]
struct Buckets {
    transactions: Bucket,
    bytes: Bucket,
    offers: Bucket,
    tips: Bucket,
}

impl Buckets {
    fn is_full(&self, now: Instant) -> bool {
        [self.transactions, self.bytes, self.offers, self.tips]
            .iter()
            .all(|bucket| bucket.is_full(now))
    }
}

/// The buckets of all peers. They outlive a connection, so that coming back does not fill them.
#[derive(Debug)]
pub(super) struct Rates {
    transactions_per_second: usize,
    bytes_per_second: usize,
    peers: HashMap<PeerId, Buckets>,
}

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            transactions_per_second: limits.transactions_per_second,
            bytes_per_second: limits.transaction_bytes_per_second,
            peers: HashMap::new(),
        }
    }

    fn of(&mut self, peer: PeerId, now: Instant) -> Option<&mut Buckets> {
        if self.peers.len() >= MAX_REMEMBERED && !self.peers.contains_key(&peer) {
            self.tidy(now);
            if self.peers.len() >= MAX_REMEMBERED {
                return None;
            }
        }
        let buckets = Buckets {
            transactions: Bucket::of_rate(self.transactions_per_second, now),
            bytes: Bucket::of_rate(self.bytes_per_second, now),
            offers: Bucket::full(OFFERS, OFFERS_PER_SECOND, now),
            tips: Bucket::full(TIPS, TIPS_PER_SECOND, now),
        };
        Some(self.peers.entry(peer).or_insert(buckets))
    }

    /// Whether a transaction of this length is within what the peer that passed it on may send.
    pub(super) fn transaction(&mut self, peer: PeerId, length: usize, now: Instant) -> bool {
        self.of(peer, now).is_some_and(|buckets| {
            buckets.transactions.take(1.0, now) && buckets.bytes.take(length as f64, now)
        })
    }

    /// Whether the peer may offer one more blob.
    pub(super) fn offer(&mut self, peer: PeerId, now: Instant) -> bool {
        self.of(peer, now)
            .is_some_and(|buckets| buckets.offers.take(1.0, now))
    }

    /// Whether the peer may tell of one more tip.
    pub(super) fn tip(&mut self, peer: PeerId, now: Instant) -> bool {
        self.of(peer, now)
            .is_some_and(|buckets| buckets.tips.take(1.0, now))
    }

    /// Forgets the buckets that are full.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.peers.retain(|_, buckets| !buckets.is_full(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(transactions_per_second: usize, bytes_per_second: usize) -> Rates {
        Rates::new(&Limits {
            transactions_per_second,
            transaction_bytes_per_second: bytes_per_second,
            ..Limits::default()
        })
    }

    #[test]
    fn a_peer_sends_a_burst_and_then_at_its_rate_and_others_do_not_suffer() {
        let (mut rates, now) = (rates(10, 1 << 20), Instant::now());
        let (greedy, modest) = (PeerId::random(), PeerId::random());
        let taken = (0..1_000)
            .filter(|_| rates.transaction(greedy, 100, now))
            .count();
        assert_eq!(taken, 40);
        assert!(rates.transaction(modest, 100, now));
        let later = now + Duration::from_secs(1);
        let taken = (0..1_000)
            .filter(|_| rates.transaction(greedy, 100, later))
            .count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn bytes_count_too_and_one_that_is_larger_than_the_bucket_passes_a_full_one() {
        let (mut rates, now, peer) = (rates(1_000, 100), Instant::now(), PeerId::random());
        assert!(rates.transaction(peer, 1_000, now));
        assert!(!rates.transaction(peer, 1, now));
        // 600 bytes of debt and a byte to spare
        assert!(!rates.transaction(peer, 1, now + Duration::from_secs(5)));
        assert!(rates.transaction(peer, 1, now + Duration::from_secs(7)));
    }

    #[test]
    fn a_peer_that_tells_of_its_tip_without_end_is_cut_to_a_rate() {
        let (mut rates, now, peer) = (rates(10, 1_000), Instant::now(), PeerId::random());
        assert_eq!((0..1_000).filter(|_| rates.tip(peer, now)).count(), 500);
        let later = now + Duration::from_secs(2);
        assert_eq!((0..1_000).filter(|_| rates.tip(peer, later)).count(), 100);
    }

    #[test]
    fn full_buckets_are_forgotten_and_the_rest_is_bounded() {
        let (mut rates, now) = (rates(10, 1_000), Instant::now());
        for _ in 0..MAX_REMEMBERED + 10 {
            rates.transaction(PeerId::random(), 1, now);
        }
        assert_eq!(rates.peers.len(), MAX_REMEMBERED);
        rates.tidy(now + Duration::from_secs(60));
        assert!(rates.peers.is_empty());
    }
}
