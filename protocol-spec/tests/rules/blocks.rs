//! BLK, SUP and the state: what holds for every block.

use agon_protocol::block::{Block, EMPTY_BLOCK_BYTES, is_fresh};
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::digest::{BlockId, NetworkId, StateRoot};
use agon_protocol::state::State;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::transition::{BlockError, Skipped, apply_block, build_block};
use agon_protocol::units::{Amount, Height, TimeMs};

use crate::world::{
    OPENS_AT, PROVE_UNTIL, REGISTER_UNTIL, START, Who, World, bad_proof, genesis, spec,
};

fn transfers(world: &World, count: u64) -> Vec<SignedTransaction> {
    (0..count)
        .map(|nonce| {
            let action = Action::Transfer {
                to: Who::Bob.account(),
                amount: Amount::new(1),
            };
            let mut transaction = world.transaction(Who::Alice, action);
            transaction.nonce = nonce;
            transaction.sign(&Who::Alice.key())
        })
        .collect()
}

/// A valid block at 2,000 with one transfer.
fn valid(world: &World) -> Block {
    let (proposer, time) = (Who::Validator.account(), TimeMs::new(2_000));
    build_block(
        &world.state,
        &transfers(world, 1),
        proposer,
        time,
        &world.judge,
    )
    .unwrap()
    .block
}

fn refused(change: impl FnOnce(&mut Block)) -> BlockError {
    let world = World::new();
    let mut block = valid(&world);
    change(&mut block);
    apply_block(&world.state, &block, &world.judge).unwrap_err()
}

#[test]
fn a_block_follows_its_parent() {
    // Rule BLK-1: accept
    // Rule BLK-2: accept
    // Rule BLK-3: accept
    // Rule BLK-4: accept
    // Rule BLK-5: accept
    // Rule BLK-6: accept
    // Rule BLK-8: accept
    // Rule BLK-9: accept
    let mut world = World::new();
    assert_eq!(world.state.tip(), world.genesis.block_id());
    let block = valid(&world);
    let applied = apply_block(&world.state, &block, &world.judge).unwrap();
    assert_eq!(applied.state.tip(), block.id());
    assert_eq!(
        (applied.state.height(), applied.state.time()),
        (Height::new(1), TimeMs::new(2_000))
    );
    assert_eq!(applied.state.root(), block.state_root);
    world.state = applied.state;
    // one millisecond later is later
    world.pass(2_001);
    assert_eq!(world.state.height(), Height::new(2));
}

#[test]
fn rejects_another_version() {
    // Rule BLK-1: reject
    assert_eq!(
        refused(|block| block.version = 2),
        BlockError::Version {
            expected: 1,
            found: 2
        }
    );
}

#[test]
fn rejects_another_network() {
    // Rule BLK-2: reject
    let error = refused(|block| block.network = NetworkId::of(b"another"));
    assert!(matches!(error, BlockError::Network { .. }), "{error}");
}

#[test]
fn rejects_a_height_that_does_not_follow() {
    // Rule BLK-3: reject
    for height in [0, 2, u64::MAX] {
        let error = refused(|block| block.height = Height::new(height));
        assert_eq!(
            error,
            BlockError::Height {
                expected: Height::new(1),
                found: Height::new(height)
            }
        );
    }
}

#[test]
fn rejects_another_parent() {
    // Rule BLK-4: reject
    let error = refused(|block| block.parent = BlockId::of(b"another"));
    assert!(matches!(error, BlockError::Parent { .. }), "{error}");
}

#[test]
fn rejects_a_time_that_is_not_later_than_the_parents() {
    // Rule BLK-5: reject
    for time in [0, 999, 1_000] {
        let (parent, found) = (TimeMs::new(1_000), TimeMs::new(time));
        assert_eq!(
            refused(|block| block.time = found),
            BlockError::Time { parent, found }
        );
    }
    let world = World::new();
    let proposer = Who::Validator.account();
    let error = build_block(
        &world.state,
        &[],
        proposer,
        TimeMs::new(1_000),
        &world.judge,
    )
    .unwrap_err();
    assert_eq!(error.rule(), "BLK-5");
}

