//! The audit itself: replay, verify, compare.

use std::path::Path;

use agon_protocol::competition::BlobRef;
use agon_protocol::genesis::{Genesis, GenesisError};
use agon_protocol::judge::Question;
use agon_protocol::state::State;
use agon_protocol::transition::Event;
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use super::claims::{Claims, Judging};
use super::folder::DataFolder;
use super::records::Expected;
use super::replay::{Replay, Step, Wrong};
use super::report::{GenesisOrigin, Place, Report, Subject};
use super::served::{Difference, RunningNode};
use super::source::{Held, RawBlock, Source, SourceError};
use crate::client::ClientError;
use crate::ledger::StoreError;
use crate::verification::ProofVerifier;

/// How often an answer of a running node that differs is asked for again.
const ATTEMPTS: usize = 4;

/// Why there is nothing to audit.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The genesis starts no network.
    #[error("the genesis is not usable: {0}")]
    Genesis(#[from] GenesisError),
    /// No stopped node's store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The source broke off.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The node is on another network.
    #[error("the node is of network {found}, the genesis of network {expected}")]
    Network {
        /// Network of the genesis.
        expected: agon_protocol::digest::NetworkId,
        /// Network of the node.
        found: agon_protocol::digest::NetworkId,
    },
}

/// What an audit goes by.
pub struct Options<'a> {
    /// The genesis of the network.
    pub genesis: &'a Genesis,
    /// Where it came from.
    pub origin: GenesisOrigin,
    /// Whether what cannot be checked is a fault.
    pub strict: bool,
    /// Verifies proofs.
    pub verifier: &'a dyn ProofVerifier,
}

/// Audits the data folder of a stopped node.
///
/// # Errors
/// When there is no store of the genesis' network in the folder, or a node runs on it. Damage is no error: it is in the report.
pub fn audit_folder(path: &Path, options: &Options<'_>) -> Result<Report, AuditError> {
    let mut audit = Audit::new(options)?;
    let folder = DataFolder::open(path, options.genesis.network_id())?;
    if let Some(StoreError::WrongNetwork {
        found, expected, ..
    }) = folder.unreadable()
    {
        let (expected, found) = (*expected, *found);
        return Err(AuditError::Network { expected, found });
    }
    audit.check_files(&folder);
    let mut expected = Expected::new(audit.replay.state());
    let tip = match folder.tip() {
        Ok(tip) => tip,
        Err(error) => {
            let place = Place::file(&folder.ledger());
            audit.report.wrong(Subject::Records, place, error);
            0
        }
    };
    if let Some(noted) = folder.frozen().witness().filter(|noted| *noted > tip) {
        let place = Place {
            height: Some(tip + 1),
            ..Place::file(&folder.ledger().join("db"))
        };
        let what = format!(
            "the store ended at block {noted}; blocks {} to {noted} are gone",
            tip + 1
        );
        audit.report.wrong(Subject::Blocks, place, what);
    }
    let complete = audit.follow(&folder, tip, &mut |step, report| {
        expected.step(step, &folder, report);
        Ok(())
    })?;
    audit.verify(&folder);
    let state = audit.replay.state().clone();
    if complete {
        audit.count_state(&state);
    }
    expected.records(&folder, &state, &audit.claims, complete, &mut audit.report);
    folder.check_blobs(&mut audit.report);
    audit.missing_blobs(&folder)?;
    Ok(audit.finish())
}

/// Audits a running node by what it serves.
///
/// # Errors
/// When the node is on another network than the genesis, or does not answer.
pub fn audit_node(node: &RunningNode, options: &Options<'_>) -> Result<Report, AuditError> {
    let mut audit = Audit::new(options)?;
    let served = node.genesis()?.network_id();
    let expected = options.genesis.network_id();
    if served != expected {
        return Err(AuditError::Network {
            expected,
            found: served,
        });
    }
    let complete = audit.catch_up(node)?;
    audit.verify(node);
    if complete {
        audit.check_answers(node)?;
    }
    audit.missing_blobs(node)?;
    Ok(audit.finish())
}

