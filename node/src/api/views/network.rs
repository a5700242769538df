//! Validators and evidence.

use agon_consensus::{Contradiction, Evidence, Message};
use agon_protocol::governance::{Measure, Validator};
use agon_protocol::identity::Signature;
use agon_protocol::state::State;
use agon_protocol::units::Height;

use crate::api::types::{
    EvidenceView, PendingMeasure, SignedChoice, ValidatorView, ValidatorsView,
};

pub(crate) fn validators(state: &State) -> ValidatorsView {
    let governance = state.governance();
    let member = |validator: &Validator| ValidatorView {
        account: validator.account,
        power: validator.power,
        rotated_at: validator.rotated_at.map(Height::get),
    };
    let pending = |measure: Measure| {
        let approving = governance.validators.iter();
        let approving = approving.filter(|validator| validator.approvals.contains(&measure));
        PendingMeasure {
            approving_power: governance.approving_power(&measure),
            approved_by: approving.map(|validator| validator.account).collect(),
            measure,
        }
    };
    ValidatorsView {
        height: state.height().get(),
        set_version: governance.set_version,
        total_power: governance.total_power(),
        validators: governance.validators.iter().map(member).collect(),
        pending: governance
            .open_measures()
            .into_iter()
            .map(pending)
            .collect(),
        protocol_version: governance.protocol_version,
        upgrade: governance.upgrade,
    }
}

pub(in crate::api) fn evidence(evidence: &Evidence) -> EvidenceView {
    let choice = |message: &Message| SignedChoice {
        block: message.block,
        valid_round: message.valid_round,
        signature: Signature::from_raw(message.signature),
    };
    let kind = match evidence.kind {
        Contradiction::Prevote => "prevote",
        Contradiction::Precommit => "precommit",
        Contradiction::Proposal => "proposal",
    };
    EvidenceView {
        validator: evidence.validator,
        height: evidence.height.get(),
        round: evidence.round,
        kind: kind.into(),
        messages: [choice(&evidence.first), choice(&evidence.second)],
    }
}