#[test]
fn rejects_a_proposer_that_does_not_validate() {
    // Rule BLK-6: reject
    let proposer = Who::Alice.account();
    assert_eq!(
        refused(|block| block.proposer = proposer),
        BlockError::Proposer { proposer }
    );
}

#[test]
fn a_block_holds_as_many_transactions_as_the_network_allows() {
    // Rule BLK-7: accept
    // Rule BLK-7: reject
    let mut genesis = genesis();
    genesis.parameters.max_block_transactions = 3;
    let mut world = World::on(genesis);
    let four = transfers(&world, 4);
    let block = world.block(2_000, four.clone());
    let error = apply_block(&world.state, &block, &world.judge).unwrap_err();
    assert_eq!(
        error,
        BlockError::TooLarge {
            what: "transactions",
            found: 4,
            limit: 3
        }
    );
    let (proposer, time) = (Who::Validator.account(), TimeMs::new(2_000));
    let built = build_block(&world.state, &four, proposer, time, &world.judge).unwrap();
    assert_eq!(built.skipped, vec![(four[3].id(), Skipped::NoRoom)]);
    world.accept_all(2_000, &four[..3]);
}

#[test]
fn a_block_holds_as_many_bytes_as_the_network_allows() {
    // Rule BLK-7: accept
    // Rule BLK-7: reject
    let one = transfers(&World::new(), 1)[0].to_bytes().len();
    let full = EMPTY_BLOCK_BYTES + 6 * one;
    for (limit, fitting) in [(full, 6), (full - 1, 5)] {
        let mut genesis = genesis();
        genesis.parameters.max_block_bytes = limit as u32;
        let world = World::on(genesis);
        let six = transfers(&world, 6);
        let (proposer, time) = (Who::Validator.account(), TimeMs::new(2_000));
        let built = build_block(&world.state, &six, proposer, time, &world.judge).unwrap();
        assert_eq!(built.block.transactions.len(), fitting);
        let result = apply_block(&world.state, &world.block(2_000, six), &world.judge);
        let found = result.unwrap_err();
        match fitting {
            6 => assert_eq!(
                found.rule(),
                "BLK-9",
                "it fits, only its root is not filled in"
            ),
            _ => assert_eq!(
                found,
                BlockError::TooLarge {
                    what: "bytes",
                    found: full,
                    limit
                }
            ),
        }
    }
}

#[test]
fn rejects_a_block_with_one_invalid_transaction() {
    // Rule BLK-8: reject
    let world = World::new();
    let mut transactions = transfers(&world, 3);
    transactions.swap(1, 2);
    let error = apply_block(
        &world.state,
        &world.block(2_000, transactions),
        &world.judge,
    )
    .unwrap_err();
    assert!(
        matches!(error, BlockError::Transaction { index: 1, .. }),
        "{error}"
    );
    assert_eq!(error.rule(), "BLK-8");
    assert!(error.to_string().contains("TX-3"), "{error}");
}

#[test]
fn rejects_another_state_root() {
    // Rule BLK-9: reject
    let error = refused(|block| block.state_root = StateRoot::of(b"another"));
    assert!(matches!(error, BlockError::StateRoot { .. }), "{error}");
    let error = refused(|block| block.transactions.clear());
    assert!(matches!(error, BlockError::StateRoot { .. }), "{error}");
}

#[test]
fn a_fresh_proposal_lies_near_the_clock() {
    // Rule BLK-10: accept
    // Rule BLK-10: reject
    let now = TimeMs::new(100_000);
    for (time, fresh) in [
        (94_999, false),
        (95_000, true),
        (100_000, true),
        (102_000, true),
        (102_001, false),
    ] {
        assert_eq!(is_fresh(TimeMs::new(time), now), fresh, "{time}");
    }
    assert!(is_fresh(TimeMs::ZERO, TimeMs::new(3)));
    assert!(is_fresh(TimeMs::new(u64::MAX), TimeMs::new(u64::MAX)));
}

