//! The network in numbers, as this node sees it.

use agon_network::PeerInfo;
use axum::Json;
use axum::extract::State;

use super::error::ApiError;
use super::types::{MempoolView, NetworkSummary, PhaseCounts, VerificationView};
use super::{Api, Server, blocking, chain};
use crate::node::clock::next_block_time;
use agon_protocol::competition::Phase;
use agon_protocol::state::State as Ledger;

/// Blocks of the summary.
const BLOCKS: usize = 60;

pub(super) async fn summary(
    State(server): State<Server>,
) -> Result<Json<NetworkSummary>, ApiError> {
    let peers: Vec<PeerInfo> = server.connected().await;
    let summary = blocking(move || {
        let api = &server.api;
        let state = api.ledger.state();
        let evidence = server.remembered.evidence(&api.ledger);
        let validators = state.validators();
        Ok(NetworkSummary {
            network: api.ledger.network(),
            name: api.ledger.genesis().name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol_version: state.governance().protocol_version,
            height: state.height().get(),
            first: api.ledger.first().get(),
            block: state.tip(),
            time_ms: state.time().get(),
            state_root: state.root(),
            genesis_time_ms: api.ledger.genesis().time.get(),
            validators: validators.len(),
            total_power: state.governance().total_power(),
            peers: peers.len(),
            mempool: mempool(api),
            verification: verification(api),
            supply: state.supply().get(),
            treasury: state.treasury().get(),
            competitions: phases(&state),
            evidence,
            blocks: chain::newest(&server, None, BLOCKS)?,
            finality: server.lines.finality(),
            account: api.account,
            validator: validators
                .iter()
                .any(|validator| api.account == Some(validator.account)),
        })
    });
    Ok(Json(summary.await?))
}

fn mempool(api: &Api) -> MempoolView {
    let (stages, bytes) = api.mempool.stages();
    let count = |wanted: &str| {
        let found = stages.iter().find(|(stage, _)| *stage == wanted);
        found.map_or(0, |(_, count)| *count)
    };
    MempoolView {
        transactions: api.mempool.len(),
        bytes,
        nonce: count("nonce"),
        blob: count("blob"),
        ledger: count("ledger"),
        verdict: count("verdict"),
        block: count("block"),
    }
}

fn verification(api: &Api) -> VerificationView {
    let counts = api.verification.counts();
    VerificationView {
        waiting: counts.waiting,
        valid: counts.valid,
        invalid: counts.invalid,
        failures: counts.failures + counts.panics,
    }
}

fn phases(state: &Ledger) -> PhaseCounts {
    let time = next_block_time(state);
    let mut counts = PhaseCounts::default();
    for competition in state.competitions() {
        let count = match competition.phase(time) {
            Phase::Announced => &mut counts.announced,
            Phase::Open => &mut counts.open,
            Phase::Sealed => &mut counts.sealed,
            Phase::Proving => &mut counts.proving,
            Phase::Paid => &mut counts.paid,
            Phase::Void => &mut counts.void,
            Phase::Cancelled => &mut counts.cancelled,
        };
        *count += 1;
    }
    counts
}