struct Audit<'a> {
    options: &'a Options<'a>,
    report: Report,
    replay: Replay,
    claims: Claims,
}

type Watch<'a> = dyn FnMut(&Step, &mut Report) -> Result<(), AuditError> + 'a;

impl<'a> Audit<'a> {
    fn new(options: &'a Options<'a>) -> Result<Self, AuditError> {
        let Options {
            genesis,
            origin,
            strict,
            verifier: _,
        } = options;
        Ok(Self {
            options,
            report: Report::new(genesis.network_id(), &genesis.name, *origin, *strict),
            replay: Replay::new(genesis)?,
            claims: Claims::default(),
        })
    }

    fn finish(mut self) -> Report {
        self.report.height = self.replay.state().height().get();
        self.report.cpu_seconds = cpu_seconds();
        self.report
    }

    fn add_wrong(&mut self, wrong: Vec<Wrong>) {
        for (subject, place, what) in wrong {
            self.report.wrong(subject, place, what);
        }
    }

    /// Executes blocks up to `tip`; whether all could be. Behind a block that cannot be executed, certificates alone are
    /// checked.
    fn follow(
        &mut self,
        source: &dyn Source,
        tip: u64,
        watch: &mut Watch<'_>,
    ) -> Result<bool, AuditError> {
        while self.replay.next_height() <= tip {
            let height = self.replay.next_height();
            let Some(raw) = self.raw(source, height)? else {
                self.certificates_alone(source, height + 1, tip)?;
                return Ok(false);
            };
            let (judging, claims) = (self.judging(source), &self.claims);
            let find = |questions: &[Question]| {
                let found = judging.find(questions, claims).into_iter();
                found
                    .map(|(claim, (verdict, _))| (claim, verdict))
                    .collect()
            };
            let (step, wrong) = self.replay.step(&raw, &find);
            let certified = !wrong
                .iter()
                .any(|(subject, ..)| *subject == Subject::Certificates);
            if certified {
                self.report.right(Subject::Certificates);
            }
            self.add_wrong(wrong);
            let Some(step) = step else {
                self.certificates_alone(source, height + 1, tip)?;
                return Ok(false);
            };
            self.report.right(Subject::Blocks);
            self.settlements(&step);
            self.claims.add(&step);
            watch(&step, &mut self.report)?;
        }
        Ok(true)
    }

