//! Real nodes in this process, on loopback, driven through their HTTP API.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test file uses a part"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod contest;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agon_node::api::types::{Addresses, Admitted, ReceiptView, Status, TransactionStatus};
use agon_node::config::{ADDRESSES_FILE, NodeConfig};
use agon_node::keys::AccountKey;
use agon_node::node::{NodeError, run_with};
use agon_node::verification::{ProofFinding, ProofVerifier, Submitted};
use agon_protocol::codec::Encode;
use agon_protocol::genesis::{Genesis, GenesisBalance, GenesisValidator, Parameters};
use agon_protocol::identity::AccountId;
use agon_protocol::statement::Dataset;
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use agon_protocol::units::{Amount, TimeMs};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again and again until `look` finds something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// Accepts the proofs that begin with "valid".
pub struct Scripted;

impl ProofVerifier for Scripted {
    fn verify(&self, batch: &[Submitted<'_>], _: &Dataset) -> Vec<ProofFinding> {
        let judge = |one: &Submitted<'_>| match one.proof.starts_with(b"valid") {
            true => Ok(Ok(())),
            false => Ok(Err("scripted".into())),
        };
        batch.iter().map(judge).collect()
    }
}

pub fn key(number: u8) -> AccountKey {
    AccountKey::from_secret([number + 1; 32])
}

pub fn account(number: u8) -> AccountId {
    key(number).account()
}

pub fn now_ms() -> u64 {
    agon_node::node::clock::now().get()
}

/// Validators are keys 0, 1, …; keys 10 to 14 own 1,000 each.
pub fn genesis(name: &str, validators: u8) -> Genesis {
    Genesis {
        name: name.into(),
        protocol_version: 1,
        time: TimeMs::new(now_ms() - 1_000),
        validators: (0..validators)
            .map(|number| GenesisValidator {
                account: account(number),
                power: 1,
            })
            .collect(),
        balances: (10..15)
            .map(|number| GenesisBalance {
                account: account(number),
                amount: Amount::new(1_000),
            })
            .collect(),
        parameters: Parameters {
            min_samples: 2,
            min_window_ms: 1,
            ..Parameters::default()
        },
    }
}

pub fn sign(genesis: &Genesis, sender: u8, nonce: u64, action: Action) -> SignedTransaction {
    key(sender).sign(Transaction {
        network: genesis.network_id(),
        sender: account(sender),
        nonce,
        action,
    })
}

pub fn transfer(genesis: &Genesis, sender: u8, nonce: u64, amount: u64) -> SignedTransaction {
    sign(
        genesis,
        sender,
        nonce,
        Action::Transfer {
            to: account(99),
            amount: Amount::new(amount),
        },
    )
}

/// A free loopback port; somebody else could take it before it is used, but not the other tests, which ask for other ones.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: Vec<_> = (0..N)
        .map(|_| StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    std::array::from_fn(|index| listeners[index].local_addr().unwrap().port())
}

/// Writes the folder of a node; with a key it may validate.
pub fn folder(dir: &Path, genesis: &Genesis, key: Option<&AccountKey>) -> NodeConfig {
    let mut config = NodeConfig {
        data_dir: dir.to_owned(),
        ..NodeConfig::default()
    };
    config.api.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.network.listen = "/ip4/127.0.0.1/tcp/0".into();
    config.consensus.listen = "/ip4/127.0.0.1/tcp/0".into();
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(
        dir.join("genesis.json"),
        serde_json::to_vec(genesis).unwrap(),
    )
    .unwrap();
    if let Some(key) = key {
        key.save(&dir.join("node.key")).unwrap();
        config.key = Some("node.key".into());
    }
    config
}

/// A running node.
pub struct Running {
    pub addresses: Addresses,
    stop: CancellationToken,
    task: JoinHandle<Result<(), NodeError>>,
}

/// Starts a node that must come up.
pub async fn start(config: &NodeConfig) -> Running {
    match try_start(config).await {
        Ok(running) => running,
        Err(error) => panic!("the node did not start: {error}"),
    }
}

pub async fn try_start(config: &NodeConfig) -> Result<Running, NodeError> {
    let stop = CancellationToken::new();
    let mut task = tokio::spawn(run_with(config.clone(), Arc::new(Scripted), stop.clone()));
    let file: PathBuf = config.data_dir.join(ADDRESSES_FILE);
    let up = until("the node listens", || async {
        serde_json::from_slice(&std::fs::read(&file).ok()?).ok()
    });
    tokio::select! {
        addresses = up => Ok(Running { addresses, stop, task }),
        ended = &mut task => Err(ended.unwrap().expect_err("it was not told to stop")),
    }
}

impl Running {
    pub fn api(&self) -> SocketAddr {
        self.addresses.api.parse().unwrap()
    }

    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    pub async fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        request(self.api(), method, path, body).await
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.request("GET", path, b"").await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    pub async fn status(&self) -> Status {
        self.get("/v1/status").await
    }

    /// Sends a transaction that must be admitted.
    pub async fn send(&self, transaction: &SignedTransaction) {
        let (status, body) = self
            .request("POST", "/v1/transactions", &transaction.to_bytes())
            .await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let admitted: Admitted = serde_json::from_slice(&body).unwrap();
        assert_eq!(admitted.id, transaction.id());
    }

    /// Waits until a transaction is in a block, and returns what it did.
    pub async fn committed(&self, transaction: &SignedTransaction) -> ReceiptView {
        let path = format!("/v1/transactions/{}", transaction.id());
        until("the transaction is in a block", || async {
            match self.get::<TransactionStatus>(&path).await {
                TransactionStatus::Committed { receipt, .. } => Some(receipt),
                TransactionStatus::Refused { error } => panic!("refused: {error}"),
                TransactionStatus::Pending { .. } | TransactionStatus::Unknown => None,
            }
        })
        .await
    }
}

/// One request on one connection, with nothing but the bytes of HTTP/1.1: status and body of the answer.
pub async fn request(api: SocketAddr, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let (head, body) = exchange(api, method, path, body).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body)
}

/// The same: head and body of the answer.
pub async fn exchange(api: SocketAddr, method: &str, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    exchange_with(api, method, path, &[], body).await
}

/// The same with more headers.
pub async fn exchange_with(
    api: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (String, Vec<u8>) {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    let body = body.to_vec();
    let exchange = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    let answer = exchange.await.unwrap();
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    (head.to_owned(), answer[end + 4..].to_vec())
}
