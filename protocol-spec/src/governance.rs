//! Who orders and verifies, and which version of the rules is in force. Both change by measures that validators with more than
//! two thirds of the voting power approve; see [`crate::transition`].

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_list};
use crate::genesis::{Genesis, check_members};
use crate::identity::AccountId;
use crate::limits::{MAX_OPEN_APPROVALS, MAX_VALIDATORS};
use crate::units::Height;

/// The newest version of the rules that this code executes.
pub const KNOWN_PROTOCOL_VERSION: u16 = 1;

/// What precedes network and old key in the bytes that a validator's new key signs.
pub const POSSESSION_CONTEXT: &[u8] = b"agon 2026-11 validator key possession";

/// A change that validators approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "measure", rename_all = "snake_case", deny_unknown_fields)]
pub enum Measure {
    /// Gives a validator this power: one that is not in the set joins, one with power 0 leaves.
    SetPower {
        /// The validator.
        account: AccountId,
        /// Its power from the next height on.
        power: u64,
    },
    /// Puts the next version of the rules in force.
    Upgrade {
        /// The version.
        version: u16,
        /// The first height that it rules.
        height: Height,
    },
}

impl Measure {
    /// Whether it sets the power of this key.
    pub(crate) fn is_about(&self, key: &AccountId) -> bool {
        matches!(self, Self::SetPower { account, power: _ } if account == key)
    }
}

/// A version of the rules that will come into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The version.
    pub version: u16,
    /// The first height that it rules.
    pub height: Height,
}

/// A member of the validator set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// Its key.
    pub account: AccountId,
    /// Its voting power, above 0.
    pub power: u64,
    /// When it last changed its key.
    pub rotated_at: Option<Height>,
    /// The measures that it approves and that did not take effect yet, the oldest first.
    pub approvals: Vec<Measure>,
}

/// The validator set and the version of the rules, with what is under way to change them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Governance {
    /// The validators, in the order in which they joined.
    pub validators: Vec<Validator>,
    /// How many measures have changed the set. An approval names it, so that it counts for one set only.
    pub set_version: u64,
    /// The version of the rules in force at the last block.
    pub protocol_version: u16,
    /// The version that follows.
    pub upgrade: Option<Upgrade>,
}

impl Governance {
    pub(crate) fn genesis(genesis: &Genesis) -> Self {
        let validator = |member: &crate::genesis::GenesisValidator| Validator {
            account: member.account,
            power: member.power,
            rotated_at: None,
            approvals: Vec::new(),
        };
        Self {
            validators: genesis.validators.iter().map(validator).collect(),
            set_version: 0,
            protocol_version: genesis.protocol_version,
            upgrade: None,
        }
    }

    /// A validator.
    pub fn validator(&self, account: &AccountId) -> Option<&Validator> {
        self.validators.iter().find(|v| v.account == *account)
    }

    /// The power of all validators, at most 2^60.
    pub fn total_power(&self) -> u64 {
        self.validators.iter().map(|v| v.power).sum()
    }

    /// The power of the validators that approve `measure`.
    pub fn approving_power(&self, measure: &Measure) -> u64 {
        let approving = |v: &&Validator| v.approvals.contains(measure);
        self.validators
            .iter()
            .filter(approving)
            .map(|v| v.power)
            .sum()
    }

    /// Whether `power` is more than two thirds of all.
    pub fn is_quorum(&self, power: u64) -> bool {
        u128::from(power) * 3 > u128::from(self.total_power()) * 2
    }

    /// Every measure that somebody approves, each once, in the order of validators and approvals.
    pub fn open_measures(&self) -> Vec<Measure> {
        let mut open = Vec::new();
        for measure in self.validators.iter().flat_map(|v| &v.approvals) {
            if !open.contains(measure) {
                open.push(*measure);
            }
        }
        open
    }

    /// # Rule UPG-2
    /// From the height of a scheduled upgrade on, its version is in force.
    pub fn version_at(&self, height: Height) -> u16 {
        match self.upgrade {
            Some(upgrade) if height >= upgrade.height => upgrade.version,
            _ => self.protocol_version,
        }
    }

    /// Whether a set could have come about by the rules; for states that are read back.
    pub(crate) fn is_sound(&self) -> bool {
        let members = self.validators.iter().map(|v| (v.account, v.power));
        check_members(members).is_ok()
            && self.protocol_version > 0
            && self
                .upgrade
                .is_none_or(|upgrade| upgrade.version == self.protocol_version.saturating_add(1))
    }
}

impl Encode for Measure {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::SetPower { account, power } => {
                out.push(0);
                account.encode(out);
                power.encode(out);
            }
            Self::Upgrade { version, height } => {
                out.push(1);
                version.encode(out);
                height.encode(out);
            }
        }
    }
}

impl Decode for Measure {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::SetPower {
                account: AccountId::decode(reader)?,
                power: u64::decode(reader)?,
            },
            1 => Self::Upgrade {
                version: u16::decode(reader)?,
                height: Height::decode(reader)?,
            },
            _ => return Err(DecodeError::Invalid { what: "measure" }),
        })
    }
}

impl Encode for Upgrade {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { version, height } = self;
        version.encode(out);
        height.encode(out);
    }
}

impl Decode for Upgrade {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: u16::decode(reader)?,
            height: Height::decode(reader)?,
        })
    }
}

impl Encode for Validator {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            account,
            power,
            rotated_at,
            approvals,
        } = self;
        account.encode(out);
        power.encode(out);
        rotated_at.encode(out);
        encode_list(approvals, out);
    }
}

impl Decode for Validator {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            account: AccountId::decode(reader)?,
            power: u64::decode(reader)?,
            rotated_at: Option::decode(reader)?,
            approvals: reader.list(MAX_OPEN_APPROVALS, 11, "approvals")?,
        })
    }
}

impl Encode for Governance {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            validators,
            set_version,
            protocol_version,
            upgrade,
        } = self;
        encode_list(validators, out);
        set_version.encode(out);
        protocol_version.encode(out);
        upgrade.encode(out);
    }
}

impl Decode for Governance {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            validators: reader.list(MAX_VALIDATORS, 45, "validators")?,
            set_version: u64::decode(reader)?,
            protocol_version: u16::decode(reader)?,
            upgrade: Option::decode(reader)?,
        })
    }
}
