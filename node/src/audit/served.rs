//! A running node as a source, and what it serves against what follows from its blocks.
//!
//! The chain goes on while it is audited. An answer that differs is asked for again after the new blocks were
//! executed; what still differs is wrong.

use std::sync::Arc;

use agon_network::blobs::MAX_BLOB_BYTES;
use agon_protocol::block::Block;
use agon_protocol::codec::Decode;
use agon_protocol::competition::{BlobRef, Competition};
use agon_protocol::genesis::Genesis;
use agon_protocol::state::State;

use super::replay::Step;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::report::Place;
use super::source::{Held, RawBlock, Source, SourceError};
use crate::api::types::{BlockView, ReceiptView};
use crate::api::views;
use crate::client::{Client, ClientError};
use crate::ledger::{BlockOutcome, CommittedBlock};
use crate::node::clock::next_block_time;
use crate::reasons::Reasons;
use agon_consensus::CertifiedBlock;

/// A node's API.
#[derive(Debug)]
pub struct RunningNode {
    client: Client,
}

/// A difference between what a node serves and what is right.
pub(super) type Difference = (Place, String);

impl RunningNode {
    /// The node of a client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The genesis that the node says it has.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn genesis(&self) -> Result<Genesis, ClientError> {
        self.client.genesis()
    }

    /// Compares a block as it is shown to people.
    pub(super) fn check_block(&self, step: &Step) -> Result<Option<Difference>, ClientError> {
        let Some(certificate) = step.certificate.clone() else {
            return Ok(None);
        };
        let shown = self.client.block(step.block.height.get())?;
        let right = views::block(&CommittedBlock {
            block: step.block.clone(),
            certificate,
            outcome: BlockOutcome {
                receipts: step.applied.receipts.clone(),
                events: step.applied.events.clone(),
            },
        });
        Ok(block_difference(&right, &shown))
    }

    /// Compares the balance of every account.
    pub(super) fn check_account(
        &self,
        state: &State,
        account: &agon_protocol::identity::AccountId,
    ) -> Result<Option<Difference>, ClientError> {
        let (shown, right) = (self.client.account(account)?, state.account(account));
        let place = Place::account(*account);
        if shown.balance != right.balance.get() {
            let what = format!("the node says {}, it is {}", shown.balance, right.balance);
            return Ok(Some((place.field("balance"), what)));
        }
        // waiting transactions are counted
        if shown.nonce < right.nonce {
            let what = format!("the node says {}, it is {}", shown.nonce, right.nonce);
            return Ok(Some((place.field("nonce"), what)));
        }
        Ok(None)
    }

    /// Compares a competition, its ranking and its registrations.
    pub(super) fn check_competition(
        &self,
        state: &State,
        competition: &Arc<Competition>,
    ) -> Result<Option<Difference>, ClientError> {
        let reasons = Reasons::new(competition.clone());
        let place = || Place::competition(competition.id);
        // a deadline may pass between the answer and the look at the clock
        let before = next_block_time(state);
        let (shown, board) = (
            self.client.competition(&competition.id)?,
            self.client.leaderboard(&competition.id)?,
        );
        let times = [before, next_block_time(state)];
        if !times
            .iter()
            .any(|time| shown == views::competition(competition, *time))
        {
            let what = "the node shows other terms, another phase or other registrations";
            return Ok(Some((place(), what.into())));
        }
        if !times
            .iter()
            .any(|time| board == as_read(&views::leaderboard(&reasons, *time)))
        {
            let what = "the node shows another ranking";
            return Ok(Some((place().field("leaderboard"), what.into())));
        }
        for registration in &competition.registrations {
            let shown = self.client.registration(&registration.id)?;
            if shown != as_read(&views::registration(registration, &reasons)) {
                let field = format!("registration {}", registration.id);
                let what = "the node shows another registration";
                return Ok(Some((place().field(field), what.into())));
            }
        }
        Ok(None)
    }
}

/// A view as a client reads it: the text of a fraction need not read back as the very same fraction.
fn as_read<T: Serialize + DeserializeOwned>(view: &T) -> T {
    serde_json::to_vec(view)
        .and_then(|text| serde_json::from_slice(&text))
        .expect("the API's objects are read by the types that wrote them")
}

fn block_difference(right: &BlockView, shown: &BlockView) -> Option<Difference> {
    let place = Place::block(right.height);
    let mut pairs = right.transactions.iter().zip(&shown.transactions);
    if let Some((transaction, _)) = pairs.find(|(right, shown)| right != shown) {
        let place = place.transaction(transaction.id).field("receipt");
        return Some((place, "the node shows another receipt".into()));
    }
    // a fuller certificate may have come meanwhile
    let same = BlockView {
        certificate: right.certificate.clone(),
        ..shown.clone()
    };
    (same != *right).then(|| (place, "the node shows another block or other events".into()))
}

fn unavailable(error: ClientError) -> SourceError {
    SourceError::Unavailable(error.to_string())
}

fn not_found(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { status: 404, .. })
}

impl Source for RunningNode {
    fn tip(&self) -> Result<u64, SourceError> {
        Ok(self.client.status().map_err(unavailable)?.height)
    }

    fn block(&self, height: u64) -> Result<Option<RawBlock>, SourceError> {
        let certified = match self.client.certified(height) {
            Ok(bytes) => bytes,
            Err(error) if not_found(&error) => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let certified = CertifiedBlock::from_bytes(&certified).map_err(|error| {
            SourceError::Damaged(format!("what the node serves does not decode: {error}"))
        })?;
        let asks =
            Block::from_bytes(&certified.block).is_ok_and(|block| !block.transactions.is_empty());
        let refused = match asks {
            false => Vec::new(),
            true => refused(&self.client.block(height).map_err(unavailable)?),
        };
        Ok(Some(RawBlock {
            certificate: agon_protocol::codec::Encode::to_bytes(&certified.certificate),
            block: certified.block,
            refused,
        }))
    }

    fn blob(&self, blob: &BlobRef) -> Result<Held, SourceError> {
        match self.client.blob(&blob.id, MAX_BLOB_BYTES) {
            Ok(bytes) => Ok(Held::Bytes(bytes)),
            Err(error) if not_found(&error) => Ok(Held::Missing),
            Err(ClientError::WrongBlob { id }) => Ok(Held::Damaged {
                place: Box::new(Place::blob(id)),
                what: "the node serves other bytes".into(),
            }),
            Err(error) => Err(unavailable(error)),
        }
    }
}

fn refused(shown: &BlockView) -> Vec<u32> {
    let receipts = (0u32..).zip(&shown.transactions);
    receipts
        .filter(|(_, transaction)| transaction.receipt != ReceiptView::Accepted)
        .map(|(index, _)| index)
        .collect()
}
