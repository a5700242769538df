//! What a node does when it is full or beset, seen through its HTTP API. `node/SECURITY.md` lists the rest.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node_support;

use std::io::{Read, Write};
use std::net::TcpStream;

use agon_node::api::types::{BanView, Peers, TransactionStatus};
use agon_protocol::codec::Encode;
use node_support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_when_to_come_back_and_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("full", 1);
    // an observer whose validator is away: nothing leaves its pool
    let mut config = folder(dir.path(), &genesis, None);
    config.mempool.transactions = 2;
    config.mempool.reserved_percent = 0;
    let node = start(&config).await;
    let kept = [transfer(&genesis, 10, 0, 1), transfer(&genesis, 11, 0, 1)];
    for transaction in &kept {
        node.send(transaction).await;
    }
    let refused = transfer(&genesis, 12, 0, 1);
    let path = "/v1/transactions";
    let (head, body) = exchange(node.api(), "POST", path, &refused.to_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("\r\nretry-after: "), "{head}");
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("full") && body.contains("again"), "{body}");
    // also for whoever sends the same once more
    node.send(&kept[0]).await;
    for transaction in &kept {
        let path = format!("/v1/transactions/{}", transaction.id());
        let status: TransactionStatus = node.get(&path).await;
        assert!(
            matches!(status, TransactionStatus::Pending { .. }),
            "{status:?}"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_all_connections_are_in_use_waits_for_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = folder(dir.path(), &genesis("busy", 1), None);
    config.api.connections = 1;
    let node = start(&config).await;
    let api = node.api();
    let asks = |mut stream: TcpStream| {
        tokio::task::spawn_blocking(move || {
            let ask = b"GET /v1/status HTTP/1.1\r\nhost: node\r\n\r\n";
            stream.write_all(ask).unwrap();
            let mut answer = [0; 4 << 10];
            let length = stream.read(&mut answer).unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
            stream
        })
    };
    // an answer shows that it has its place
    let mut first = asks(TcpStream::connect(api).unwrap()).await.unwrap();
    let waiting = tokio::spawn(request(api, "GET", "/v1/status", b""));
    for _ in 0..100 {
        first = asks(first).await.unwrap();
    }
    assert!(!waiting.is_finished(), "answered beside a hundred others");
    drop(first);
    let (status, _) = tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_who_is_kept_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = folder(dir.path(), &genesis("bans", 1), None);
    config.network.banned = vec!["192.0.2.7".into()];
    std::fs::write(
        dir.path().join("bans.txt"),
        format!("192.0.2.8 {} invalid_block\n192.0.2.9 1 excess\n", u64::MAX),
    )
    .unwrap();
    let node = start(&config).await;
    let shown: Peers = node.get("/v1/peers").await;
    let ban = |subject: &str, until_ms, reason: &str| BanView {
        subject: subject.into(),
        until_ms,
        reason: reason.into(),
    };
    assert_eq!(
        shown.bans,
        [
            ban("192.0.2.7", None, "operator"),
            ban("192.0.2.8", Some(u64::MAX), "invalid_block"),
        ]
    );
    assert!(shown.peers.is_empty());
    node.stop().await;
    config.network.banned = vec!["nobody".into()];
    let error = try_start(&config).await.err().unwrap().to_string();
    assert!(error.contains("network.banned"), "{error}");
}
