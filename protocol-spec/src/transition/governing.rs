//! Changing who validates, with which key, and by which version of the rules.

use std::sync::Arc;

use crate::codec::Encode;
use crate::digest::NetworkId;
use crate::governance::{Governance, Measure, POSSESSION_CONTEXT, Upgrade, Validator};
use crate::identity::{AccountId, Signature, verify};
use crate::limits::{MAX_OPEN_APPROVALS, MAX_TOTAL_POWER, MAX_VALIDATORS, MIN_ROTATION_BLOCKS};
use crate::state::State;
use crate::transition::{Event, TransactionError};
use crate::units::Height;

/// # Rule VAL-1
/// Only a validator approves a measure or changes its key.
fn sending_validator<'a>(
    state: &'a State,
    sender: &AccountId,
) -> Result<&'a Validator, TransactionError> {
    let validator = state.governance().validator(sender);
    validator.ok_or(TransactionError::NotValidator)
}

/// # Rule VAL-2
/// An approval names the present version of the validator set.
///
/// # Rule VAL-3
/// A validator approves a measure once.
pub(super) fn check_approve(
    state: &State,
    sender: &AccountId,
    measure: &Measure,
    set_version: u64,
) -> Result<(), TransactionError> {
    let validator = sending_validator(state, sender)?;
    let governance = state.governance();
    if set_version != governance.set_version {
        return Err(TransactionError::SetVersion {
            expected: governance.set_version,
            found: set_version,
        });
    }
    if validator.approvals.contains(measure) {
        return Err(TransactionError::Approved);
    }
    match *measure {
        Measure::SetPower { account, power } => check_power(governance, &account, power),
        Measure::Upgrade { version, height } => check_upgrade(state, version, height),
    }
}

/// # Rule VAL-4
/// A measure that sets a power changes it; afterwards there are 1 to 256 validators whose powers are at most 2^60
/// together, and one that joins has a usable key.
fn check_power(
    governance: &Governance,
    account: &AccountId,
    power: u64,
) -> Result<(), TransactionError> {
    let refused = |reason| Err(TransactionError::SetPower { reason });
    let present = governance.validator(account).map_or(0, |v| v.power);
    let others = governance.total_power() - present;
    if power == present {
        return refused("it has this power already");
    }
    if present == 0 && governance.validators.len() == MAX_VALIDATORS {
        return refused("the set is full, one must leave first");
    }
    if present == 0 && !account.is_usable() {
        return refused("this is no usable ed25519 key");
    }
    if others.saturating_add(power) > MAX_TOTAL_POWER {
        return refused("all powers together may be at most 2^60");
    }
    if others == 0 && power == 0 {
        return refused("the last validator cannot leave");
    }
    Ok(())
}

/// # Rule UPG-1
/// An upgrade is to the version after the one in force, at a height above that of the block.
fn check_upgrade(state: &State, version: u16, height: Height) -> Result<(), TransactionError> {
    let now = state.height;
    let next = u32::from(state.governance().version_at(now)) + 1;
    match u32::from(version) == next && height > now {
        true => Ok(()),
        false => Err(TransactionError::Upgrade { next, now }),
    }
}

/// # Rule VAL-5
/// A measure takes effect in the block in which validators with more than two thirds of the power approve it. When it
/// changes the set, the set gets the next version and every open approval lapses; the changed set proposes and
/// certifies from the next height on. A validator holds at most 8 open approvals: the next one takes the oldest's place.
pub(super) fn approve(
    state: &mut State,
    sender: &AccountId,
    measure: &Measure,
    events: &mut Vec<Event>,
) {
    let governance = Arc::make_mut(state.governance_mut());
    let mut validators = governance.validators.iter_mut();
    let validator = validators
        .find(|v| v.account == *sender)
        .expect("rule VAL-1 was checked before the action is executed");
    if validator.approvals.len() == MAX_OPEN_APPROVALS {
        validator.approvals.remove(0);
    }
    validator.approvals.push(*measure);
    let power = governance.approving_power(measure);
    events.push(Event::Approved {
        validator: *sender,
        measure: *measure,
        power,
        total: governance.total_power(),
    });
    if governance.is_quorum(power) {
        take_effect(governance, measure, events);
    }
}

