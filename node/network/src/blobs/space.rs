//! How much room blobs may take on disk, and how much they take.
//!
//! Every byte is accounted for before it is written, whoever brings it: an upload piece by piece, a fetched blob with its
//! whole length. A part of the room is kept back for blobs that committed transactions name, so that what anybody may send
//! never keeps a node from what it must hold.

use std::collections::HashMap;

use agon_protocol::digest::BlobId;

/// For what a blob takes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// A committed transaction, or a block at hand, names it: it may use all of the room.
    Committed,
    /// An upload, or a transaction that waits: it leaves the reserve alone.
    Other,
}

/// The room for blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// All blobs together, in bytes.
    pub total: u64,
    /// The part of it for [`Room::Committed`] only.
    pub reserved: u64,
}

impl Quota {
    fn limit(self, room: Room) -> u64 {
        match room {
            Room::Committed => self.total,
            Room::Other => self.total.saturating_sub(self.reserved),
        }
    }
}

/// The account of a store.
#[derive(Debug)]
pub(super) struct Space {
    quota: Quota,
    /// Bytes of whole blobs, of damaged ones that were set aside, and of uploads on their way.
    taken: u64,
    /// Bytes of blobs that are being fetched, or were left half fetched.
    partial: HashMap<BlobId, u64>,
}

impl Space {
    pub(super) fn new() -> Self {
        let quota = Quota {
            total: u64::MAX,
            reserved: 0,
        };
        Self {
            quota,
            taken: 0,
            partial: HashMap::new(),
        }
    }

    pub(super) fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
    }

    /// All bytes accounted for.
    pub(super) fn used(&self) -> u64 {
        let partial: u64 = self.partial.values().sum();
        self.taken.saturating_add(partial)
    }

    /// Takes room, or says how much all blobs together may take.
    pub(super) fn take(&mut self, bytes: u64, room: Room) -> Result<(), u64> {
        let limit = self.quota.limit(room);
        match self.used().checked_add(bytes) {
            Some(used) if used <= limit => {
                self.taken += bytes;
                Ok(())
            }
            _ => Err(limit),
        }
    }

    /// Takes what is on disk already, whatever the quota says.
    pub(super) fn found(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_add(bytes);
    }

    /// Gives room back.
    pub(super) fn free(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// Takes room for the whole of a blob that is being fetched.
    pub(super) fn take_partial(&mut self, id: BlobId, length: u64, room: Room) -> Result<(), u64> {
        let before = self.partial.remove(&id);
        let limit = self.quota.limit(room);
        match self.used().checked_add(length) {
            Some(used) if used <= limit => {
                self.partial.insert(id, length);
                Ok(())
            }
            _ => {
                if let Some(before) = before {
                    self.partial.insert(id, before);
                }
                Err(limit)
            }
        }
    }

    /// Says what is left of a blob on its way: none once it is whole, or given up.
    pub(super) fn set_partial(&mut self, id: BlobId, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => self.partial.insert(id, bytes),
            None => self.partial.remove(&id),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(total: u64, reserved: u64) -> Space {
        let mut space = Space::new();
        space.set_quota(Quota { total, reserved });
        space
    }

    #[test]
    fn the_reserve_is_for_committed_blobs_alone() {
        let mut space = space(100, 30);
        assert_eq!(space.take(70, Room::Other), Ok(()));
        assert_eq!(space.take(1, Room::Other), Err(70));
        assert_eq!(space.take(30, Room::Committed), Ok(()));
        assert_eq!(space.take(1, Room::Committed), Err(100));
        space.free(31);
        assert_eq!(space.take(1, Room::Other), Ok(()));
        assert_eq!(space.take(u64::MAX, Room::Committed), Err(100));
    }

    #[test]
    fn a_fetch_takes_the_whole_length_once_and_gives_back_what_it_did_not_use() {
        let mut space = space(100, 0);
        let (one, two) = (BlobId::of(b"one"), BlobId::of(b"two"));
        assert_eq!(space.take_partial(one, 60, Room::Other), Ok(()));
        assert_eq!(space.take_partial(one, 60, Room::Other), Ok(()));
        assert_eq!(space.take_partial(two, 41, Room::Other), Err(100));
        space.set_partial(one, Some(10));
        assert_eq!(space.used(), 10);
        assert_eq!(space.take_partial(one, 101, Room::Other), Err(100));
        assert_eq!(space.used(), 10, "a refusal changes nothing");
        space.set_partial(one, None);
        assert_eq!(space.used(), 0);
    }
}
