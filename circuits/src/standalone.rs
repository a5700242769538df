//! Proofs made outside any competition.

use agon_protocol::digest::{CompetitionId, NetworkId, RegistrationId};
use agon_protocol::identity::AccountId;
use agon_protocol::statement::Context;

/// The context of a proof made outside any competition, by `agon prove`.
pub fn standalone_context() -> Context {
    Context {
        network: NetworkId::from_raw([0; 32]),
        competition: CompetitionId::from_raw([0; 32]),
        registration: RegistrationId::from_raw([0; 32]),
        competitor: AccountId::from_raw([0; 32]),
        nonce: 0,
    }
}
