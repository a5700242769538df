//! The genesis of a network: who validates, who starts with how much, and the parameters that its rules use. Its
//! digest is the network's name, so two networks that differ in anything cannot take each other's transactions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_bytes, encode_list};
use crate::digest::{BlockId, NetworkId};
use crate::governance::KNOWN_PROTOCOL_VERSION;
use crate::identity::AccountId;
use crate::limits::{
    MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, MAX_GENESIS_BALANCES, MAX_NETWORK_NAME_BYTES,
    MAX_SAMPLES, MAX_TOTAL_POWER, MAX_VALIDATORS,
};
use crate::units::{Amount, TimeMs};

/// A member of the validator set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// Its key.
    pub account: AccountId,
    /// Its voting power.
    pub power: u64,
}

/// An account's first balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisBalance {
    /// The account.
    pub account: AccountId,
    /// What it starts with.
    pub amount: Amount,
}

/// The numbers that a network's rules use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Least number of samples of a test set: an exact score on a tiny one tells too much about labels and weights.
    pub min_samples: u32,
    /// Least deposit of a registration.
    pub min_deposit: Amount,
    /// Least bond of a host.
    pub min_bond: Amount,
    /// Least duration of each of registration, key release and proving: several proposers' turns, so that one that
    /// leaves out a transaction cannot make it late.
    pub min_window_ms: u64,
    /// Longest time from the opening of a competition to its settlement.
    pub max_duration_ms: u64,
    /// Most bytes of a block.
    pub max_block_bytes: u32,
    /// Most transactions of a block.
    pub max_block_transactions: u32,
}

impl Default for Parameters {
    /// Values for a test network.
    fn default() -> Self {
        Self {
            min_samples: 100,
            min_deposit: Amount::new(1),
            min_bond: Amount::new(1),
            min_window_ms: 1_000,
            max_duration_ms: 400 * 24 * 60 * 60 * 1_000,
            max_block_bytes: MAX_BLOCK_BYTES as u32,
            max_block_transactions: 1_000,
        }
    }
}

/// Where a network starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The network's name, for people.
    pub name: String,
    /// The version of the rules that the network starts with.
    pub protocol_version: u16,
    /// Every block's time is later.
    pub time: TimeMs,
    /// Who orders and verifies.
    pub validators: Vec<GenesisValidator>,
    /// Who starts with how much. The sum is the supply for ever.
    pub balances: Vec<GenesisBalance>,
    /// The numbers of the rules.
    pub parameters: Parameters,
}

/// Why a genesis cannot start a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenesisError {
    /// Rule GEN-1.
    #[error("the name must have 1 to {MAX_NETWORK_NAME_BYTES} bytes and no control character")]
    Name,
    /// Rule GEN-2.
    #[error("there are {found} {what}, give {least} to {most}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The count.
        found: usize,
        /// The smallest accepted.
        least: usize,
        /// The largest accepted.
        most: usize,
    },
    /// Rules GEN-2 and GEN-3.
    #[error("{account} appears twice among the {what}, list it once")]
    Twice {
        /// Which list.
        what: &'static str,
        /// The account.
        account: AccountId,
    },
    /// Rule GEN-2.
    #[error("validator {account} has no usable ed25519 key")]
    Key {
        /// The validator.
        account: AccountId,
    },
    /// Rule GEN-2.
    #[error("every validator needs a power above 0, and all together at most {MAX_TOTAL_POWER}")]
    Power,
    /// Rule GEN-3.
    #[error("the balances add up to more than an amount can hold")]
    Supply,
    /// Rule GEN-5.
    #[error(
        "the network starts with version {found} of the rules, this software knows version {known}; update it"
    )]
    Version {
        /// The genesis' version.
        found: u16,
        /// The newest that this code executes.
        known: u16,
    },
    /// Rule GEN-4.
    #[error("parameter {what} is {found}, it must be between {least} and {most}")]
    Parameter {
        /// The parameter.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The smallest accepted.
        least: u64,
        /// The largest accepted.
        most: u64,
    },
}

impl Genesis {
    /// The network's name: the digest of the canonical encoding.
    pub fn network_id(&self) -> NetworkId {
        NetworkId::of(&self.to_bytes())
    }

    /// What the first block names as its parent.
    pub fn block_id(&self) -> BlockId {
        BlockId::of(&self.to_bytes())
    }

    /// All money of the network, for ever.
    pub fn supply(&self) -> Result<Amount, GenesisError> {
        Amount::checked_sum(self.balances.iter().map(|balance| balance.amount))
            .ok_or(GenesisError::Supply)
    }

    /// Checks every rule on a genesis.
    pub fn validate(&self) -> Result<(), GenesisError> {
        self.check_name()?;
        self.check_version()?;
        self.check_validators()?;
        self.check_balances()?;
        self.parameters.validate()
    }

    /// # Rule GEN-1
    /// The name has 1 to 64 bytes and no control character.
    fn check_name(&self) -> Result<(), GenesisError> {
        let fits = (1..=MAX_NETWORK_NAME_BYTES).contains(&self.name.len());
        match fits && !self.name.chars().any(char::is_control) {
            true => Ok(()),
            false => Err(GenesisError::Name),
        }
    }

    /// # Rule GEN-5
    /// The version of the rules is one that exists: 1.
    fn check_version(&self) -> Result<(), GenesisError> {
        match (1..=KNOWN_PROTOCOL_VERSION).contains(&self.protocol_version) {
            true => Ok(()),
            false => Err(GenesisError::Version {
                found: self.protocol_version,
                known: KNOWN_PROTOCOL_VERSION,
            }),
        }
    }

