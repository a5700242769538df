//! What keeps a validator from starting is said clearly, and a crash keeps nothing from starting.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;

use crate::support::cluster::{Cluster, Node, config, until, validators};
use crate::support::ledger::{Controls, Ledger, read_chain};
use agon_consensus::{ConsensusError, Engine};

/// A log without entries: a version and a height.
const LOG_HEADER_BYTES: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_occupied_port_by_name() {
    let mut cluster = Cluster::new(1).await;
    let listener = TcpListener::bind(cluster.nodes[0].config.listen).unwrap();
    let error = cluster.nodes[0].start().await.unwrap_err();
    assert!(matches!(error, ConsensusError::Listen { .. }));
    let address = listener.local_addr().unwrap().to_string();
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_the_port_of_another_validator() {
    let mut cluster = Cluster::started(1).await;
    let mut other = Cluster::beside(&cluster);
    other.config.listen = cluster.nodes[0].config.listen;
    let error = other.start().await.unwrap_err();
    assert!(matches!(error, ConsensusError::Listen { .. }), "{error}");
    cluster.nodes[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_folder_in_use_and_a_damaged_log_and_leaves_it_alone() {
    let mut cluster = Cluster::started(1).await;
    let mut other = Cluster::beside(&cluster);
    other.config.home = cluster.nodes[0].config.home.clone();
    let error = other.start().await.unwrap_err();
    assert!(
        matches!(error, ConsensusError::WriteAheadLog { .. }),
        "{error}"
    );
    cluster.nodes[0].stop().await;

    let log = cluster.nodes[0].config.home.join("votes.wal");
    std::fs::write(&log, b"damaged").unwrap();
    let error = cluster.nodes[0].start().await.unwrap_err();
    assert!(
        matches!(error, ConsensusError::WriteAheadLog { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("do not delete"), "{error}");
    assert_eq!(std::fs::read(&log).unwrap(), b"damaged");
}

/// A validator that proposed and voted alone, and was stopped: it could not decide, so its votes are still in its log.
async fn stopped_with_votes_in_its_log(cluster: &mut Cluster) -> (&mut Node, PathBuf) {
    // The first proposer.
    let node = &mut cluster.nodes[1];
    node.start().await.unwrap();
    let log = node.config.home.join("votes.wal");
    until("an entry in the log", || {
        std::fs::metadata(&log).is_ok_and(|file| file.len() > LOG_HEADER_BYTES)
    })
    .await;
    node.stop().await;
    (node, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_altered_log_entry_every_time_and_leaves_it_alone() {
    let mut cluster = Cluster::new(4).await;
    let (node, log) = stopped_with_votes_in_its_log(&mut cluster).await;
    let mut bytes = std::fs::read(&log).unwrap();
    let last = bytes.last_mut().unwrap();
    *last ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    for _ in 0..2 {
        let error = node.start().await.unwrap_err();
        assert!(
            matches!(error, ConsensusError::WriteAheadLog { .. }),
            "{error}"
        );
        assert_eq!(std::fs::read(&log).unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_at_a_log_entry_it_cannot_decode_instead_of_voting_again() {
    let mut cluster = Cluster::new(4).await;
    let (node, log) = stopped_with_votes_in_its_log(&mut cluster).await;
    let mut entries = engine_wal::Log::open(&log).unwrap();
    entries.append(b"no entry of this program").unwrap();
    drop(entries);
    let bytes = std::fs::read(&log).unwrap();
    for _ in 0..2 {
        node.start().await.unwrap();
        let error = node.failed().await;
        assert!(
            matches!(error, ConsensusError::WriteAheadLog { .. }),
            "{error}"
        );
        assert_eq!(std::fs::read(&log).unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_sign_a_second_proposal_after_its_log_and_its_blocks_are_lost() {
    let mut cluster = Cluster::new(4).await;
    let (node, log) = stopped_with_votes_in_its_log(&mut cluster).await;
    std::fs::remove_file(&log).unwrap();
    std::fs::remove_dir_all(node.config.home.join("undecided")).unwrap();
    // its ledger would make another block now
    node.start().await.unwrap();
    let error = node.failed().await;
    assert!(matches!(error, ConsensusError::Contradiction(_)), "{error}");
    assert!(error.to_string().contains("agon node hold"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_the_same_again_after_its_log_alone_is_lost() {
    let mut cluster = Cluster::new(4).await;
    let (_, log) = stopped_with_votes_in_its_log(&mut cluster).await;
    std::fs::remove_file(&log).unwrap();
    for node in &mut cluster.nodes {
        node.start().await.unwrap();
    }
    cluster.agree(&[0, 1, 2, 3], 3).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_damaged_record_of_what_was_signed_and_leaves_it_alone() {
    let mut cluster = Cluster::new(4).await;
    let (node, _) = stopped_with_votes_in_its_log(&mut cluster).await;
    let files = std::fs::read_dir(&node.config.home).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let record = paths
        .find(|path| path.to_string_lossy().contains("signed-"))
        .unwrap();
    let mut bytes = std::fs::read(&record).unwrap();
    bytes[80] ^= 1;
    std::fs::write(&record, &bytes).unwrap();
    let error = node.start().await.unwrap_err();
    assert!(
        matches!(error, ConsensusError::SignedRecord { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains(record.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(std::fs::read(&record).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_when_the_ledger_fails_and_goes_on_once_it_is_repaired() {
    let mut cluster = Cluster::started(1).await;
    cluster.agree(&[0], 2).await;
    let node = &mut cluster.nodes[0];
    node.controls.full_disk.store(true, Ordering::SeqCst);
    let error = node.failed().await;
    assert!(matches!(error, ConsensusError::Application(_)), "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    let height = node.height();
    node.controls.full_disk.store(false, Ordering::SeqCst);
    node.start().await.unwrap();
    node.reach(height + 2).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_contradicting_configurations() {
    let mut cluster = Cluster::new(2).await;
    let node = &mut cluster.nodes[0];
    let good = node.config.clone();
    let good_set = node.controls.set_at(1);
    let mut twice = good_set.clone();
    twice[1] = twice[0];
    let mut too_strong = good_set.clone();
    too_strong[1].power = u64::MAX;
    for wrong in [Vec::new(), twice, too_strong] {
        node.controls.sets.lock().unwrap().insert(1, wrong);
        assert!(matches!(node.start().await, Err(ConsensusError::Config(_))));
    }
    node.controls.sets.lock().unwrap().insert(1, good_set);
    node.config = good;
    node.config.max_block_bytes = usize::MAX;
    assert!(matches!(node.start().await, Err(ConsensusError::Config(_))));
}

const CHILD: &str = "AGON_CONSENSUS_TEST_CHILD";

/// Not a test of its own: the validator that the next test runs as a process and kills.
#[tokio::test(flavor = "multi_thread")]
async fn child_validator() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let mut fields = arguments.split(' ');
    let home: std::path::PathBuf = fields.next().unwrap().into();
    let listen = fields.next().unwrap().parse().unwrap();
    let peers: Vec<_> = fields.map(|peer| peer.parse().unwrap()).collect();
    let number = peers.len() as u64;
    let controls = Controls::new(validators(number + 1));
    let ledger = Ledger::open(&home.join("ledger"), number, controls.into());
    let config = config(home, number, listen, peers);
    let mut engine = Engine::start(config, Box::new(ledger)).await.unwrap();
    let error = tokio::select! {
        error = engine.failed() => error.to_string(),
        // The parent died without killing us.
        () = tokio::time::sleep(2 * crate::support::cluster::LIMIT) => "too long".into(),
    };
    eprintln!("{error}");
    std::process::exit(1);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts the last node of the cluster as a process of its own.
fn spawn(cluster: &Cluster) -> Killed {
    let config = &cluster.nodes.last().unwrap().config;
    let mut arguments = format!("{} {}", config.home.display(), config.listen);
    for peer in &config.peers {
        arguments += &format!(" {peer}");
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["starting::child_validator", "--exact", "--nocapture"])
        .env(CHILD, arguments)
        .stdout(Stdio::null())
        .spawn();
    Killed(child.unwrap())
}

async fn kill_again_and_again(cluster: Cluster, pauses_ms: &[u64]) {
    let path = cluster.nodes.last().unwrap().ledger_path();
    let mut height = 0;
    for pause in pauses_ms {
        let child = spawn(&cluster);
        let wanted = height + 3;
        until("the killed validator to go on", || {
            read_chain(&path).0.len() >= wanted
        })
        .await;
        // Any moment will do: the pauses only differ.
        tokio::time::sleep(std::time::Duration::from_millis(*pause)).await;
        drop(child);
        height = read_chain(&path).0.len();
    }
    // One chain throughout, the same as that of everybody else.
    let chain: Vec<_> = read_chain(&path)
        .0
        .iter()
        .map(|block| block.certificate.block)
        .collect();
    for node in &cluster.nodes[..cluster.nodes.len() - 1] {
        assert_eq!(node.reach(chain.len()).await[..chain.len()], chain[..]);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_validator_killed_at_any_moment_goes_on() {
    kill_again_and_again(Cluster::new(1).await, &[0, 1, 3, 7, 12, 20]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_of_four_killed_at_any_moment_stays_in_agreement() {
    let mut cluster = Cluster::new(4).await;
    for node in &mut cluster.nodes[..3] {
        node.start().await.unwrap();
    }
    kill_again_and_again(cluster, &[0, 5, 11, 23]).await;
}
