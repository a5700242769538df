//! Tells the operator when the node's account joins or leaves the validators.
//!
//! What a node runs is decided at its start: an observer that became a validator validates after a restart. A validator that
//! left signs nothing any more, for the engine signs at the heights of its account only, and observes after a restart.

use std::sync::Arc;

use agon_protocol::identity::AccountId;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use crate::ledger::Ledger;

/// Follows the set until `stop`; `has_engine` is whether this node was started as a validator.
pub(super) async fn watch(
    ledger: Arc<Ledger>,
    account: AccountId,
    has_engine: bool,
    stop: CancellationToken,
) -> Result<(), NodeError> {
    let mut height = ledger.watch();
    let mut was_member = has_engine;
    loop {
        let is_member = ledger
            .validators()
            .iter()
            .any(|validator| validator.account == account);
        if is_member != was_member {
            tell(&account, is_member, has_engine);
            was_member = is_member;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = height.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

fn tell(account: &AccountId, is_member: bool, has_engine: bool) {
    match (is_member, has_engine) {
        (true, false) => {
            tracing::warn!(%account, "this account is a validator now: restart the node to validate")
        }
        (true, true) => tracing::info!(%account, "this account is a validator again"),
        (false, _) => tracing::warn!(
            %account,
            "this account is no validator any more: the node signs nothing, and observes once it is restarted"
        ),
    }
}
