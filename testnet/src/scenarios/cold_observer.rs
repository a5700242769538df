//! A node without a key joins a network that has a history: some hundred blocks, and a competition whose sealed test set it must
//! fetch and open to judge the release of its key.
//!
//! Expected: it checks and applies every block from genesis on, has the same state roots, and follows live.

use std::time::{Duration, Instant};

use agon_node::client::ClientError;
use agon_node::{node::clock, sealed};
use agon_protocol::competition::{BlobRef, CompetitionSpec};
use agon_protocol::digest::ModelDigest;
use agon_protocol::identity::AccountId;
use agon_protocol::metric::{Metric, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding, Task};
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use agon_protocol::units::Amount;
use ed25519_dalek::SigningKey;

use super::traffic::Traffic;
use super::{Figures, Stage};
use crate::network::Network;
use crate::random::{Random, account_key};
use crate::{LIMIT, TestnetError, invariants, wait_for};

const VALIDATORS: [usize; 4] = [0, 1, 2, 3];
const SAMPLES: u32 = 2_000;
const FEATURES: usize = 200;
const FUNDS: u64 = 10_000;
/// Long enough for a loaded machine to register in time.
const WINDOW_MS: u64 = 10_000;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let seed = stage.settings.seed;
    let host = Party::new(account_key(seed, 1));
    let competitor = Party::new(account_key(seed, 2));
    let funded = [
        Traffic::funded(stage),
        (host.account, FUNDS),
        (competitor.account, FUNDS),
    ];
    let mut network = Network::start(&stage.folder, VALIDATORS.len(), &funded)?;
    let mut traffic = Traffic::new(stage, &network);
    let blocks = u64::from(stage.rounds(300, 30));
    let mut parties = [host, competitor];
    let blob = open_and_release(&network, &mut traffic, &mut parties, stage.random())?;
    while network.height() < blocks {
        traffic.commit(&network, &VALIDATORS[..1])?;
    }
    let history = network.height();

    let observer = network.add_observer()?;
    let start = Instant::now();
    network.start_node(observer)?;
    let started = start.elapsed();
    wait_for("the whole history at the observer", 2 * LIMIT, || {
        let status = network
            .client(observer)
            .and_then(|client| client.status().ok());
        Ok(status.filter(|status| status.height >= history).map(drop))
    })?;
    let synced = start.elapsed().saturating_sub(started);
    let client = network.client(observer);
    let client = client.ok_or_else(|| TestnetError::Node("the observer ended".to_owned()))?;
    wait_for("the test set at the observer", LIMIT, || {
        Ok(client.blob(&blob.id, blob.length).ok().map(drop))
    })?;
    let mut live = Duration::ZERO;
    let transfers = stage.either(20, 5);
    for _ in 0..transfers {
        live += traffic.commit(&network, &[0, observer])?;
    }
    let mut accepted = traffic.accepted().to_vec();
    accepted.extend(parties.iter().flat_map(|party| &party.sent));
    let facts = invariants::hold(&mut network, &accepted)?;
    let mut figures = Figures::new();
    figures.count("history", history, "blocks");
    figures.count("sealed test set in it", blob.length, "bytes");
    figures.measure("synced, all checked", synced.as_secs_f64(), "s");
    let pace = history as f64 / synced.as_secs_f64().max(0.001);
    figures.measure("pace", pace, "blocks/s");
    let lag = live.as_secs_f64() * 1000.0 / f64::from(transfers);
    figures.measure(
        "then live: a transfer sent to the observer or one validator, in a block at both after",
        lag,
        "ms",
    );
    figures.count("heights, alike on all five", facts.heights, "heights");
    Ok(figures)
}

/// An account that acts, and what it sent.
struct Party {
    key: SigningKey,
    account: AccountId,
    sent: Vec<agon_protocol::digest::TransactionId>,
}

impl Party {
    fn new(key: SigningKey) -> Self {
        let account = AccountId::of(&key);
        let sent = Vec::new();
        Self { key, account, sent }
    }

