//! A map from 32-byte names to records in 256 buckets by first byte. A clone shares every bucket, a change copies one,
//! and the digest hashes again only the buckets that changed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::codec::{Encode, encode_length};
use crate::digest::BucketDigest;

const BUCKETS: usize = 256;

/// A name that says which bucket it belongs to.
pub(crate) trait Key: Copy + Ord + Encode {
    /// The bucket's index.
    fn bucket(&self) -> u8;
}

macro_rules! key {
    ($($name:ty),*) => {$(
        impl Key for $name {
            fn bucket(&self) -> u8 {
                self.as_bytes()[0]
            }
        }
    )*};
}
key!(
    crate::identity::AccountId,
    crate::digest::CompetitionId,
    crate::digest::RegistrationId
);

/// A record that the state root covers.
pub(crate) trait Leaf {
    /// Appends what is hashed.
    fn leaf(&self, out: &mut Vec<u8>);
}

#[derive(Debug, Clone)]
struct Bucket<K, V> {
    entries: BTreeMap<K, V>,
    digest: OnceLock<BucketDigest>,
}

#[derive(Debug, Clone)]
pub(crate) struct Table<K, V> {
    buckets: Vec<Arc<Bucket<K, V>>>,
}

impl<K: Key, V: Clone> Table<K, V> {
    pub(crate) fn new() -> Self {
        let empty = Arc::new(Bucket {
            entries: BTreeMap::new(),
            digest: OnceLock::new(),
        });
        Self {
            buckets: vec![empty; BUCKETS],
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.buckets[usize::from(key.bucket())].entries.get(key)
    }

    fn entries_mut(&mut self, key: &K) -> &mut BTreeMap<K, V> {
        let bucket = Arc::make_mut(&mut self.buckets[usize::from(key.bucket())]);
        bucket.digest = OnceLock::new();
        &mut bucket.entries
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries_mut(key).get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.entries_mut(&key).insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.entries_mut(key).remove(key);
    }

    /// Every entry in the order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    pub(crate) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }
}

impl<K: Key, V: Clone + Leaf> Table<K, V> {
    /// Appends the digest of each bucket, first to last. A bucket's digest covers the number of its entries and each
    /// entry's key and record, in the order of the keys.
    pub(crate) fn encode_digests(&self, out: &mut Vec<u8>) {
        for digest in self.digests() {
            digest.encode(out);
        }
    }

    /// The digest of each bucket, first to last.
    pub(crate) fn digests(&self) -> impl Iterator<Item = BucketDigest> + '_ {
        self.buckets.iter().map(|bucket| {
            *bucket.digest.get_or_init(|| {
                let mut bytes = Vec::new();
                encode_length(bucket.entries.len(), &mut bytes);
                for (key, value) in &bucket.entries {
                    key.encode(&mut bytes);
                    value.leaf(&mut bytes);
                }
                BucketDigest::of(&bytes)
            })
        })
    }

    /// The entries of the bucket that a key belongs to, in the order of the keys.
    pub(crate) fn beside(&self, key: &K) -> impl Iterator<Item = (&K, &V)> {
        self.buckets[usize::from(key.bucket())].entries.iter()
    }
}
