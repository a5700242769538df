//! Who appears in the scenarios about competitions: four validators, funded accounts, a workshop for models and proofs.

use std::time::Duration;

use super::Stage;
use crate::TestnetError;
use crate::account::{Account, accepted_by_all, failed};
use crate::contest::{Task, Windows, Workshop};
use crate::network::{Network, START_LIMIT};
use crate::random::account_key;

use agon_node::client::Client;
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::Action;
use agon_protocol::units::Amount;

/// Validators of these scenarios: one may fail.
pub(super) const VALIDATORS: usize = 4;
/// A transaction is final in well under a second; on a machine where it takes this long something is stuck.
pub(super) const FINAL_LIMIT: Duration = Duration::from_secs(120);

/// A running network, and accounts with these balances on it.
pub(super) fn network_with(
    stage: &Stage,
    balances: &[u64],
) -> Result<(Network, Vec<Account>), TestnetError> {
    let keys: Vec<_> = (0..balances.len() as u32)
        .map(|number| account_key(stage.settings.seed, number))
        .collect();
    let funded: Vec<_> = keys
        .iter()
        .zip(balances)
        .map(|(key, balance)| (AccountId::of(key), *balance))
        .collect();
    let network = Network::start(&stage.folder, VALIDATORS, &funded)?;
    network.wait_peers(VALIDATORS - 1, START_LIMIT)?;
    let id = network.id();
    let accounts = keys.into_iter().map(|key| Account::new(key, id)).collect();
    Ok((network, accounts))
}

/// Waits until a first transaction is final everywhere: before it the validators may still be finding each other.
pub(super) fn warm_up(account: &mut Account, clients: &[&Client]) -> Result<(), TestnetError> {
    let transfer = account.sign(Action::Transfer {
        to: account.id(),
        amount: Amount::new(1),
    });
    let Some(client) = clients.first() else {
        return Ok(());
    };
    let id = client.send(&transfer).map_err(failed("a transfer"))?.id;
    accepted_by_all(clients, &id, FINAL_LIMIT).map(drop)
}

/// A task and a workshop for it that shares the nodes' generators.
pub(super) fn workshop(stage: &Stage, network: &Network) -> Result<(Task, Workshop), TestnetError> {
    let generators = network.config(0)?.generators_dir();
    let task = Task::new(stage.settings.seed)?;
    Ok((task, Workshop::new(&generators, stage.settings.seed)))
}

/// Phases with room for so many registrations and proofs on a machine where one proof takes `proof`: deadlines are set before
/// the work begins, so that their length is the only thing here that must be guessed.
pub(super) fn windows(proof: Duration, registrations: usize, proofs: usize) -> Windows {
    let second = Duration::from_secs(1);
    let proof = proof.max(Duration::from_millis(100));
    Windows {
        open: second,
        register: 5 * second + proof * (registrations as u32).div_ceil(4),
        key: 4 * second + 2 * proof,
        prove: 4 * second + proof * (4 * proofs as u32 + 10),
    }
}

/// The balance of an account on each node.
pub(super) fn balances(clients: &[&Client], account: &AccountId) -> Result<Vec<u64>, TestnetError> {
    clients
        .iter()
        .map(|client| {
            Ok(client
                .account(account)
                .map_err(failed("a balance"))?
                .balance)
        })
        .collect()
}

/// Every node must say that an account has this balance.
pub(super) fn expect_balance(
    clients: &[&Client],
    who: &str,
    account: &AccountId,
    expected: u64,
) -> Result<(), TestnetError> {
    let found = balances(clients, account)?;
    match found.iter().all(|balance| *balance == expected) {
        true => Ok(()),
        false => Err(TestnetError::Invariant(format!(
            "{who} was to have {expected}, and has {found:?}"
        ))),
    }
}

/// A fact that the scenario is about.
pub(super) fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), TestnetError> {
    match holds {
        true => Ok(()),
        false => Err(TestnetError::Expectation(what())),
    }
}
