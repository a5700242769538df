//! What an audit found: how much of each kind was checked, what could not be, and every fault with its place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use agon_protocol::digest::{BlobId, CompetitionId, NetworkId, TransactionId};
use agon_protocol::identity::AccountId;
use serde::Serialize;

/// Faults and gaps that are listed one by one; the rest is counted.
const MAX_LISTED: usize = 200;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Commit certificates.
    Certificates,
    /// Blocks: every rule, and the state root.
    Blocks,
    /// Released keys and the test sets that they open.
    Keys,
    /// Proofs.
    Proofs,
    /// Ends of competitions: ranks and payments.
    Settlements,
    /// Receipts and events.
    Receipts,
    /// Balances and nonces.
    Accounts,
    /// Competitions with their registrations and rankings.
    Competitions,
    /// Stored values.
    Records,
    /// The database's files.
    Files,
    /// Blobs.
    Blobs,
}

impl Subject {
    const ALL: [Self; 11] = [
        Self::Certificates,
        Self::Blocks,
        Self::Keys,
        Self::Proofs,
        Self::Settlements,
        Self::Receipts,
        Self::Accounts,
        Self::Competitions,
        Self::Records,
        Self::Files,
        Self::Blobs,
    ];

    /// What a pass means.
    fn meaning(self) -> &'static str {
        match self {
            Self::Certificates => "signed by more than two thirds of the validators' power",
            Self::Blocks => "executed from genesis; each states the root of its state",
            Self::Keys => "open the sealed test set that was committed to",
            Self::Proofs => "verified again, with the verdict that the validators gave",
            Self::Settlements => "ranked and paid again, with the same result",
            Self::Receipts => "are what the execution gives",
            Self::Accounts => "have the balance that the execution gives",
            Self::Competitions => "are shown as the execution leaves them",
            Self::Records => "of the store are what follows from the blocks",
            Self::Files => "parts of the store's files have the checksum they were written with",
            Self::Blobs => "hash to their names",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificates => "certificates",
            Self::Blocks => "blocks",
            Self::Keys => "keys",
            Self::Proofs => "proofs",
            Self::Settlements => "settlements",
            Self::Receipts => "receipts",
            Self::Accounts => "accounts",
            Self::Competitions => "competitions",
            Self::Records => "records",
            Self::Files => "files",
            Self::Blobs => "blobs",
        })
    }
}

/// Where something is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Height of a block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// A transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionId>,
    /// A field of a block, receipt or record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// A competition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub competition: Option<CompetitionId>,
    /// An account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// A blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobId>,
    /// A file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A byte of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

impl Place {
    /// A block.
    pub fn block(height: u64) -> Self {
        Self {
            height: Some(height),
            ..Self::default()
        }
    }

    /// A file.
    pub fn file(path: &Path) -> Self {
        Self {
            file: Some(path.to_owned()),
            ..Self::default()
        }
    }

    /// A blob.
    pub fn blob(id: BlobId) -> Self {
        Self {
            blob: Some(id),
            ..Self::default()
        }
    }

    /// An account.
    pub fn account(id: AccountId) -> Self {
        Self {
            account: Some(id),
            ..Self::default()
        }
    }

    /// A competition.
    pub fn competition(id: CompetitionId) -> Self {
        Self {
            competition: Some(id),
            ..Self::default()
        }
    }

    /// The same place, and the field there.
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.field = Some(name.into());
        self
    }

    /// The same place, and the transaction there.
    pub fn transaction(mut self, id: TransactionId) -> Self {
        self.transaction = Some(id);
        self
    }

    /// The same place, and the byte there.
    pub fn offset(mut self, byte: u64) -> Self {
        self.offset = Some(byte);
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            height,
            transaction,
            field,
            competition,
            account,
            blob,
            file,
            offset,
        } = self;
        let parts = [
            file.as_ref().map(|path| format!("file {}", path.display())),
            offset.map(|byte| format!("byte {byte}")),
            height.map(|height| format!("block {height}")),
            transaction.map(|id| format!("transaction {id}")),
            competition.map(|id| format!("competition {id}")),
            account.map(|id| format!("account {id}")),
            blob.map(|id| format!("blob {id}")),
            field.as_ref().map(|name| format!("field {name}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// Something that was found at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was being checked.
    pub subject: Subject,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject: _,
            place,
            what,
        } = self;
        match *place == Place::default() {
            true => f.write_str(what),
            false => write!(f, "{place}: {what}"),
        }
    }
}

/// The numbers of one subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Checked, and right.
    pub right: u64,
    /// Wrong.
    pub wrong: u64,
    /// Could not be checked.
    pub not_checked: u64,
}