#[test]
fn an_empty_block_has_the_stated_size() {
    assert_eq!(
        World::new().block(2_000, vec![]).to_bytes().len(),
        EMPTY_BLOCK_BYTES
    );
}

#[test]
fn every_part_of_the_state_changes_its_root() {
    // Rule ENC-4: accept
    let mut roots = std::collections::BTreeSet::new();
    let (mut world, competition) = World::opened();
    roots.insert(world.state.root());
    let name = world.register(OPENS_AT, Who::Alice, competition, "m");
    type Step = Box<dyn Fn(&mut World)>;
    let steps: Vec<Step> = vec![
        Box::new(|world| drop(world.pass(OPENS_AT + 1))),
        Box::new(move |world| drop(world.release(REGISTER_UNTIL, competition))),
        Box::new(move |world| world.submit(REGISTER_UNTIL + 1, Who::Alice, name, 300)),
        Box::new(move |world| {
            world.accept(
                REGISTER_UNTIL + 2,
                Who::Alice,
                bad_proof(name, 400, "forged"),
            );
        }),
        Box::new(|world| drop(world.pass(PROVE_UNTIL))),
    ];
    roots.insert(world.state.root());
    for step in &steps {
        step(&mut world);
        roots.insert(world.state.root());
    }
    assert_eq!(roots.len(), 2 + steps.len());
}

#[test]
fn the_root_does_not_depend_on_how_the_state_came_about() {
    // Rule ENC-4: accept
    // Rule ENC-4: reject
    let (mut world, competition, names) = World::proving(spec(), &[Who::Alice, Who::Bob]);
    world.submit(REGISTER_UNTIL + 1, Who::Alice, names[0], 300);
    world.accept(
        REGISTER_UNTIL + 2,
        Who::Bob,
        bad_proof(names[1], 400, "forged"),
    );
    for _ in 0..2 {
        let restored = State::restore(&world.genesis, &world.state.snapshot()).unwrap();
        assert_eq!(restored.root(), world.state.root());
        assert_eq!(restored.tip(), world.state.tip());
        assert_eq!(restored.next_deadline(), world.state.next_deadline());
        assert_eq!(
            restored.registration(&names[0]),
            world.state.registration(&names[0])
        );
        assert_eq!(
            restored.competition(&competition),
            world.state.competition(&competition)
        );
        world.state = restored;
        world.pass(PROVE_UNTIL + world.state.height().get());
    }
    let mut snapshot = world.state.snapshot();
    let last = snapshot.len() - 1;
    snapshot[last] ^= 1;
    let changed = State::restore(&world.genesis, &snapshot);
    assert!(changed.is_err() || changed.unwrap().root() != world.state.root());
}

#[test]
fn rejects_a_damaged_snapshot() {
    let (world, _, _) = World::proving(spec(), &[Who::Alice]);
    let snapshot = world.state.snapshot();
    for length in 0..snapshot.len() {
        assert!(
            State::restore(&world.genesis, &snapshot[..length]).is_err(),
            "cut to {length} bytes"
        );
    }
    let longer = [snapshot.clone(), vec![0]].concat();
    assert!(State::restore(&world.genesis, &longer).is_err());
    let mut other = genesis();
    other.name = "another".to_owned();
    assert!(
        State::restore(&other, &snapshot)
            .unwrap_err()
            .to_string()
            .contains("another network")
    );
}

#[test]
fn a_refused_block_leaves_the_state_as_it_was() {
    // Rule SUP-1: accept
    let world = World::new();
    let root = world.state.root();
    let mut block = valid(&world);
    block.state_root = StateRoot::of(b"another");
    assert!(apply_block(&world.state, &block, &world.judge).is_err());
    assert_eq!(world.state.root(), root);
    assert_eq!(world.state.total(), Amount::new(4 * START));
    assert_eq!(Block::from_bytes(&block.to_bytes()), Ok(block));
}
