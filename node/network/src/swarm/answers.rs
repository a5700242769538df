//! Answers on their way to peers: how many bytes of memory they take until they are sent.
//!
//! A peer that asks for much and reads nothing makes its answers wait here until its questions time out, so each peer has a bounded
//! part of the room. One that has nothing on its way gets an answer also when others have used up the room that is meant for all.

use std::collections::HashMap;

use libp2p::PeerId;
use libp2p::request_response::InboundRequestId;

/// Bytes on the way to one peer: two answers full of blocks, or many chunks.
const OF_PEER: usize = 17 << 20;
/// Bytes on the way to all peers, before only those get answers that have none on its way.
const OF_ALL: usize = 256 << 20;
/// Bytes on the way to all peers, at most.
const MOST: usize = 2 * OF_ALL;

/// The answers that are being found or sent. Generic for its tests: the transport alone makes names of questions.
#[derive(Debug)]
pub(super) struct Answers<Id = InboundRequestId> {
    bytes: HashMap<Id, (PeerId, usize)>,
    total: usize,
}

impl<Id> Default for Answers<Id> {
    fn default() -> Self {
        Self {
            bytes: HashMap::new(),
            total: 0,
        }
    }
}

impl<Id: std::hash::Hash + Eq> Answers<Id> {
    /// Whether one more answer of at most `longest` bytes may be made for a peer.
    pub(super) fn has_room(&self, peer: &PeerId, longest: usize) -> bool {
        let of_peer = self.bytes.values().filter(|(who, _)| who == peer);
        let of_peer: usize = of_peer.map(|(_, bytes)| bytes).sum();
        let limit = if of_peer == 0 { MOST } else { OF_ALL };
        of_peer + longest <= OF_PEER && self.total + longest <= limit
    }

    /// Takes room for an answer that is being found.
    pub(super) fn add(&mut self, id: Id, peer: PeerId, bytes: usize) {
        self.total += bytes;
        if let Some((_, before)) = self.bytes.insert(id, (peer, bytes)) {
            self.total -= before;
        }
    }

    /// The answer is found, and has this many bytes.
    pub(super) fn shorten(&mut self, id: Id, bytes: usize) {
        if let Some((_, before)) = self.bytes.get_mut(&id) {
            self.total = self.total - *before + bytes;
            *before = bytes;
        }
    }

    /// The answer is sent, or nobody waits for it any more.
    pub(super) fn gone(&mut self, id: Id) {
        if let Some((_, bytes)) = self.bytes.remove(&id) {
            self.total -= bytes;
        }
    }

    /// No connection with the peer is left.
    pub(super) fn closed(&mut self, peer: &PeerId) {
        let total = &mut self.total;
        self.bytes.retain(|_, (who, bytes)| {
            let stays = who != peer;
            if !stays {
                *total -= *bytes;
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_reads_nothing_gets_no_more_answers_and_others_do() {
        let mut answers = Answers::<u32>::default();
        let (deaf, other) = (PeerId::random(), PeerId::random());
        let mut id = 0;
        while answers.has_room(&deaf, 8 << 20) {
            answers.add(id, deaf, 8 << 20);
            id += 1;
        }
        assert_eq!(id, 2);
        assert!(answers.has_room(&other, 8 << 20));
        answers.shorten(0, 100);
        assert!(answers.has_room(&deaf, 8 << 20));
        answers.gone(1);
        answers.gone(1);
        assert_eq!(answers.total, 100);
        answers.closed(&deaf);
        assert_eq!(answers.total, 0);
        assert!(answers.bytes.is_empty());
    }

    #[test]
    fn all_answers_together_are_bounded_and_a_newcomer_gets_its_first() {
        let mut answers = Answers::<usize>::default();
        let greedy: Vec<PeerId> = (0..200).map(|_| PeerId::random()).collect();
        for (id, peer) in (0..).zip(greedy.iter().chain(&greedy)) {
            if answers.has_room(peer, 8 << 20) {
                answers.add(id, *peer, 8 << 20);
            }
        }
        assert_eq!(answers.total, MOST);
        let full = greedy.iter().take(40);
        let mut half = Answers::<usize>::default();
        for (id, peer) in (0..).zip(full.clone().chain(full)) {
            if half.has_room(peer, 8 << 20) {
                half.add(id, *peer, 8 << 20);
            }
        }
        assert_eq!(half.total, 40 * (8 << 20), "one for each, and no second");
    }
}
