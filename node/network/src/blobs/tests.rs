//! The store as its callers and a failing disk see it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agon_protocol::digest::BlobId;
use tempfile::TempDir;

use super::*;

const CHUNK: usize = CHUNK_BYTES as usize;
const LIMIT: u64 = 64 << 20;

fn sample(length: usize, seed: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i * 31 + i / 251 + seed) as u8)
        .collect()
}

fn store() -> (TempDir, BlobStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    (folder, store)
}

fn file(folder: &TempDir, kind: &str, id: BlobId) -> PathBuf {
    folder.path().join(kind).join(id.to_string())
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn keeps_reads_lists_and_deletes() {
    let (folder, store) = store();
    let (small, large) = (sample(10, 1), sample(3 * CHUNK + 5, 2));
    let one = store.put(&small, LIMIT).unwrap();
    let two = store.put(&large, LIMIT).unwrap();
    assert_eq!(one.id, BlobId::of(&small));
    assert_eq!(two.length, large.len() as u64);
    let again = BlobStore::open(folder.path()).unwrap();
    let mut both = vec![one, two];
    both.sort();
    assert_eq!(again.list().unwrap(), both);
    assert_eq!(again.read(two.id, LIMIT).unwrap(), large);
    assert_eq!(again.read_chunk(two.id, 3).unwrap(), large[3 * CHUNK..]);
    again.delete(one.id).unwrap();
    again.delete(one.id).unwrap();
    assert!(!again.holds(one.id));
    let missing = again.read(one.id, LIMIT);
    assert!(matches!(missing, Err(StoreError::NotHeld { .. })));
}

#[test]
fn reads_ranges_across_chunks_and_refuses_those_outside() {
    let (_folder, store) = store();
    let bytes = sample(3 * CHUNK + 5, 3);
    let id = store.put(&bytes, LIMIT).unwrap().id;
    for (offset, length) in [
        (0, 0),
        (0, bytes.len()),
        (CHUNK - 1, 2),
        (CHUNK + 7, 2 * CHUNK - 7),
        (3 * CHUNK, 5),
        (bytes.len(), 0),
    ] {
        let range = store.read_range(id, offset as u64, length as u64).unwrap();
        assert_eq!(range, bytes[offset..offset + length], "{offset}+{length}");
    }
    for (offset, length) in [(0, bytes.len() as u64 + 1), (1, u64::MAX), (u64::MAX, 1)] {
        let outside = store.read_range(id, offset, length);
        assert!(matches!(outside, Err(StoreError::OutOfRange { .. })));
    }
    let outside = store.read_chunk(id, u64::MAX);
    assert!(matches!(outside, Err(StoreError::OutOfRange { .. })));
}

#[test]
fn refuses_more_than_the_limit_and_leaves_nothing_behind() {
    let (folder, store) = store();
    let bytes = sample(1001, 4);
    let refused = store.put(&bytes, 1000);
    assert!(matches!(refused, Err(StoreError::TooLong { limit: 1000 })));
    assert!(store.list().unwrap().is_empty());
    let left = fs::read_dir(folder.path().join("incoming")).unwrap();
    assert_eq!(left.count(), 0);
    let id = store.put(&bytes, 1001).unwrap().id;
    let refused = store.read(id, 1000);
    assert!(matches!(refused, Err(StoreError::TooLong { .. })));
}

#[test]
fn a_changed_or_shortened_file_is_noticed_and_set_aside() {
    let (folder, store) = store();
    let bytes = sample(2 * CHUNK + 9, 5);
    for damage in [0, CHUNK, 2 * CHUNK + 8] {
        let id = store.put(&bytes, LIMIT).unwrap().id;
        flip(&file(&folder, "complete", id), damage);
        let corrupt = store.check(id);
        assert!(matches!(corrupt, Err(StoreError::Corrupt { .. })));
        assert!(!store.holds(id), "a damaged blob is not held");
        assert!(file(&folder, "quarantine", id).exists());
    }
    let id = store.put(&bytes, LIMIT).unwrap().id;
    fs::write(file(&folder, "complete", id), &bytes[..CHUNK]).unwrap();
    let corrupt = store.read_chunk(id, 0);
    assert!(matches!(corrupt, Err(StoreError::Corrupt { .. })));
    // It can simply be kept anew.
    store.put(&bytes, LIMIT).unwrap();
    assert_eq!(store.read(id, LIMIT).unwrap(), bytes);
}

#[test]
fn a_missing_or_damaged_tree_is_rebuilt_from_the_bytes() {
    let (folder, store) = store();
    let bytes = sample(2 * CHUNK + 9, 6);
    let id = store.put(&bytes, LIMIT).unwrap().id;
    let tree = file(&folder, "trees", id);
    fs::remove_file(&tree).unwrap();
    assert_eq!(store.read_chunk(id, 1).unwrap(), bytes[CHUNK..2 * CHUNK]);
    flip(&tree, 40);
    assert_eq!(store.read(id, LIMIT).unwrap(), bytes);
    fs::write(&tree, b"short").unwrap();
    assert_eq!(store.read(id, LIMIT).unwrap(), bytes);
}

#[test]
fn leftovers_of_interrupted_writes_are_removed_and_never_held() {
    let (folder, store) = store();
    let bytes = sample(CHUNK, 7);
    fs::write(folder.path().join("incoming/7"), &bytes[..99]).unwrap();
    fs::write(folder.path().join("complete/notes.txt"), b"not a blob").unwrap();
    drop(store);
    let store = BlobStore::open(folder.path()).unwrap();
    let left = fs::read_dir(folder.path().join("incoming")).unwrap();
    assert_eq!(left.count(), 0);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_partial_blob_survives_and_only_true_chunks_count() {
    let (folder, store) = store();
    let bytes = sample(3 * CHUNK + 5, 8);
    let (id, length) = (BlobId::of(&bytes), bytes.len() as u64);
    let mut builder = ChunkTreeBuilder::default();
    builder.update(&bytes);
    let (_, tree) = builder.finish();

    let mut partial = store.partial(id, length, LIMIT, Room::Other).unwrap();
    let too_early = partial.keep(0, &bytes[..CHUNK]);
    assert!(matches!(too_early, Err(PartialError::WrongChunk { .. })));
    partial.set_tree(tree.leaves().to_vec()).unwrap();
    partial.keep(3, &bytes[3 * CHUNK..]).unwrap();
    partial.keep(0, &bytes[..CHUNK]).unwrap();
    let wrong = partial.keep(1, &bytes[..CHUNK]);
    assert!(matches!(
        wrong,
        Err(PartialError::WrongChunk { index: 1, .. })
    ));
    drop(partial);
    assert!(!store.holds(id));

    // A crash tore the first chunk, on a disk that wrote out of order.
    flip(&file(&folder, "partial", id), 17);
    let store = BlobStore::open(folder.path()).unwrap();
    let mut partial = store.partial(id, length, LIMIT, Room::Other).unwrap();
    assert_eq!(partial.missing(), vec![0, 1, 2]);
    assert_eq!(partial.kept_bytes(), 5);
    for index in 0..3 {
        let chunk = &bytes[index * CHUNK..(index + 1) * CHUNK];
        partial.keep(index as u64, chunk).unwrap();
    }
    partial.finish().unwrap();
    assert_eq!(store.read(id, LIMIT).unwrap(), bytes);
    let left = fs::read_dir(folder.path().join("partial")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_partial_blob_refuses_a_false_tree() {
    let (_folder, store) = store();
    let bytes = sample(2 * CHUNK, 9);
    let id = BlobId::of(&bytes);
    let mut partial = store
        .partial(id, bytes.len() as u64, LIMIT, Room::Other)
        .unwrap();
    let refused = partial.set_tree(vec![[7; 32]; 2]);
    assert!(matches!(
        refused,
        Err(PartialError::WrongTree(TreeError::WrongRoot { .. }))
    ));
    let refused = partial.set_tree(vec![[7; 32]; 3]);
    assert!(matches!(
        refused,
        Err(PartialError::WrongTree(TreeError::WrongCount { .. }))
    ));
    assert!(!partial.has_tree());
    partial.discard().unwrap();
    let refused = store.partial(id, LIMIT + 1, LIMIT, Room::Other);
    assert!(matches!(refused, Err(StoreError::TooLong { .. })));
}

#[test]
fn an_empty_blob_is_a_blob() {
    let (_folder, store) = store();
    let id = store.put(&[], LIMIT).unwrap().id;
    assert_eq!(store.read(id, LIMIT).unwrap(), Vec::<u8>::new());
    store.check(id).unwrap();
}

#[test]
fn the_verified_length_of_a_blob_that_the_disk_cut_short_is_none_and_it_can_be_put_again() {
    for length in [10, CHUNK, 3 * CHUNK + 5] {
        let (folder, store) = store();
        let bytes = sample(length, 4);
        let id = store.put(&bytes, LIMIT).unwrap().id;
        assert_eq!(store.verified_length(id).unwrap(), Some(length as u64));
        fs::write(file(&folder, "complete", id), &bytes[..length - 1]).unwrap();
        assert_eq!(store.length(id).unwrap(), Some(length as u64 - 1));
        assert_eq!(store.verified_length(id).unwrap(), None);
        assert!(!store.holds(id) && file(&folder, "quarantine", id).exists());
        store.put(&bytes, LIMIT).unwrap();
        assert_eq!(store.verified_length(id).unwrap(), Some(length as u64));
    }
}

#[test]
fn the_quota_holds_for_uploads_and_fetches_and_room_comes_back() {
    let (folder, store) = store();
    store.set_quota(Quota {
        total: 10_000,
        reserved: 4_000,
    });
    let full = |result: Result<Stored, StoreError>| matches!(result, Err(StoreError::Full { .. }));
    let one = store.put(&sample(3_000, 1), LIMIT).unwrap();
    assert!(full(store.put(&sample(3_001, 2), LIMIT)));
    assert_eq!(store.used(), 3_000, "a refused upload takes nothing");
    // a fetch takes the whole length before its first byte
    let id = BlobId::of(b"on its way");
    let partial = store.partial(id, 3_000, LIMIT, Room::Other).unwrap();
    assert!(full(store.put(&[1], LIMIT)));
    let other = BlobId::of(b"another");
    let refused = store.partial(other, 1, LIMIT, Room::Other);
    assert!(matches!(refused, Err(StoreError::Full { limit: 6_000 })));
    let committed = store.partial(other, 4_000, LIMIT, Room::Committed).unwrap();
    let refused = store.partial(BlobId::of(b"more"), 1, LIMIT, Room::Committed);
    assert!(matches!(refused, Err(StoreError::Full { limit: 10_000 })));
    // nothing had come: nothing stays taken
    drop((partial, committed));
    assert_eq!(store.used(), 3_000);
    // the same blob again takes nothing more
    store.put(&sample(3_000, 1), LIMIT).unwrap();
    assert_eq!(store.used(), 3_000);
    // what is there is counted again at the next start, damaged bytes included
    flip(&file(&folder, "complete", one.id), 5);
    assert!(store.check(one.id).is_err());
    let store = BlobStore::open(folder.path()).unwrap();
    assert_eq!(store.used(), 3_000);
    assert_eq!(
        store.clean(Duration::from_secs(60), 9).unwrap(),
        0,
        "too young"
    );
    // and the two that were given up before a byte came
    assert_eq!(store.clean(Duration::ZERO, 9).unwrap(), 3);
    assert_eq!(store.used(), 0);
}

#[test]
fn what_was_left_half_fetched_is_removed_by_age_and_a_few_at_a_time() {
    let (folder, store) = store();
    for seed in 0..5 {
        let bytes = sample(2 * CHUNK, seed);
        let mut builder = ChunkTreeBuilder::default();
        builder.update(&bytes);
        let (id, tree) = builder.finish();
        let mut partial = store
            .partial(id, bytes.len() as u64, LIMIT, Room::Other)
            .unwrap();
        partial.set_tree(tree.leaves().to_vec()).unwrap();
        partial.keep(0, &bytes[..CHUNK]).unwrap();
    }
    assert_eq!(store.used(), 5 * CHUNK as u64);
    assert_eq!(store.clean(Duration::from_secs(60), 9).unwrap(), 0);
    assert_eq!(store.clean(Duration::ZERO, 3).unwrap(), 3);
    assert_eq!(store.used(), 2 * CHUNK as u64);
    assert_eq!(store.clean(Duration::ZERO, 3).unwrap(), 2);
    let left = fs::read_dir(folder.path().join("partial")).unwrap();
    assert_eq!((left.count(), store.used()), (0, 0));
}

#[test]
fn a_blob_that_many_bring_at_once_is_accounted_for_once() {
    let (_folder, store) = store();
    for round in 0..200u8 {
        let bytes = sample(100, usize::from(round));
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    store.put(&bytes, LIMIT).unwrap();
                });
            }
        });
    }
    assert_eq!(store.used(), 200 * 100);
}

#[test]
fn a_fetch_that_goes_on_after_a_long_pause_is_not_cleaned_away() {
    let (folder, store) = store();
    let bytes = sample(100, 1);
    let mut builder = ChunkTreeBuilder::default();
    builder.update(&bytes);
    let (id, tree) = builder.finish();
    drop(store.partial(id, 100, LIMIT, Room::Other).unwrap());
    let day = Duration::from_secs(86_400);
    let left = fs::File::options()
        .write(true)
        .open(file(&folder, "partial", id))
        .unwrap();
    left.set_modified(std::time::SystemTime::now() - 2 * day)
        .unwrap();
    let mut partial = store.partial(id, 100, LIMIT, Room::Other).unwrap();
    assert_eq!(store.clean(day, 9).unwrap(), 0);
    partial.set_tree(tree.leaves().to_vec()).unwrap();
    partial.keep(0, &bytes).unwrap();
    partial.finish().unwrap();
    assert!(store.holds(id));
}
