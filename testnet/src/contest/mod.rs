//! A competition on a running network, driven by library calls instead of commands: what a host and its competitors sign,
//! send and prove is what the shipped commands would.

mod competitor;
pub mod task;

use std::time::Duration;

use agon_node::api::types::CompetitionView;
use agon_node::client::Client;
use agon_node::node::clock;
use agon_protocol::competition::{BlobRef, CompetitionSpec};
use agon_protocol::digest::{BlobId, CompetitionId, TransactionId};
use agon_protocol::metric::{Metric, Threshold};
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::units::{Amount, TimeMs};

pub use competitor::{Competitor, Proof, Workshop, send_with_blob, submission};
pub use task::Task;

use crate::account::{Account, failed};
use crate::{TestnetError, wait_for};

/// How long a phase may take to begin, beyond its deadline.
pub const PHASE_LIMIT: Duration = Duration::from_secs(60);

/// How long each phase lasts.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// From the signing of the competition to the opening of registration.
    pub open: Duration,
    /// Registration.
    pub register: Duration,
    /// The release of the key.
    pub key: Duration,
    /// Proofs, after the last moment for the key.
    pub prove: Duration,
}

/// What a host offers.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The phases.
    pub windows: Windows,
    /// The prize.
    pub prize: u64,
    /// Lost when the key is withheld.
    pub bond: u64,
    /// Of each registration.
    pub deposit: u64,
    /// Basis points of the prize by rank.
    pub payouts: Vec<u16>,
    /// Proofs a registration may submit.
    pub submissions: u8,
    /// Registrations an account may hold.
    pub registrations: u8,
}

impl Terms {
    /// A prize of 1,000 for the best, a bond of 100, a deposit of 10.
    pub fn new(windows: Windows) -> Self {
        Self {
            windows,
            prize: 1_000,
            bond: 100,
            deposit: 10,
            payouts: vec![10_000],
            submissions: 1,
            registrations: 1,
        }
    }
}

/// A competition and its host.
#[derive(Debug)]
pub struct Contest {
    /// The host's account.
    pub host: Account,
    /// The test set.
    pub task: Task,
    /// What the host has promised.
    pub spec: CompetitionSpec,
    /// Its name.
    pub id: CompetitionId,
    /// The transaction that opens it.
    pub opening: SignedTransaction,
}

impl Contest {
    /// Signs the competition; nothing is sent. The phases count from now.
    pub fn sign(mut host: Account, task: Task, terms: &Terms) -> Result<Self, TestnetError> {
        let Terms {
            windows,
            prize,
            bond,
            deposit,
            payouts,
            submissions,
            registrations,
        } = terms;
        let after = |start: TimeMs, length: Duration| {
            start.saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
        };
        let opens_at = after(clock::now(), windows.open);
        let register_until = after(opens_at, windows.register);
        let key_until = after(register_until, windows.key);
        let spec = CompetitionSpec {
            title: "made-up classes".into(),
            description: "four features, three classes".into(),
            encoding: task::encoding(),
            task: task.data.task(),
            samples: task.data.samples() as u32,
            metric: Metric::Accuracy,
            max_parameters: 1_000,
            training_data: None,
            sealed_data: blob_ref(&task.sealed),
            data_digest: task.data.digest(),
            key_commitment: task.key.commitment(),
            opens_at,
            register_until,
            key_until,
            prove_until: after(key_until, windows.prove),
            payouts: payouts.clone(),
            deposit: Amount::new(*deposit),
            submissions_per_registration: *submissions,
            registrations_per_account: *registrations,
            minimum: Threshold::None,
        };
        let opening = host.sign(Action::OpenCompetition {
            spec: Box::new(spec.clone()),
            prize: Amount::new(*prize),
            bond: Amount::new(*bond),
        });
        let id = opening.competition_id().ok_or_else(|| {
            TestnetError::Expectation("an opening that opens no competition".into())
        })?;
        Ok(Self {
            host,
            task,
            spec,
            id,
            opening,
        })
    }

    /// Publishes the test set on `client`, sends the competition, and waits until registration is open on all `clients`.
    pub fn open(&self, clients: &[&Client]) -> Result<(), TestnetError> {
        let Some(client) = clients.first() else {
            return Err(TestnetError::Expectation("no node runs".into()));
        };
        client
            .put_blob(&self.task.sealed)
            .map_err(failed("the sealed test set"))?;
        client.send(&self.opening).map_err(failed("the opening"))?;
        self.wait_listed(clients)?;
        wait_until(self.spec.opens_at)
    }

    /// Waits until all `clients` have the competition in a block.
    pub fn wait_listed(&self, clients: &[&Client]) -> Result<(), TestnetError> {
        wait_for("the competition on every node", PHASE_LIMIT, || {
            let listed = |client: &&Client| client.competition(&self.id).is_ok();
            Ok(clients.iter().all(listed).then_some(()))
        })
    }

    /// The competition as a node shows it.
    pub fn view(&self, client: &Client) -> Result<CompetitionView, TestnetError> {
        client
            .competition(&self.id)
            .map_err(failed("a competition"))
    }

    /// Waits for the end of registration and releases the key: the id of that transaction, once it is in a block.
    pub fn release_key(&mut self, client: &Client) -> Result<TransactionId, TestnetError> {
        wait_until(self.spec.register_until)?;
        let release = self.key_release();
        self.host.act(client, release, PHASE_LIMIT).map(|_| {
            self.host
                .sign_at(self.host.nonce() - 1, self.key_release())
                .id()
        })
    }

    /// The action that opens the test set.
    pub fn key_release(&self) -> Action {
        Action::ReleaseKey {
            competition: self.id,
            key: self.task.key,
        }
    }

    /// Waits until every one of `clients` shows the competition as ended, in the phase `phase` (`paid`, `void`).
    pub fn wait_end(&self, clients: &[&Client], phase: &str) -> Result<(), TestnetError> {
        let last = match self.key_is_out(clients)? {
            true => self.spec.prove_until,
            false => self.spec.key_until,
        };
        wait_until(last)?;
        for client in clients {
            wait_for(
                &format!("the end of the competition ({phase})"),
                PHASE_LIMIT,
                || {
                    let found = self.view(client)?.summary.phase;
                    match found.as_str() {
                        "paid" | "void" | "cancelled" if found != phase => {
                            Err(TestnetError::Expectation(format!(
                                "the competition ended as {found}, not as {phase}"
                            )))
                        }
                        _ => Ok((found == phase).then_some(())),
                    }
                },
            )?;
        }
        Ok(())
    }

    fn key_is_out(&self, clients: &[&Client]) -> Result<bool, TestnetError> {
        match clients.first() {
            Some(client) => Ok(self.view(client)?.key.is_some()),
            None => Ok(false),
        }
    }
}

/// Names bytes as a blob.
pub fn blob_ref(bytes: &[u8]) -> BlobRef {
    BlobRef {
        id: BlobId::of(bytes),
        length: bytes.len() as u64,
    }
}

/// Waits until the clock, by which proposers date their blocks, has passed a moment.
pub fn wait_until(moment: TimeMs) -> Result<(), TestnetError> {
    let left = Duration::from_millis(moment.since(clock::now()));
    wait_for("a moment of the schedule", left + PHASE_LIMIT, || {
        Ok((clock::now() > moment).then_some(()))
    })
}