    /// A block of the source; a fault, and none, when it is missing or damaged.
    fn raw(&mut self, source: &dyn Source, height: u64) -> Result<Option<RawBlock>, AuditError> {
        match source.block(height) {
            Ok(Some(raw)) => return Ok(Some(raw)),
            Ok(None) => {
                let what = "the block is missing";
                self.report
                    .wrong(Subject::Blocks, Place::block(height), what);
            }
            Err(SourceError::Damaged(what)) => {
                self.report
                    .wrong(Subject::Blocks, Place::block(height), what);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(None)
    }

    fn certificates_alone(
        &mut self,
        source: &dyn Source,
        from: u64,
        tip: u64,
    ) -> Result<(), AuditError> {
        for height in from..=tip {
            let Some(raw) = self.raw(source, height)? else {
                continue;
            };
            match self.replay.certificate(height, &raw) {
                (_, None) => self.report.right(Subject::Certificates),
                (_, Some(fault)) => self.add_wrong(vec![fault]),
            }
            let why = "the chain before it cannot be executed; its certificate alone was checked";
            self.report
                .unchecked(Subject::Blocks, Place::block(height), why);
        }
        Ok(())
    }

    fn settlements(&mut self, step: &Step) {
        for event in &step.applied.events {
            if matches!(
                event,
                Event::Settled { .. } | Event::Voided { .. } | Event::Cancelled { .. }
            ) {
                self.report.right(Subject::Settlements);
            }
        }
    }

    fn judging<'s>(&self, source: &'s dyn Source) -> Judging<'s>
    where
        'a: 's,
    {
        Judging {
            source,
            verifier: self.options.verifier,
        }
    }

    fn verify(&mut self, source: &dyn Source) {
        let judging = Judging {
            source,
            verifier: self.options.verifier,
        };
        judging.verify(&self.claims, &mut self.report);
    }

    /// Counts what the stored state was compared with, and all money.
    fn count_state(&mut self, state: &State) {
        self.report
            .all_right(Subject::Accounts, state.accounts().count() as u64);
        self.report
            .all_right(Subject::Competitions, state.competitions().count() as u64);
        if state.total() != state.supply() {
            let place = Place::block(state.height().get()).field("supply");
            let what = format!(
                "rule SUP-1: all money is {}, the genesis made {}",
                state.total(),
                state.supply()
            );
            self.report.wrong(Subject::Accounts, place, what);
        }
    }

    fn check_files(&mut self, folder: &DataFolder) {
        let frozen = folder.frozen();
        let damage = frozen.damage();
        let right = frozen.checked().saturating_sub(damage.len() as u64);
        self.report.all_right(Subject::Files, right);
        for part in damage {
            let place = Place::file(&folder.ledger().join(&part.file)).offset(part.offset);
            let what = format!("{} is damaged", part.what);
            self.report.wrong(Subject::Files, place, what);
        }
    }

    /// Blobs that competitions and proofs name and that are not here.
    fn missing_blobs(&mut self, source: &dyn Source) -> Result<(), AuditError> {
        for competition in self.replay.state().competitions() {
            let spec = &competition.spec;
            let named: [(&str, Option<BlobRef>); 2] = [
                ("sealed test set", Some(spec.sealed_data)),
                ("training data", spec.training_data),
            ];
            for (what, blob) in named {
                let Some(blob) = blob else { continue };
                let place = || Place {
                    competition: Some(competition.id),
                    ..Place::blob(blob.id)
                };
                match source.blob(&blob) {
                    Ok(Held::Bytes(_)) | Err(SourceError::Damaged(_)) => {}
                    Ok(Held::Missing) => {
                        let why = format!("the {what} is not here");
                        self.report.unchecked(Subject::Blobs, place(), why);
                    }
                    Ok(Held::Damaged { what, .. }) => {
                        let known =
                            |fault: &super::report::Finding| fault.place.blob == Some(blob.id);
                        if !self.report.faults.iter().any(known) {
                            self.report.wrong(Subject::Blobs, place(), what);
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Executes what a running node has added since.
    fn catch_up(&mut self, node: &RunningNode) -> Result<bool, AuditError> {
        let tip = node.tip()?;
        self.follow(node, tip, &mut |step, report| {
            let place = Place::block(step.block.height.get());
            match node.check_block(step)? {
                None => report.all_right(Subject::Receipts, step.applied.receipts.len() as u64),
                Some((differs, what)) => {
                    debug_assert_eq!(differs.height, place.height);
                    report.wrong(Subject::Receipts, differs, what);
                }
            }
            Ok(())
        })
    }

    /// Compares every account and competition with the node's answers.
    fn check_answers(&mut self, node: &RunningNode) -> Result<(), AuditError> {
        let accounts: Vec<_> = self.replay.state().accounts().map(|(id, _)| *id).collect();
        for account in accounts {
            self.check_answer(node, Subject::Accounts, &|state| {
                node.check_account(state, &account)
            })?;
        }
        let competitions: Vec<_> = self
            .replay
            .state()
            .competitions()
            .map(|one| one.id)
            .collect();
        for id in competitions {
            self.check_answer(node, Subject::Competitions, &|state| match state
                .shared_competition(&id)
            {
                Some(competition) => node.check_competition(state, &competition),
                None => Ok(None),
            })?;
        }
        Ok(())
    }

    fn check_answer(
        &mut self,
        node: &RunningNode,
        subject: Subject,
        compare: &dyn Fn(&State) -> Result<Option<Difference>, ClientError>,
    ) -> Result<(), AuditError> {
        let mut differs = None;
        for _ in 0..ATTEMPTS {
            differs = compare(self.replay.state())?;
            if differs.is_none() || !self.catch_up(node)? {
                break;
            }
        }
        match differs {
            None => self.report.right(subject),
            Some((place, what)) => self.report.wrong(subject, place, what),
        }
        Ok(())
    }
}

/// Processor seconds of this process so far.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
