//! Blocks and their certificates, and how long the last ones took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agon_consensus::Certificate;
use agon_protocol::block::Block;
use agon_protocol::codec::Decode;
use agon_protocol::identity::Signature;
use agon_protocol::units::Height;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::ledger::no_block;
use super::listing::{Asked, Listed, cursor, limit};
use super::schema::objects;
use super::types::{BlockAnswer, BlockLine, CertificateAnswer, FinalityView, Signer};
use super::{Id, Server, blocking, views};
use crate::ledger::{Ledger, LedgerError};
use crate::node::clock;

/// Blocks whose lines are kept, the highest.
const MAX_LINES: usize = 1_024;
/// A block that is older than this when it is committed here was caught up on: its age says nothing about finality.
const OLDEST: Duration = Duration::from_secs(60);
/// Certificates of the last blocks may still be replaced by fuller ones.
const UNSETTLED: u64 = 8;

objects! {
    /// The query of `GET /v1/blocks`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct BlocksQuery {
        /// Only blocks below this height; the cursor to go on with.
        pub(super) below: Option<String>,
        /// How many, 20 when it is not said, at most 120.
        pub(super) limit: Option<u64>,
    }
}

/// Short descriptions of blocks, and how long those took that this node saw become final.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<BTreeMap<u64, BlockLine>>);

impl Lines {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, BlockLine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a block that has just become final here.
    pub(super) fn arrived(&self, ledger: &Ledger, height: u64) -> Result<(), LedgerError> {
        let now = clock::now();
        let Some(mut line) = self.read(ledger, height)? else {
            return Ok(());
        };
        let age = now.get().saturating_sub(line.time_ms);
        line.final_after_ms = Some(age).filter(|age| *age < OLDEST.as_millis() as u64);
        self.keep(line);
        Ok(())
    }

    fn keep(&self, line: BlockLine) {
        let mut lines = self.lock();
        lines.insert(line.height, line);
        while lines.len() > MAX_LINES {
            lines.pop_first();
        }
    }

    /// The line of a block; `None` when the block is not here. Blocks on the disk.
    pub(super) fn line(
        &self,
        ledger: &Ledger,
        height: u64,
    ) -> Result<Option<BlockLine>, LedgerError> {
        let known = self.lock().get(&height).cloned();
        let settled = height.saturating_add(UNSETTLED) < ledger.state().height().get();
        match known {
            Some(line) if settled => Ok(Some(line)),
            known => {
                let Some(mut line) = self.read(ledger, height)? else {
                    return Ok(None);
                };
                line.final_after_ms = known.and_then(|known| known.final_after_ms);
                self.keep(line.clone());
                Ok(Some(line))
            }
        }
    }

    fn read(&self, ledger: &Ledger, height: u64) -> Result<Option<BlockLine>, LedgerError> {
        let Some(certified) = ledger.certified(Height::new(height))? else {
            return Ok(None);
        };
        let Block {
            version: _,
            network: _,
            height: _,
            time,
            parent,
            proposer,
            state_root,
            transactions,
        } = Block::from_bytes(&certified.block)?;
        let Certificate {
            height: _,
            round,
            block,
            signatures,
        } = certified.certificate;
        let before = height.checked_sub(1);
        let before = before.and_then(|before| self.time(ledger, before).transpose());
        let before = before.transpose()?;
        Ok(Some(BlockLine {
            height,
            id: block,
            parent,
            time_ms: time.get(),
            proposer,
            state_root,
            transactions: transactions.len(),
            bytes: certified.block.len(),
            round,
            signers: signatures.len(),
            interval_ms: before.map(|before| time.get().saturating_sub(before)),
            final_after_ms: None,
        }))
    }

    fn time(&self, ledger: &Ledger, height: u64) -> Result<Option<u64>, LedgerError> {
        if let Some(line) = self.lock().get(&height) {
            return Ok(Some(line.time_ms));
        }
        let Some(certified) = ledger.certified(Height::new(height))? else {
            return Ok(None);
        };
        Ok(Some(Block::from_bytes(&certified.block)?.time.get()))
    }

