//! A state as bytes, for a store: everything but what the genesis says.

use std::collections::BTreeSet;
use std::sync::Arc;

use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_length};
use crate::competition::Competition;
use crate::digest::BlockId;
use crate::genesis::{Genesis, GenesisError};
use crate::governance::Governance;
use crate::identity::AccountId;
use crate::limits::MAX_STATE_ENTRIES;
use crate::state::{Account, Accounts, State, Table};
use crate::units::{Amount, Height, TimeMs};

/// Why bytes are not a state of a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// The genesis cannot start a network.
    #[error("the genesis is not usable: {0}")]
    Genesis(#[from] GenesisError),
    /// The bytes do not decode.
    #[error("the stored state is damaged: {0}")]
    Decode(#[from] DecodeError),
    /// The records contradict each other.
    #[error("the stored state is damaged: {what}")]
    Inconsistent {
        /// What does not fit.
        what: &'static str,
    },
}

impl State {
    /// Everything that [`State::restore`] needs besides the genesis.
    pub fn snapshot(&self) -> Vec<u8> {
        let Self {
            network,
            parameters: _,
            supply: _,
            height,
            time,
            tip,
            treasury,
            governance,
            accounts,
            competitions,
            owners: _,
            deadlines: _,
        } = self;
        let mut out = Vec::new();
        network.encode(&mut out);
        height.encode(&mut out);
        time.encode(&mut out);
        tip.encode(&mut out);
        treasury.encode(&mut out);
        governance.encode(&mut out);
        encode_length(accounts.0.len(), &mut out);
        for (id, account) in accounts.0.iter() {
            id.encode(&mut out);
            account.encode(&mut out);
        }
        encode_length(competitions.len(), &mut out);
        for (_, competition) in competitions.iter() {
            competition.encode(&mut out);
        }
        out
    }

    /// The state that `snapshot` was taken from, on the network of `genesis`. Whoever restores compares
    /// [`State::root`] with the root in the block named by [`State::tip`].
    pub fn restore(genesis: &Genesis, snapshot: &[u8]) -> Result<Self, RestoreError> {
        let inconsistent = |what| RestoreError::Inconsistent { what };
        let mut state = State::genesis(genesis)?;
        let mut reader = Reader::new(snapshot);
        if crate::digest::NetworkId::decode(&mut reader)? != state.network {
            return Err(inconsistent("it belongs to another network"));
        }
        state.height = Height::decode(&mut reader)?;
        state.time = TimeMs::decode(&mut reader)?;
        state.tip = BlockId::decode(&mut reader)?;
        state.treasury = Amount::decode(&mut reader)?;
        let governance = Governance::decode(&mut reader)?;
        if !governance.is_sound() {
            return Err(inconsistent("its validator set or version of the rules"));
        }
        *state.governance_mut() = Arc::new(governance);
        let mut money = vec![state.treasury];

        state.accounts = Accounts(Table::new());
        let mut last = None;
        for _ in 0..reader.length(MAX_STATE_ENTRIES, 48, "accounts")? {
            let (id, account) = (
                AccountId::decode(&mut reader)?,
                Account::decode(&mut reader)?,
            );
            if last >= Some(id) || account == Account::default() {
                return Err(inconsistent(
                    "the accounts are not in order, or one is empty",
                ));
            }
            last = Some(id);
            money.push(account.balance);
            state.accounts.set(&id, account);
        }

        let (mut last, mut seen) = (None, BTreeSet::new());
        for _ in 0..reader.length(MAX_STATE_ENTRIES, 300, "competitions")? {
            let competition = Competition::decode(&mut reader)?;
            let id = competition.id;
            let owned = |r: &crate::competition::Registration| r.competition == id;
            let mut names = competition.registrations.iter().map(|r| r.id);
            if last >= Some(id)
                || !competition.registrations.iter().all(owned)
                || !names.all(|name| seen.insert(name))
            {
                return Err(inconsistent(
                    "the competitions or registrations are not in order",
                ));
            }
            last = Some(id);
            money.push(competition.escrow);
            state.insert_competition(competition);
        }
        reader.finish()?;
        match Amount::checked_sum(money) == Some(state.supply) {
            true => Ok(state),
            false => Err(inconsistent("its money is not the supply of the genesis")),
        }
    }
}