/// Whether everything that was checked is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Green,
    /// It is not.
    Red,
}

/// Where the genesis came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GenesisOrigin {
    /// From a file that the auditor named.
    Given,
    /// From the audited data folder.
    DataFolder,
    /// From the audited node itself: compare the network's id with one that you trust.
    Node,
}

/// The result of an audit.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The outcome.
    pub verdict: Verdict,
    /// The network.
    pub network: NetworkId,
    /// Its name.
    pub name: String,
    /// Where the genesis came from.
    pub genesis: GenesisOrigin,
    /// The last block that was audited.
    pub height: u64,
    /// How much was checked.
    pub checks: BTreeMap<Subject, Count>,
    /// What is wrong; the first ones when there are very many.
    pub faults: Vec<Finding>,
    /// What could not be checked; the first ones when there are very many.
    pub not_checked: Vec<Finding>,
    /// What is worth knowing and neither.
    pub notes: Vec<String>,
    /// Processor time of the audit.
    pub cpu_seconds: f64,
    /// Whether what could not be checked is a fault.
    pub strict: bool,
}

impl Report {
    pub(super) fn new(
        network: NetworkId,
        name: &str,
        genesis: GenesisOrigin,
        strict: bool,
    ) -> Self {
        Self {
            verdict: Verdict::Green,
            network,
            name: name.to_owned(),
            genesis,
            height: 0,
            checks: BTreeMap::new(),
            faults: Vec::new(),
            not_checked: Vec::new(),
            notes: Vec::new(),
            cpu_seconds: 0.0,
            strict,
        }
    }

    pub(super) fn right(&mut self, subject: Subject) {
        self.all_right(subject, 1);
    }

    pub(super) fn all_right(&mut self, subject: Subject, count: u64) {
        self.checks.entry(subject).or_default().right += count;
    }

    pub(super) fn wrong(&mut self, subject: Subject, place: Place, what: impl ToString) {
        self.verdict = Verdict::Red;
        self.checks.entry(subject).or_default().wrong += 1;
        let what = what.to_string();
        if self.faults.len() < MAX_LISTED {
            self.faults.push(Finding {
                subject,
                place,
                what,
            });
        }
    }

    /// Right when `what` is nothing, else wrong.
    pub(super) fn check(&mut self, subject: Subject, place: Place, what: Option<String>) {
        match what {
            None => self.right(subject),
            Some(what) => self.wrong(subject, place, what),
        }
    }

    pub(super) fn unchecked(&mut self, subject: Subject, place: Place, why: impl ToString) {
        if self.strict {
            return self.wrong(subject, place, why);
        }
        self.checks.entry(subject).or_default().not_checked += 1;
        let what = why.to_string();
        if self.not_checked.len() < MAX_LISTED {
            self.not_checked.push(Finding {
                subject,
                place,
                what,
            });
        }
    }

    pub(super) fn note(&mut self, text: impl ToString) {
        self.notes.push(text.to_string());
    }

    /// All faults, the unlisted ones too.
    pub fn fault_count(&self) -> u64 {
        self.checks.values().map(|count| count.wrong).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.genesis {
            GenesisOrigin::Given => "the genesis that was given",
            GenesisOrigin::DataFolder => "the genesis in the data folder",
            GenesisOrigin::Node => {
                "the genesis that the node gave: compare the id with one you trust"
            }
        };
        writeln!(f, "network {} ({}), {origin}", self.network, self.name)?;
        writeln!(f, "blocks 1 to {}\n", self.height)?;
        for subject in Subject::ALL {
            let Some(count) = self.checks.get(&subject) else {
                continue;
            };
            let Count {
                right,
                wrong,
                not_checked,
            } = count;
            let mark = if *wrong > 0 { "RED" } else { "ok" };
            write!(
                f,
                "{mark:<4} {:<13} {right:>7} {}",
                subject.to_string(),
                subject.meaning()
            )?;
            if *not_checked > 0 {
                write!(f, "; {not_checked} not checked")?;
            }
            if *wrong > 0 {
                write!(f, "; {wrong} WRONG")?;
            }
            writeln!(f)?;
        }
        for (title, list) in [("wrong", &self.faults), ("not checked", &self.not_checked)] {
            if !list.is_empty() {
                writeln!(f, "\n{title}:")?;
            }
            for finding in list {
                writeln!(f, "  {finding}")?;
            }
        }
        for note in &self.notes {
            writeln!(f, "\nnote: {note}")?;
        }
        let verdict = match self.verdict {
            Verdict::Green => "green: everything that was checked is right",
            Verdict::Red => "red: not everything is right",
        };
        write!(f, "\n{verdict}; {:.1} CPU seconds", self.cpu_seconds)
    }
}
