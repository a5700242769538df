//! The ledger after a block: accounts, competitions, the treasury and where the chain stands. Only
//! [`crate::transition`] changes it.

mod account;
mod parts;
mod snapshot;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use account::Account;
pub(crate) use account::Accounts;
pub use parts::RootParts;
pub use snapshot::RestoreError;
use table::{Leaf, Table};

use crate::codec::Encode;
use crate::competition::{Competition, Phase, Registration};
use crate::digest::{
    BlockId, CompetitionId, GovernanceDigest, NetworkId, RegistrationId, StateRoot,
};
use crate::genesis::{Genesis, GenesisError, Parameters};
use crate::governance::{Governance, Validator};
use crate::identity::AccountId;
use crate::units::{Amount, Height, TimeMs};

/// The ledger after a block. A clone is cheap: records are shared until one of the two changes.
#[derive(Debug, Clone)]
pub struct State {
    network: NetworkId,
    parameters: Parameters,
    supply: Amount,
    pub(crate) height: Height,
    pub(crate) time: TimeMs,
    pub(crate) tip: BlockId,
    pub(crate) treasury: Amount,
    governance: Arc<Governance>,
    pub(crate) accounts: Accounts,
    competitions: Table<CompetitionId, Arc<Competition>>,
    // derived from the competitions, not part of the root
    owners: Table<RegistrationId, CompetitionId>,
    deadlines: BTreeSet<(TimeMs, CompetitionId)>,
}

impl Leaf for Arc<Competition> {
    fn leaf(&self, out: &mut Vec<u8>) {
        self.encode_summary(out);
    }
}

