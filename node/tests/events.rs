//! What listeners hear of a competition, from its announcement to its payment.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node_support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;

use node_support::contest::Contest;
use node_support::*;
use serde_json::Value;

/// An event as it came.
#[derive(Debug, Clone)]
struct Heard {
    id: String,
    kind: String,
    data: Value,
}

/// Listens on a thread of its own until the connection ends.
fn listen(api: SocketAddr, path: &str, last: Option<&str>) -> mpsc::Receiver<Heard> {
    let mut stream = TcpStream::connect(api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let last = last
        .map(|id| format!("last-event-id: {id}\r\n"))
        .unwrap_or_default();
    let head = format!("GET {path} HTTP/1.1\r\nhost: node\r\n{last}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut id, mut kind) = (String::new(), String::new());
        // the lines between are the head and the lengths of chunks
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            } else if let Some(text) = line.strip_prefix("event: ") {
                kind = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(text).unwrap();
                let (id, kind) = (id.clone(), kind.clone());
                if sender.send(Heard { id, kind, data }).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

fn hear_until(events: &mpsc::Receiver<Heard>, last: impl Fn(&Heard) -> bool) -> Vec<Heard> {
    let mut all = Vec::new();
    loop {
        all.push(events.recv_timeout(PATIENCE).expect("an event"));
        if last(&all[all.len() - 1]) {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_a_competition_in_order_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("events", 1);
    let node = start(&folder(dir.path(), &genesis, Some(&key(0)))).await;
    let events = listen(node.api(), "/v1/events", None);
    let hello = events.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (&hello.kind[..], &hello.data["resumed"]),
        ("hello", &Value::Bool(false))
    );

    let mut contest = Contest::announce(&node, &genesis).await;
    contest.register(&node).await;
    contest.release(&node).await;
    contest.prove(&node).await;
    contest.paid(&node).await;
    let paid = |heard: &Heard| heard.kind == "leaderboard" && heard.data["height"].is_u64();
    let settled = |heard: &Heard| heard.kind == "competition" && heard.data["phase"] == "paid";
    let mut all = hear_until(&events, settled);
    all.extend(hear_until(&events, paid));

    let of = |kind: &'static str| all.iter().filter(move |heard| heard.kind == kind);
    let heights: Vec<_> = of("block")
        .map(|heard| heard.data["height"].as_u64().unwrap())
        .collect();
    assert!(
        heights.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{heights:?}"
    );
    let numbers = all
        .iter()
        .map(|heard| heard.id.split_once('-').unwrap().1.parse::<u64>().unwrap());
    assert!(
        numbers
            .clone()
            .zip(numbers.skip(1))
            .all(|(one, next)| next == one + 1)
    );
    let id = contest.competition.to_string();
    let phases: Vec<_> = of("competition")
        .map(|heard| heard.data["phase"].as_str().unwrap())
        .collect();
    assert_eq!(phases, ["announced", "open", "sealed", "proving", "paid"]);
    assert_eq!(of("registration").count(), 3);
    let last = of("registration").next_back().unwrap();
    assert_eq!(last.data["registrations"], 3);
    let final_states: Vec<_> = of("submission")
        .filter(|heard| heard.data["height"].is_u64())
        .map(|heard| heard.data["state"].as_str().unwrap())
        .collect();
    assert_eq!(final_states, ["accepted", "accepted", "refused"]);
    let board = of("leaderboard").next_back().unwrap();
    assert_eq!(
        (&board.data["ranked"], board.data["competition"].as_str()),
        (&2.into(), Some(&id[..]))
    );
    // of equals, the first to register
    assert_eq!(board.data["first"]["competitor"], account(11).to_string());
    // what happened before its block was told is told after it
    let block = all.iter().position(|heard| heard.kind == "block");
    let opened = all.iter().position(|heard| heard.kind == "competition");
    assert!(block < opened);

    // from the middle on, everything comes again, of what is wanted
    let middle = &all[all.len() / 2];
    let again = listen(node.api(), "/v1/events", Some(&middle.id));
    let hello = again.recv_timeout(PATIENCE).unwrap();
    assert_eq!(hello.data["resumed"], true);
    let next = again.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next.id, all[all.len() / 2 + 1].id);
    let only = listen(node.api(), "/v1/events?kinds=leaderboard", Some(&all[0].id));
    assert_eq!(only.recv_timeout(PATIENCE).unwrap().kind, "hello");
    assert_eq!(only.recv_timeout(PATIENCE).unwrap().kind, "leaderboard");
    let foreign = listen(node.api(), "/v1/events", Some("1-1"));
    assert_eq!(
        foreign.recv_timeout(PATIENCE).unwrap().data["resumed"],
        false
    );
    let (status, _) = node.request("GET", "/v1/events?kinds=gossip", b"").await;
    assert_eq!(status, 400);
    // listeners do not keep a node from stopping
    node.stop().await;
    assert!(events.iter().all(|heard| heard.kind != "hello"));
}