    /// # Rule GEN-2
    /// There are 1 to 256 validators with different, usable keys, each with a power above 0, and all powers together
    /// are at most 2^60.
    fn check_validators(&self) -> Result<(), GenesisError> {
        check_members(self.validators.iter().map(|v| (v.account, v.power)))
    }

    /// # Rule GEN-3
    /// There are at most 65,536 balances, of different accounts, and their sum fits an amount.
    fn check_balances(&self) -> Result<(), GenesisError> {
        count("balances", self.balances.len(), 0, MAX_GENESIS_BALANCES)?;
        distinct("balances", self.balances.iter().map(|b| b.account))?;
        self.supply().map(|_| ())
    }
}

/// The accounts and powers of a validator set.
pub(crate) fn check_members(
    members: impl Iterator<Item = (AccountId, u64)> + Clone,
) -> Result<(), GenesisError> {
    count("validators", members.clone().count(), 1, MAX_VALIDATORS)?;
    distinct("validators", members.clone().map(|(account, _)| account))?;
    let mut total: u64 = 0;
    for (account, power) in members {
        if !account.is_usable() {
            return Err(GenesisError::Key { account });
        }
        total = total.saturating_add(power);
        if power == 0 || total > MAX_TOTAL_POWER {
            return Err(GenesisError::Power);
        }
    }
    Ok(())
}

fn count(what: &'static str, found: usize, least: usize, most: usize) -> Result<(), GenesisError> {
    match (least..=most).contains(&found) {
        true => Ok(()),
        false => Err(GenesisError::Count {
            what,
            found,
            least,
            most,
        }),
    }
}

fn distinct(
    what: &'static str,
    accounts: impl Iterator<Item = AccountId>,
) -> Result<(), GenesisError> {
    let mut seen = BTreeSet::new();
    for account in accounts {
        if !seen.insert(account) {
            return Err(GenesisError::Twice { what, account });
        }
    }
    Ok(())
}

impl Parameters {
    /// # Rule GEN-4
    /// `min_samples` is 1 to 1,000,000, `min_deposit` and `min_bond` are at least 1, `max_duration_ms` is at least three
    /// times `min_window_ms`, a block holds 1 KiB to 4 MiB and 1 to 10,000 transactions.
    fn validate(&self) -> Result<(), GenesisError> {
        let Self {
            min_samples,
            min_deposit,
            min_bond,
            min_window_ms,
            max_duration_ms,
            max_block_bytes,
            max_block_transactions,
        } = *self;
        let ranges = [
            ("min_samples", u64::from(min_samples), 1, MAX_SAMPLES as u64),
            ("min_deposit", min_deposit.get(), 1, u64::MAX),
            ("min_bond", min_bond.get(), 1, u64::MAX),
            ("min_window_ms", min_window_ms, 0, u64::MAX / 3),
            (
                "max_duration_ms",
                max_duration_ms,
                min_window_ms.saturating_mul(3),
                u64::MAX,
            ),
            (
                "max_block_bytes",
                u64::from(max_block_bytes),
                1_024,
                MAX_BLOCK_BYTES as u64,
            ),
            (
                "max_block_transactions",
                u64::from(max_block_transactions),
                1,
                MAX_BLOCK_TRANSACTIONS as u64,
            ),
        ];
        for (what, found, least, most) in ranges {
            if !(least..=most).contains(&found) {
                return Err(GenesisError::Parameter {
                    what,
                    found,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}

impl Encode for GenesisValidator {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { account, power } = self;
        account.encode(out);
        power.encode(out);
    }
}

impl Decode for GenesisValidator {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            account: AccountId::decode(reader)?,
            power: u64::decode(reader)?,
        })
    }
}

impl Encode for GenesisBalance {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { account, amount } = self;
        account.encode(out);
        amount.encode(out);
    }
}

impl Decode for GenesisBalance {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            account: AccountId::decode(reader)?,
            amount: Amount::decode(reader)?,
        })
    }
}

impl Encode for Parameters {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            min_samples,
            min_deposit,
            min_bond,
            min_window_ms,
            max_duration_ms,
            max_block_bytes,
            max_block_transactions,
        } = self;
        min_samples.encode(out);
        min_deposit.encode(out);
        min_bond.encode(out);
        min_window_ms.encode(out);
        max_duration_ms.encode(out);
        max_block_bytes.encode(out);
        max_block_transactions.encode(out);
    }
}

impl Decode for Parameters {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            min_samples: u32::decode(reader)?,
            min_deposit: Amount::decode(reader)?,
            min_bond: Amount::decode(reader)?,
            min_window_ms: u64::decode(reader)?,
            max_duration_ms: u64::decode(reader)?,
            max_block_bytes: u32::decode(reader)?,
            max_block_transactions: u32::decode(reader)?,
        })
    }
}

impl Encode for Genesis {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            name,
            protocol_version,
            time,
            validators,
            balances,
            parameters,
        } = self;
        encode_bytes(name.as_bytes(), out);
        protocol_version.encode(out);
        time.encode(out);
        encode_list(validators, out);
        encode_list(balances, out);
        parameters.encode(out);
    }
}

impl Decode for Genesis {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: reader.text(MAX_NETWORK_NAME_BYTES, "name")?,
            protocol_version: u16::decode(reader)?,
            time: TimeMs::decode(reader)?,
            validators: reader.list(MAX_VALIDATORS, 40, "validators")?,
            balances: reader.list(MAX_GENESIS_BALANCES, 40, "balances")?,
            parameters: Parameters::decode(reader)?,
        })
    }
}
