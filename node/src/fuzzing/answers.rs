//! What a node answers, as its client reads it: the node that a person or an audit asks may be anybody's.

use std::fmt::Debug;

use agon_protocol::genesis::Genesis;
use agon_protocol::units::TimeMs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::story::{PROOFS_MS, STORY};
use crate::api::types::{
    AccountView, Admitted, BlockView, CertificateAnswer, CompetitionSummary, CompetitionView,
    ErrorBody, EvidenceView, Leaderboard, NetworkSummary, Peers, Readiness, RegistrationView,
    Status, StoredBlob, SubmissionView, TransactionStatus, ValidatorsView,
};
use crate::api::views;
use crate::reasons::Reasons;

/// What was read is written as something that reads as the same.
fn exact<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else {
        return false;
    };
    let text = serde_json::to_vec(&value).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&text).expect("what was written can be read");
    assert_eq!(again, value);
    true
}

/// The same for answers with scores, whose last bit JSON may lose: ranks come from tallies.
fn readable<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else {
        return false;
    };
    let text = serde_json::to_vec(&value).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&text);
    assert!(again.is_ok(), "what was written cannot be read");
    true
}

/// An answer of a node; the first byte says to which question.
pub fn answer(bytes: &[u8]) -> bool {
    let Some((kind, json)) = bytes.split_first() else {
        return false;
    };
    match kind {
        b'a' => exact::<AccountView>(json),
        b'b' => exact::<BlockView>(json),
        b'c' => exact::<CompetitionView>(json),
        b'd' => exact::<Admitted>(json),
        b'e' => exact::<ErrorBody>(json),
        b'g' => exact::<Genesis>(json),
        b'h' => exact::<Readiness>(json),
        b'i' => exact::<Vec<EvidenceView>>(json),
        b'l' => readable::<Leaderboard>(json),
        b'n' => exact::<Vec<CompetitionSummary>>(json),
        b'o' => exact::<StoredBlob>(json),
        b'p' => exact::<Peers>(json),
        b'r' => readable::<RegistrationView>(json),
        b's' => exact::<Status>(json),
        b't' => exact::<TransactionStatus>(json),
        b'u' => readable::<Vec<SubmissionView>>(json),
        b'v' => exact::<ValidatorsView>(json),
        b'w' => readable::<NetworkSummary>(json),
        b'x' => readable::<CertificateAnswer>(json),
        _ => false,
    }
}

/// One answer of most kinds.
pub fn answers() -> Vec<Vec<u8>> {
    let story = &*STORY;
    let time = TimeMs::new(PROOFS_MS);
    let competition = story
        .state
        .shared_competition(&story.proven.competition.id)
        .expect("the story has a competition");
    let view = views::competition(&competition, time);
    let reasons = Reasons::new(competition.clone());
    let registration = views::registration(&competition.registrations[0], &reasons);
    let tip = story.ledger.state().height();
    let block = story.ledger.block(tip).expect("the store is readable");
    let block = views::block(&block.expect("the tip is in the ledger"));
    let (id, account) = (&block.id, &view.summary.host);
    let made = [
        (b'a', json!({"account": account, "balance": 7, "nonce": 1})),
        (b'b', json!(block)),
        (b'c', json!(view)),
        (b'd', json!({"id": id})),
        (
            b'e',
            json!({"code": "bad_request", "error": "it is late", "hint": "be early", "rule": null}),
        ),
        (b'g', json!(story.genesis)),
        (b'h', json!({"ready": false, "reasons": ["it is late"]})),
        (b'l', json!(views::leaderboard(&reasons, time))),
        (b'n', json!([view.summary])),
        (b'o', json!({"id": id, "length": 9})),
        (
            b'p',
            json!({
                "peers": [{"peer": "p", "address": "a", "incoming": true, "height": 3, "points": 0}],
                "bans": [{"subject": "192.0.2.7", "until_ms": null, "reason": "operator"}],
            }),
        ),
        (b'r', json!(registration)),
        (b't', json!({"status": "pending", "waiting_for": "a blob"})),
        (
            b't',
            json!({"status": "committed", "height": 3, "index": 0, "receipt": {"outcome": "accepted"}}),
        ),
        (b's', status(id, account)),
        (b'v', json!(views::validators(&story.state))),
        (b'i', evidence(id, account)),
    ];
    let with_kind =
        |(kind, json): (u8, serde_json::Value)| [&[kind][..], json.to_string().as_bytes()].concat();
    made.into_iter().map(with_kind).collect()
}

fn status(id: &impl Serialize, account: &impl Serialize) -> serde_json::Value {
    json!({
        "network": id, "name": "n", "height": 3, "first": 1,
        "snapshots": [{"height": 2, "block": id}], "block": id, "time_ms": 5, "state_root": id,
        "account": account, "validator": false, "restart_to_validate": false, "validators": 4,
        "peers": 2, "version": "0.1.0", "mempool": 0,
    })
}

fn evidence(id: &impl Serialize, account: &impl Serialize) -> serde_json::Value {
    let choice = |block| json!({"block": block, "valid_round": -1, "signature": "07".repeat(64)});
    json!([{
        "validator": account, "height": 3, "round": 0, "kind": "prevote",
        "messages": [choice(None), choice(Some(id))],
    }])
}
