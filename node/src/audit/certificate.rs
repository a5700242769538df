//! Settlement certificates: written from the blocks of a source, checked with a genesis and nothing else.

use agon_consensus::{Certificate, verify_certificate};
use agon_protocol::codec::{Decode, DecodeError, Encode};
use agon_protocol::digest::CompetitionId;
use agon_protocol::genesis::Genesis;
use agon_protocol::governance::Governance;
use agon_protocol::settlement_certificate::{
    CertifiedState, Commitment, Proven, SettlementCertificate, SettlementError,
};
use agon_protocol::state::State;
use thiserror::Error;

use super::replay::{Replay, Step};
use super::run::AuditError;
use super::source::{Source, SourceError};
use crate::ledger::members;

/// Why there is no certificate to export.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The chain cannot be read.
    #[error(transparent)]
    Chain(#[from] AuditError),
    /// The competition is not in the chain, or has not ended.
    #[error("competition {0} has not ended in this chain")]
    NotEnded(CompetitionId),
}

/// Why a file proves nothing.
#[derive(Debug, Error)]
pub enum CertificateRefusal {
    /// It is not a settlement certificate.
    #[error("the file is no settlement certificate, or was changed: {0}")]
    Decode(#[from] DecodeError),
    /// It does not prove what it should.
    #[error(transparent)]
    Settlement(#[from] SettlementError),
}

/// Reads the chain of `source` up to a block after which the competition has ended, and makes the certificate.
///
/// # Errors
/// When the chain cannot be read from its genesis on, or the competition has not ended in it.
pub fn export_settlement(
    source: &dyn Source,
    genesis: &Genesis,
    competition: CompetitionId,
) -> Result<Vec<u8>, ExportError> {
    let mut replay = Replay::new(genesis).map_err(AuditError::from)?;
    let mut set = version(replay.state().governance());
    let (mut changes, mut settled) = (Vec::new(), None);
    let tip = source.tip().map_err(AuditError::from)?;
    replay
        .run(source, tip, |step| {
            let state = &step.applied.state;
            let after = version(state.governance());
            if after != set {
                set = after;
                changes.extend(certified_state(step, state));
                return true;
            }
            let ended = state.competition(&competition);
            if ended.is_some_and(|competition| competition.ending.is_some()) {
                settled = certified_state(step, state);
            }
            settled.is_none()
        })
        .map_err(AuditError::from)?;
    let settled = settled.ok_or(ExportError::NotEnded(competition))?;
    let certificate = SettlementCertificate::new(changes, settled, replay.state(), &competition);
    let certificate = certificate.ok_or(ExportError::NotEnded(competition))?;
    // what is handed out is checked as its reader will check it
    let bytes = certificate.to_bytes();
    match verify_settlement(&bytes, genesis) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(AuditError::from(SourceError::Damaged(error.to_string())).into()),
    }
}

/// Checks a settlement certificate.
///
/// # Errors
/// Why it proves nothing.
pub fn verify_settlement(bytes: &[u8], genesis: &Genesis) -> Result<Proven, CertificateRefusal> {
    let certificate = SettlementCertificate::from_bytes(bytes)?;
    Ok(certificate.verify(genesis, &is_certified)?)
}

fn is_certified(commitment: &Commitment<'_>) -> Result<(), String> {
    let Commitment {
        network,
        validators,
        height,
        block,
        certificate,
    } = commitment;
    let certificate = Certificate::from_bytes(certificate).map_err(|error| error.to_string())?;
    verify_certificate(network, &members(validators), &certificate, *height, block)
        .map_err(|error| error.to_string())
}

fn certified_state(step: &Step, state: &State) -> Option<CertifiedState> {
    Some(CertifiedState {
        certificate: step.certificate.as_ref()?.to_bytes(),
        block: step.block.clone(),
        parts: state.root_parts(),
    })
}

/// What a change of the set changes.
fn version(governance: &Governance) -> (u64, Vec<(agon_protocol::identity::AccountId, u64)>) {
    let members = governance.validators.iter();
    let members = members.map(|member| (member.account, member.power));
    (governance.set_version, members.collect())
}
