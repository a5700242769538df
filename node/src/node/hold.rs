//! A validator that must not vote yet: its folder was restored from a backup, or its engine's log lost votes.
//!
//! It may have signed, at heights that it no longer knows of, what it would now contradict. So it follows the blocks of others until
//! the network has certified a block above everything it can have signed, and validates from then on
//! ([decision 0030](../../../protocol-spec/decisions/0030-a-second-memory-of-what-was-signed.md)).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use agon_protocol::identity::AccountId;
use agon_protocol::units::Height;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::NodeError;
use super::follower::Follower;
use crate::ledger::Ledger;

/// A block whose time is later than the moment of the hold by this was proposed after that moment: no honest validator votes for
/// a block more than 5 s before or 2 s ahead of its clock, and clocks may differ by some seconds.
const MARGIN_MS: u64 = 20_000;
/// Blocks behind that moment that must not carry this validator's own signature: whoever signs them has a copy of the key.
const WATCHED_BLOCKS: u64 = 3;

/// The file in the data folder that says so.
pub const HOLD_FILE: &str = "hold.json";

/// Why and until when a validator must not vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// For people.
    pub reason: String,
    /// It may have signed anything before this time, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_before_ms: Option<u64>,
    /// It may have signed anything at this height and below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_up_to_height: Option<u64>,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(HOLD_FILE)
}

impl Hold {
    /// The hold of a folder, if there is one.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, NodeError> {
        let path = path(data_dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(NodeError::Io { path, source }),
        };
        let unusable = |reason| NodeError::Hold { path, reason };
        match serde_json::from_slice::<Self>(&text) {
            Err(error) => Err(unusable(error.to_string())),
            // it would be over at once
            Ok(hold) if hold.signed_before_ms.is_none() && hold.signed_up_to_height.is_none() => {
                let reason = "it names neither signed_before_ms nor signed_up_to_height";
                Err(unusable(reason.into()))
            }
            Ok(hold) => Ok(Some(hold)),
        }
    }

    /// Has the hold on disk. It is written whole or not at all.
    pub fn save(&self, data_dir: &Path) -> Result<(), NodeError> {
        let path = path(data_dir);
        let new = data_dir.join(format!("{HOLD_FILE}.new"));
        let text = serde_json::to_vec_pretty(self).expect("a hold has string keys only");
        let write = || {
            let mut file = fs::File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            fs::File::open(data_dir)?.sync_all()
        };
        write().map_err(|source| NodeError::Io {
            path: path.clone(),
            source,
        })
    }

    /// The validator may vote again.
    pub(super) fn lift(data_dir: &Path) -> Result<(), NodeError> {
        let path = path(data_dir);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(NodeError::Io { path, source })
            }
            _ => Ok(()),
        }
    }

    /// What `GET /ready` says of it.
    pub(super) fn describe(&self) -> String {
        let until = match (self.signed_before_ms, self.signed_up_to_height) {
            (_, Some(height)) => format!("block {height} is certified"),
            _ => "blocks made after that moment are certified".into(),
        };
        format!(
            "this validator does not vote yet ({}): it observes until {until}",
            self.reason
        )
    }

    /// Whether the chain is above everything this validator can have signed.
    ///
    /// # Errors
    /// When somebody else signs with this validator's key.
    pub(super) fn is_over(&self, ledger: &Ledger, own: &AccountId) -> Result<bool, NodeError> {
        let state = ledger.state();
        let height = state.height();
        if self
            .signed_up_to_height
            .is_some_and(|up_to| height.get() < up_to)
        {
            return Ok(false);
        }
        let Some(before) = self.signed_before_ms else {
            return Ok(true);
        };
        let safe = before.saturating_add(MARGIN_MS);
        let mut next = Some(height);
        for _ in 0..WATCHED_BLOCKS {
            let Some(block) = next
                .map(|height| ledger.block(height))
                .transpose()?
                .flatten()
            else {
                return Ok(false);
            };
            if block.block.time.get() <= safe {
                return Ok(false);
            }
            let mut signers = block.certificate.signatures.iter();
            if signers.any(|signature| signature.validator == *own) {
                return Err(NodeError::KeyInUse {
                    height: block.block.height,
                });
            }
            next = below(block.block.height);
        }
        Ok(true)
    }
}

