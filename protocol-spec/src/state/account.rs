//! Accounts: a balance and a nonce each.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::identity::AccountId;
use crate::state::table::{Leaf, Table};
use crate::units::Amount;

/// What the ledger knows about an account. One that never appeared has neither money nor transactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What it can spend.
    pub balance: Amount,
    /// The nonce of its next transaction.
    pub nonce: u64,
}

impl Encode for Account {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { balance, nonce } = self;
        balance.encode(out);
        nonce.encode(out);
    }
}

impl Decode for Account {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            balance: Amount::decode(reader)?,
            nonce: u64::decode(reader)?,
        })
    }
}

impl Leaf for Account {
    fn leaf(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

/// All accounts. One without money and transactions is not kept.
#[derive(Debug, Clone)]
pub(crate) struct Accounts(pub(super) Table<AccountId, Account>);

impl Accounts {
    pub(crate) fn get(&self, id: &AccountId) -> Account {
        self.0.get(id).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, id: &AccountId, account: Account) {
        match account == Account::default() {
            true => self.0.remove(id),
            false => self.0.insert(*id, account),
        }
    }

    /// Adds money that was taken from elsewhere in the state.
    pub(crate) fn credit(&mut self, id: &AccountId, amount: Amount) {
        let account = self.get(id);
        let balance = account.balance.checked_add(amount);
        let balance =
            balance.expect("all money together is the genesis supply, which fits an amount");
        self.set(id, Account { balance, ..account });
    }

    /// Takes money that a check before found to be there.
    pub(crate) fn debit(&mut self, id: &AccountId, amount: Amount) {
        let account = self.get(id);
        let balance = account.balance.checked_sub(amount);
        let balance = balance.expect("rule TX-5 was checked before the action is executed");
        self.set(id, Account { balance, ..account });
    }
}