    /// Sends its next transaction and waits until it is in a block.
    fn act(
        &mut self,
        network: &Network,
        action: Action,
    ) -> Result<SignedTransaction, TestnetError> {
        let transaction = Transaction {
            network: network.id(),
            sender: self.account,
            nonce: self.sent.len() as u64,
            action,
        };
        let signed = transaction.sign(&self.key);
        let client = network.clients()[0];
        client.send(&signed).map_err(refused)?;
        self.sent.push(signed.id());
        invariants::nothing_lost(client, &[signed.id()], LIMIT)?;
        Ok(signed)
    }
}

fn refused(error: ClientError) -> TestnetError {
    TestnetError::Expectation(error.to_string())
}

/// A competition with a test set of some bytes is opened, someone registers, and the host releases the key, which every node
/// judges by opening the test set.
fn open_and_release(
    network: &Network,
    traffic: &mut Traffic,
    [host, competitor]: &mut [Party; 2],
    mut random: Random,
) -> Result<BlobRef, TestnetError> {
    let unusable = |error: String| TestnetError::Node(error);
    let mut numbers = |count: usize, below| -> Vec<u16> {
        (0..count).map(|_| random.below(below) as u16).collect()
    };
    let inputs = numbers(SAMPLES as usize * FEATURES, 256);
    let labels = numbers(SAMPLES as usize, 2);
    let data =
        Dataset::new(FEATURES, 2, inputs, labels).map_err(|error| unusable(error.to_string()))?;
    let key = sealed::new_key().map_err(|error| unusable(error.to_string()))?;
    let bytes = sealed::seal(&key, &data).map_err(|error| unusable(error.to_string()))?;
    let stored = network.clients()[1].put_blob(&bytes).map_err(refused)?;
    let blob = BlobRef {
        id: stored.id,
        length: stored.length,
    };
    let open = host.act(
        network,
        Action::OpenCompetition {
            spec: Box::new(terms(&data, blob, &key)),
            prize: Amount::new(500),
            bond: Amount::new(50),
        },
    )?;
    let competition = open
        .competition_id()
        .ok_or_else(|| unusable("it opens no competition".to_owned()))?;
    let phase = |wanted: &str| {
        let view = network.clients()[0].competition(&competition);
        Ok(view
            .is_ok_and(|view| view.summary.phase == wanted)
            .then_some(()))
    };
    wait_for("registration", LIMIT, || phase("open"))?;
    competitor.act(
        network,
        Action::Register {
            competition,
            model: ModelDigest::of(&random.bytes(32)),
        },
    )?;
    wait_for("the end of registration", LIMIT, || {
        traffic.commit(network, &VALIDATORS[..1])?;
        phase("sealed")
    })?;
    host.act(network, Action::ReleaseKey { competition, key })?;
    Ok(blob)
}

fn terms(data: &Dataset, sealed_data: BlobRef, key: &DataKey) -> CompetitionSpec {
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: 255,
    };
    let opens_at = clock::now();
    CompetitionSpec {
        title: "for an observer".into(),
        description: "a test set to fetch and open".into(),
        encoding: InputEncoding {
            features: vec![feature; FEATURES],
        },
        task: Task::from(2),
        samples: SAMPLES,
        metric: Metric::Accuracy,
        max_parameters: 100,
        training_data: None,
        sealed_data,
        data_digest: data.digest(),
        key_commitment: key.commitment(),
        opens_at,
        register_until: opens_at.saturating_add(WINDOW_MS),
        key_until: opens_at.saturating_add(12 * WINDOW_MS),
        prove_until: opens_at.saturating_add(13 * WINDOW_MS),
        payouts: vec![10_000],
        deposit: Amount::new(10),
        submissions_per_registration: 1,
        registrations_per_account: 1,
        minimum: Threshold::AtLeast {
            millionths: 500_000,
        },
    }
}