fn below(height: Height) -> Option<Height> {
    height.get().checked_sub(1).map(Height::new)
}

/// Follows the blocks of others until the hold is over, or the node stops. The follower has ended when this returns, so that the engine
/// can take the ledger over.
pub(super) async fn observe(
    follower: Follower,
    hold: Hold,
    own: AccountId,
    stop: CancellationToken,
) -> Result<(), NodeError> {
    let ledger = follower.ledger.clone();
    let end = stop.child_token();
    let mut following = pin!(follower.run(end.clone()));
    tokio::select! {
        ended = &mut following => ended,
        over = over(hold, ledger, own) => {
            end.cancel();
            let ended = following.await;
            over.and(ended)
        }
    }
}

async fn over(hold: Hold, ledger: Arc<Ledger>, own: AccountId) -> Result<(), NodeError> {
    let mut height = ledger.watch();
    loop {
        height.borrow_and_update();
        let (asked, chain) = (hold.clone(), ledger.clone());
        let look = tokio::task::spawn_blocking(move || asked.is_over(&chain, &own));
        let over = look
            .await
            .map_err(|error| NodeError::Task(error.to_string()))??;
        if over {
            return Ok(());
        }
        // the sender lives as long as the ledger, which this future holds
        let _ = height.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Believer, extend, genesis};

    fn hold(before: Option<u64>, up_to: Option<u64>) -> Hold {
        Hold {
            reason: "a test".into(),
            signed_before_ms: before,
            signed_up_to_height: up_to,
        }
    }

    #[test]
    fn a_hold_survives_the_disk_and_a_damaged_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Hold::load(folder.path()).unwrap(), None);
        let hold = hold(Some(7), None);
        hold.save(folder.path()).unwrap();
        assert_eq!(Hold::load(folder.path()).unwrap(), Some(hold));
        for damaged in ["{}", r#"{"reason": "until when?"}"#] {
            fs::write(folder.path().join(HOLD_FILE), damaged).unwrap();
            assert!(matches!(
                Hold::load(folder.path()),
                Err(NodeError::Hold { .. })
            ));
        }
        Hold::lift(folder.path()).unwrap();
        Hold::lift(folder.path()).unwrap();
        assert_eq!(Hold::load(folder.path()).unwrap(), None);
    }

    #[test]
    fn lasts_until_the_height_that_may_be_signed_is_certified() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), genesis("hold")).unwrap();
        let own = crate::testing::account(0);
        extend(&ledger, &[], &Believer);
        assert!(!hold(None, Some(2)).is_over(&ledger, &own).unwrap());
        extend(&ledger, &[], &Believer);
        assert!(hold(None, Some(2)).is_over(&ledger, &own).unwrap());
    }

    #[test]
    fn lasts_until_blocks_are_surely_newer_and_nobody_else_signs() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), genesis("hold")).unwrap();
        let other = crate::testing::account(5);
        let signer = crate::testing::account(0);
        for _ in 0..WATCHED_BLOCKS {
            extend(&ledger, &[], &Believer);
        }
        let first = ledger
            .block(Height::new(1))
            .unwrap()
            .unwrap()
            .block
            .time
            .get();
        let newer = hold(Some(first - MARGIN_MS - 1), None);
        assert!(newer.is_over(&ledger, &other).unwrap());
        assert!(matches!(
            newer.is_over(&ledger, &signer),
            Err(NodeError::KeyInUse { .. })
        ));
        // the oldest of the watched blocks could have been signed before
        let older = hold(Some(first - MARGIN_MS), None);
        assert!(!older.is_over(&ledger, &other).unwrap());
        extend(&ledger, &[], &Believer);
        assert!(older.is_over(&ledger, &other).unwrap());
    }
}