fn take_effect(governance: &mut Governance, measure: &Measure, events: &mut Vec<Event>) {
    match *measure {
        Measure::SetPower { account, power } => {
            set_power(governance, account, power);
            governance.set_version += 1;
            for validator in &mut governance.validators {
                validator.approvals.clear();
            }
            events.push(Event::PowerSet {
                account,
                power,
                set_version: governance.set_version,
            });
        }
        Measure::Upgrade { version, height } => {
            governance.upgrade = Some(Upgrade { version, height });
            for validator in &mut governance.validators {
                validator.approvals.retain(|open| open != measure);
            }
            events.push(Event::UpgradeScheduled { version, height });
        }
    }
}

fn set_power(governance: &mut Governance, account: AccountId, power: u64) {
    let validators = &mut governance.validators;
    match validators.iter_mut().find(|v| v.account == account) {
        Some(_) if power == 0 => validators.retain(|v| v.account != account),
        Some(validator) => validator.power = power,
        None => validators.push(Validator {
            account,
            power,
            rotated_at: None,
            approvals: Vec::new(),
        }),
    }
}

/// What the new key of a validator signs, to show that somebody holds it.
pub fn possession_bytes(network: &NetworkId, old: &AccountId) -> Vec<u8> {
    let mut out = POSSESSION_CONTEXT.to_vec();
    network.encode(&mut out);
    old.encode(&mut out);
    out
}

/// # Rule VAL-6
/// A validator's new key is usable, is no validator's, and has signed the possession context, the network and the old
/// key.
///
/// # Rule VAL-7
/// A validator changes its key at most once in 64 blocks. Its power and its approvals stay, approvals of measures about
/// the new key lapse, and measures about the old key are about the new one.
pub(super) fn check_rotate(
    state: &State,
    sender: &AccountId,
    to: &AccountId,
    possession: &Signature,
) -> Result<(), TransactionError> {
    let validator = sending_validator(state, sender)?;
    let refused = |reason| Err(TransactionError::NewKey { reason });
    if !to.is_usable() {
        return refused("it is no usable ed25519 key");
    }
    if state.governance().validator(to).is_some() {
        return refused("it is a validator's already");
    }
    if !verify(to, &possession_bytes(&state.network(), sender), possession) {
        return refused("its signature of the old key is wrong");
    }
    let again = |at: Height| Height::new(at.get().saturating_add(MIN_ROTATION_BLOCKS));
    match validator.rotated_at.map(again) {
        Some(from) if state.height < from => Err(TransactionError::RotatedLately { from }),
        _ => Ok(()),
    }
}

pub(super) fn rotate(
    state: &mut State,
    sender: &AccountId,
    to: &AccountId,
    events: &mut Vec<Event>,
) {
    let height = state.height;
    let governance = Arc::make_mut(state.governance_mut());
    for validator in &mut governance.validators {
        if validator.account == *sender {
            validator.account = *to;
            validator.rotated_at = Some(height);
        }
        validator.approvals.retain(|measure| !measure.is_about(to));
        for measure in &mut validator.approvals {
            if let Measure::SetPower { account, power: _ } = measure
                && account == sender
            {
                *account = *to;
            }
        }
    }
    events.push(Event::KeyRotated {
        from: *sender,
        to: *to,
    });
}

/// The scheduled version of the rules comes into force, when its height has come.
pub(super) fn upgrade_due(state: &mut State, events: &mut Vec<Event>) {
    let height = state.height;
    let version = state.governance().version_at(height);
    if version != state.governance().protocol_version {
        let governance = Arc::make_mut(state.governance_mut());
        governance.protocol_version = version;
        governance.upgrade = None;
        // measures towards the version that is now in force are done with
        for validator in &mut governance.validators {
            let open = |measure: &Measure| !matches!(measure, Measure::Upgrade { .. });
            validator.approvals.retain(open);
        }
        events.push(Event::Upgraded { version });
    }
}