    /// How long the blocks took whose lines are here.
    pub(super) fn finality(&self) -> FinalityView {
        let lines = self.lock();
        let sorted = |value: fn(&BlockLine) -> Option<u64>| {
            let seen = lines.values().filter(|line| line.final_after_ms.is_some());
            let mut values: Vec<u64> = seen.filter_map(value).collect();
            values.sort_unstable();
            values
        };
        let times = sorted(|line| line.final_after_ms);
        let intervals = sorted(|line| line.interval_ms);
        FinalityView {
            blocks: times.len(),
            p50_ms: percentile(&times, 50),
            p90_ms: percentile(&times, 90),
            max_ms: times.last().copied(),
            interval_p50_ms: percentile(&intervals, 50),
        }
    }
}

/// The value that `percent` of 100 do not exceed; the values are in order.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The highest blocks below a height, newest first, at most `limit`.
pub(super) fn newest(
    server: &Server,
    below: Option<u64>,
    limit: usize,
) -> Result<Vec<BlockLine>, LedgerError> {
    let ledger = &server.api.ledger;
    let tip = ledger.state().height().get();
    let mut height = below.map_or(tip, |below| below.saturating_sub(1).min(tip));
    let first = ledger.first().get();
    let mut lines = Vec::new();
    while lines.len() < limit && height >= first && height > 0 {
        lines.extend(server.lines.line(ledger, height)?);
        height -= 1;
    }
    Ok(lines)
}

pub(super) async fn blocks(
    State(server): State<Server>,
    Asked(query): Asked<BlocksQuery>,
    uri: Uri,
) -> Result<Listed<Vec<BlockLine>>, ApiError> {
    let limit = limit(query.limit, 20, 120)?;
    let below = cursor(query.below.as_deref(), |text| text.parse::<u64>().ok())?;
    let first = server.api.ledger.first().get();
    let (total, reader) = (server.api.ledger.state().height().get(), server.clone());
    let body = blocking(move || Ok(newest(&reader, below, limit)?)).await?;
    let last = body.last().map(|line| line.height);
    Ok(Listed {
        next: last
            .filter(|last| *last > first.max(1))
            .map(|last| ("below", last.to_string())),
        body,
        total: usize::try_from(total.saturating_sub(first.max(1) - 1)).ok(),
        uri,
    })
}

pub(super) async fn block(
    State(server): State<Server>,
    Id(height): Id<Height>,
) -> Result<Json<BlockAnswer>, ApiError> {
    let first = server.api.ledger.first();
    let answer = blocking(move || {
        let ledger = &server.api.ledger;
        let Some(block) = ledger.block(height)? else {
            return Ok(None);
        };
        let line = server.lines.line(ledger, height.get())?;
        Ok(Some(BlockAnswer {
            block: views::block(&block),
            interval_ms: line.as_ref().and_then(|line| line.interval_ms),
            final_after_ms: line.as_ref().and_then(|line| line.final_after_ms),
        }))
    });
    answer
        .await?
        .map(Json)
        .ok_or_else(|| no_block(height, first))
}

pub(super) async fn certificate(
    State(server): State<Server>,
    Id(height): Id<Height>,
) -> Result<Json<CertificateAnswer>, ApiError> {
    let ledger: Arc<Ledger> = server.api.ledger.clone();
    let first = ledger.first();
    let found = blocking(move || {
        let Some(certified) = ledger.certified(height)? else {
            return Ok(None);
        };
        Ok(Some((certified.certificate, ledger.validators_at(height)?)))
    });
    let (certificate, validators) = found.await?.ok_or_else(|| no_block(height, first))?;
    let power = |account| {
        let mut validators = validators.iter();
        validators
            .find(|one| one.account == account)
            .map(|one| one.power)
    };
    let signers: Vec<_> = certificate
        .signatures
        .iter()
        .map(|one| Signer {
            account: one.validator,
            signature: Signature::from_raw(one.signature),
            power: power(one.validator),
        })
        .collect();
    Ok(Json(CertificateAnswer {
        height: height.get(),
        block: certificate.block,
        round: certificate.round,
        power: signers.iter().filter_map(|signer| signer.power).sum(),
        total_power: validators.iter().map(|one| one.power).sum(),
        signers,
    }))
}
