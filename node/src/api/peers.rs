//! Who is connected, and who is kept away.

use axum::Json;
use axum::extract::State;

use super::Server;
use super::types::{BanView, PeerView, Peers};

pub(super) async fn peers(State(server): State<Server>) -> Json<Peers> {
    let network = &server.api.network;
    // a swarm that is stopping has none
    let peers = server.connected().await;
    let bans = network.bans().await.unwrap_or_default();
    Json(Peers {
        peers: peers
            .into_iter()
            .map(|info| PeerView {
                peer: info.peer.to_string(),
                address: info.address.to_string(),
                incoming: info.incoming,
                height: info.tip.height,
                points: info.points,
            })
            .collect(),
        bans: bans
            .into_iter()
            .map(|ban| BanView {
                subject: ban.subject.to_string(),
                until_ms: ban.until_ms,
                reason: ban.reason,
            })
            .collect(),
    })
}
