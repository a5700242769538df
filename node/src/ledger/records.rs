//! Every stored value with what it is about, for whoever checks a store as a whole.

use agon_protocol::digest::{DataDigest, TransactionId};
use agon_protocol::identity::AccountId;

use super::store::{
    Kind, META_BASE, META_FORMAT, META_NETWORK, META_SNAPSHOTS, META_STATE, META_TIP, array,
};

/// What a stored value is about, as its key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// The format of keys and values.
    Format,
    /// The network.
    Network,
    /// The height of the last block.
    Tip,
    /// The state after the last block.
    State,
    /// The height of the snapshot that the chain starts from; absent when it starts from the genesis.
    Base,
    /// The list of snapshots that are kept for others.
    Snapshots,
    /// The block at a height.
    Block(u64),
    /// Its certificate.
    Certificate(u64),
    /// Its receipts and events.
    Outcome(u64),
    /// Height and index of a committed transaction.
    Transaction(TransactionId),
    /// An admitted transaction, by order of arrival.
    Waiting(u64),
    /// The verdict on a claim, by the claim's digest.
    Verdict([u8; 32]),
    /// Which sealed blob and key open a test set.
    Opening(DataDigest),
    /// The validators from a height on, where they changed.
    Validators(u64),
    /// A proof that a validator signed twice at a height.
    Evidence(AccountId, u64),
    /// Notes on how a verdict was found, by the claim's digest.
    Judging([u8; 32]),
    /// A key that this module does not know.
    Other,
}

impl RecordKey {
    pub(super) fn of(key: &[u8]) -> Self {
        Self::parse(key).unwrap_or(Self::Other)
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let (kind, name) = key.split_first()?;
        let height = || (name.len() == 8).then(|| array(name, 0).map(u64::from_be_bytes))?;
        let digest = || (name.len() == 32).then(|| array(name, 0))?;
        let is = |expected: Kind| *kind == expected as u8;
        Some(match name {
            META_FORMAT if is(Kind::Meta) => Self::Format,
            META_NETWORK if is(Kind::Meta) => Self::Network,
            META_TIP if is(Kind::Meta) => Self::Tip,
            META_STATE if is(Kind::Meta) => Self::State,
            META_BASE if is(Kind::Meta) => Self::Base,
            META_SNAPSHOTS if is(Kind::Meta) => Self::Snapshots,
            _ if is(Kind::Block) => Self::Block(height()?),
            _ if is(Kind::Certificate) => Self::Certificate(height()?),
            _ if is(Kind::Outcome) => Self::Outcome(height()?),
            _ if is(Kind::Waiting) => Self::Waiting(height()?),
            _ if is(Kind::Validators) => Self::Validators(height()?),
            // behind the height: round and kind
            _ if is(Kind::Evidence) && name.len() == 32 + 8 + 4 + 1 => Self::Evidence(
                AccountId::from_raw(array(name, 0)?),
                u64::from_be_bytes(array(name, 32)?),
            ),
            _ if is(Kind::Transaction) => Self::Transaction(TransactionId::from_raw(digest()?)),
            _ if is(Kind::Verdict) => Self::Verdict(digest()?),
            _ if is(Kind::Judging) => Self::Judging(digest()?),
            _ if is(Kind::Opening) => Self::Opening(DataDigest::from_raw(digest()?)),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_kind_are_told_apart_and_foreign_ones_are_no_record() {
        let height = 7u64.to_be_bytes();
        let key = |kind: u8, name: &[u8]| [&[kind], name].concat();
        assert_eq!(RecordKey::of(b"mtip"), RecordKey::Tip);
        assert_eq!(RecordKey::of(b"mbase"), RecordKey::Base);
        assert_eq!(RecordKey::of(b"msnapshots"), RecordKey::Snapshots);
        assert_eq!(RecordKey::of(&key(b'b', &height)), RecordKey::Block(7));
        let validators = RecordKey::of(&key(b's', &height));
        assert_eq!(validators, RecordKey::Validators(7));
        let evidence = [&[1; 32][..], &height, &[0; 5]].concat();
        assert_eq!(
            RecordKey::of(&key(b'e', &evidence)),
            RecordKey::Evidence(AccountId::from_raw([1; 32]), 7)
        );
        assert_eq!(RecordKey::of(&key(b'e', &evidence[1..])), RecordKey::Other);
        assert_eq!(
            RecordKey::of(&key(b'v', &[3; 32])),
            RecordKey::Verdict([3; 32])
        );
        for foreign in [&b""[..], b"b", b"bshort", b"mother", b"z12345678"] {
            assert_eq!(RecordKey::of(foreign), RecordKey::Other);
        }
    }
}