impl State {
    /// The state before the first block.
    pub fn genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        genesis.validate()?;
        let mut accounts = Accounts(Table::new());
        for balance in &genesis.balances {
            accounts.credit(&balance.account, balance.amount);
        }
        Ok(Self {
            network: genesis.network_id(),
            parameters: genesis.parameters,
            supply: genesis.supply()?,
            height: Height::ZERO,
            time: genesis.time,
            tip: genesis.block_id(),
            treasury: Amount::ZERO,
            governance: Arc::new(Governance::genesis(genesis)),
            accounts,
            competitions: Table::new(),
            owners: Table::new(),
            deadlines: BTreeSet::new(),
        })
    }

    /// The network.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The numbers of the rules.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Who orders and verifies the block after this state.
    pub fn validators(&self) -> &[Validator] {
        &self.governance.validators
    }

    /// The validator set and the version of the rules.
    pub fn governance(&self) -> &Governance {
        &self.governance
    }

    pub(crate) fn governance_mut(&mut self) -> &mut Arc<Governance> {
        &mut self.governance
    }

    /// The version of the rules that the next block is made by.
    pub fn next_version(&self) -> u16 {
        match self.height.next() {
            Some(height) => self.governance.version_at(height),
            None => self.governance.protocol_version,
        }
    }

    /// Height of the last block; 0 after the genesis.
    pub fn height(&self) -> Height {
        self.height
    }

    /// Time of the last block, or of the genesis.
    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// The last block, or the genesis.
    pub fn tip(&self) -> BlockId {
        self.tip
    }

    /// Deposits lost to invalid proofs, and what could not be split.
    pub fn treasury(&self) -> Amount {
        self.treasury
    }

    /// All money of the genesis.
    pub fn supply(&self) -> Amount {
        self.supply
    }

    /// An account; one that never appeared is empty.
    pub fn account(&self, id: &AccountId) -> Account {
        self.accounts.get(id)
    }

    /// Every account with money or transactions, in the order of their names.
    pub fn accounts(&self) -> impl Iterator<Item = (&AccountId, &Account)> {
        self.accounts.0.iter()
    }

    /// A competition.
    pub fn competition(&self, id: &CompetitionId) -> Option<&Competition> {
        self.competitions.get(id).map(Arc::as_ref)
    }

    /// A competition, to be kept beyond this state.
    pub fn shared_competition(&self, id: &CompetitionId) -> Option<Arc<Competition>> {
        self.competitions.get(id).cloned()
    }

    /// Every competition, ended ones too, in the order of their names.
    pub fn competitions(&self) -> impl Iterator<Item = &Arc<Competition>> {
        self.competitions.iter().map(|(_, competition)| competition)
    }

    /// Every competition in the bucket that `id` belongs to, in the order of their names.
    pub(crate) fn competitions_beside(
        &self,
        id: &CompetitionId,
    ) -> impl Iterator<Item = &Arc<Competition>> {
        self.competitions
            .beside(id)
            .map(|(_, competition)| competition)
    }

    /// A competition's phase at this state's time.
    pub fn phase(&self, id: &CompetitionId) -> Option<Phase> {
        Some(self.competition(id)?.phase(self.time))
    }

    /// A registration, unless it was withdrawn.
    pub fn registration(&self, id: &RegistrationId) -> Option<&Registration> {
        self.competition(self.owners.get(id)?)?.registration(id)
    }

    /// The earliest time from which on a block must settle a competition. A chain that holds back empty blocks makes one
    /// then.
    pub fn next_deadline(&self) -> Option<TimeMs> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// # Rule SUP-1
    /// Balances, escrows and the treasury together are the supply of the genesis, after every block.
    ///
    /// Returns that sum, counted anew.
    pub fn total(&self) -> Amount {
        let balances = self.accounts().map(|(_, account)| account.balance);
        let escrows = self.competitions().map(|competition| competition.escrow);
        Amount::checked_sum(balances.chain(escrows).chain([self.treasury]))
            .expect("all money together is the genesis supply, which fits an amount")
    }

    /// # Rule ENC-4
    /// The state root is the digest of network, height, time and treasury, the digest of the validator set with the
    /// version of the rules, the digests of the 256 buckets of accounts and those of the 256 buckets of competitions. A
    /// record belongs to the bucket of the first byte of its name; a bucket's digest covers the number of its records,
    /// then name and encoding of each in the order of the names. Of a competition's terms their digest is encoded.
    pub fn root(&self) -> StateRoot {
        let mut out = Vec::with_capacity(2 * 256 * 32 + 88);
        self.network.encode(&mut out);
        self.height.encode(&mut out);
        self.time.encode(&mut out);
        self.treasury.encode(&mut out);
        GovernanceDigest::of(&self.governance.to_bytes()).encode(&mut out);
        self.accounts.0.encode_digests(&mut out);
        self.competitions.encode_digests(&mut out);
        StateRoot::of(&out)
    }

    pub(crate) fn competition_mut(&mut self, id: &CompetitionId) -> &mut Competition {
        let competition = self.competitions.get_mut(id);
        Arc::make_mut(
            competition.expect("the competition was looked up before the action is executed"),
        )
    }

    /// Changes a competition whose next deadline may move with the change.
    pub(crate) fn change_competition(
        &mut self,
        id: &CompetitionId,
        change: impl FnOnce(&mut Competition),
    ) {
        let competition = self.competition_mut(id);
        let before = competition.settles_at();
        change(competition);
        let after = competition.settles_at();
        if let Some(time) = before {
            self.deadlines.remove(&(time, *id));
        }
        if let Some(time) = after {
            self.deadlines.insert((time, *id));
        }
    }

    pub(crate) fn insert_competition(&mut self, competition: Competition) {
        let id = competition.id;
        for registration in &competition.registrations {
            self.owners.insert(registration.id, id);
        }
        if let Some(time) = competition.settles_at() {
            self.deadlines.insert((time, id));
        }
        self.competitions.insert(id, Arc::new(competition));
    }

    pub(crate) fn insert_registration(&mut self, registration: Registration) {
        self.owners
            .insert(registration.id, registration.competition);
        self.competition_mut(&registration.competition)
            .registrations
            .push(registration);
    }

    pub(crate) fn remove_registration(&mut self, competition: &CompetitionId, id: &RegistrationId) {
        self.owners.remove(id);
        self.competition_mut(competition)
            .registrations
            .retain(|registration| registration.id != *id);
    }

    /// The competition that settles next, when it does so at or before `time`.
    pub(crate) fn due(&self, time: TimeMs) -> Option<CompetitionId> {
        let (deadline, id) = self.deadlines.first()?;
        (*deadline <= time).then_some(*id)
    }
}
