//! Bytes that no honest node sends, over gossip and over HTTP, while honest transfers go on.
//!
//! Expected: a peer that gossips malformed, oversized, forged or foreign transactions is cut off by every node, and stays cut off;
//! one that says it belongs to another network is never taken for a peer; duplicates and transactions that nobody can pay for
//! cost little; every HTTP request is answered with the right status; memory stays bounded and honest transfers stay final.

use agon_node::client::Client;
use agon_protocol::codec::Encode;
use agon_protocol::digest::NetworkId;
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::units::Amount;

use super::cast::{FINAL_LIMIT, expect, network_with, warm_up};
use super::{Figures, Stage};
use crate::account::Account;
use crate::load::{RECEIVER, Stream, follow, times};
use crate::measure::{largest, memory};
use crate::network::Network;
use crate::random::{Random, account_key};
use crate::stranger::Stranger;
use crate::{TestnetError, http, invariants, wait_for};

/// Honest transfers a second.
const RATE: f64 = 10.0;
/// What a node may gain in memory, in MiB.
const GROWTH: f64 = 64.0;
/// The longest transaction that the protocol allows, in bytes.
const LONGEST: usize = 1 << 20;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let (mut network, mut accounts) = network_with(stage, &[1_000_000, 1_000])?;
    let clients = network.clients();
    warm_up(&mut accounts[0], &clients)?;
    let nodes = follow(&clients)?;
    let sender = accounts.remove(1);
    let resident = largest(&memory(&network)?);
    let stream = Stream::start(accounts, &clients, RATE, usize::MAX);
    let mut spam = Spam {
        stage,
        network: &network,
        random: stage.random(),
        sender,
        banned: Vec::new(),
        published: 0,
    };
    spam.gossip_lies()?;
    spam.gossip_noise(stage.either(2_000, 100))?;
    spam.claim_another_network()?;
    let answered = spam.http(stage.either(400, 20), &clients)?;
    for stranger in &spam.banned {
        expect(stranger.peers()? == 0, || {
            "a banned peer is connected again".into()
        })?;
    }
    let (banned, published) = (spam.banned.len(), spam.published);
    drop(spam);
    let streamed = stream.stop()?;
    let found = times(&streamed, &nodes, FINAL_LIMIT)?;
    drop(nodes);
    let grown = largest(&memory(&network)?) - resident;

    let accepted: Vec<_> = streamed.sent.iter().map(|sent| sent.id).collect();
    let facts = invariants::hold(&mut network, &accepted)?;
    if !stage.settings.short {
        expect(grown <= GROWTH, || {
            format!("a node has grown by {grown:.0} MiB")
        })?;
    }
    let mut figures = Figures::new();
    figures.count("peers banned by all validators", banned, "peers");
    figures.count("messages published by strangers", published, "messages");
    figures.count(
        "HTTP requests answered as they should be",
        answered,
        "requests",
    );
    figures.count(
        "honest transfers, all in blocks",
        accepted.len(),
        "transfers",
    );
    figures.measure(
        "transfer to final meanwhile, p50",
        found.percentile_ms(50),
        "ms",
    );
    figures.measure(
        "transfer to final meanwhile, p90",
        found.percentile_ms(90),
        "ms",
    );
    figures.measure("memory gained by a validator", grown, "MiB");
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}

struct Spam<'a> {
    stage: &'a Stage,
    network: &'a Network,
    random: Random,
    sender: Account,
    banned: Vec<Stranger>,
    published: u64,
}

impl Spam<'_> {
    /// A peer with an identity of its own.
    fn stranger(&mut self, number: u8, claims: NetworkId) -> Result<Stranger, TestnetError> {
        let folder = self.stage.folder.join(format!("stranger-{number}"));
        Stranger::new(self.network, &folder, [number; 32], claims)
    }

    fn transfer(&self, nonce: u64) -> SignedTransaction {
        let to = RECEIVER;
        let amount = Amount::new(1);
        self.sender.sign_at(nonce, Action::Transfer { to, amount })
    }

    /// A transaction of another network, with a good signature: replayed.
    fn foreign(&mut self) -> Vec<u8> {
        let network = NetworkId::of(&self.random.bytes(8));
        let key = account_key(self.stage.settings.seed, 1);
        let action = Action::Transfer {
            to: RECEIVER,
            amount: Amount::new(1),
        };
        Account::new(key, network).sign(action).to_bytes()
    }

    /// A transaction whose signature is another one's.
    fn forged(&mut self) -> Vec<u8> {
        let nonce = self.random.number();
        let mut forged = self.transfer(nonce);
        forged.signature = self.transfer(0).signature;
        forged.to_bytes()
    }

    fn lie(&mut self, kind: u8) -> Vec<u8> {
        match kind {
            0 => self.random.bytes(300),
            1 => self.random.bytes(LONGEST + 1),
            2 => self.forged(),
            _ => self.foreign(),
        }
    }

    /// Each kind of lie from a peer of its own, until every node has cut it off.
    fn gossip_lies(&mut self) -> Result<(), TestnetError> {
        for kind in 0..4 {
            let liar = self.stranger(kind + 1, self.network.id())?;
            liar.wait_joined(self.network.size())?;
            wait_for("the ban of a peer that lies", FINAL_LIMIT, || {
                let lie = self.lie(kind);
                self.published += u64::from(liar.publish(&lie)?);
                Ok((liar.peers()? == 0).then_some(()))
            })?;
            self.banned.push(liar);
        }
        Ok(())
    }

    /// What is no lie and still useless: the same again and again, and what nobody can pay for. It is dropped, and blames nobody.
    fn gossip_noise(&mut self, count: u64) -> Result<(), TestnetError> {
        let noisy = self.stranger(20, self.network.id())?;
        noisy.wait_joined(self.network.size())?;
        let paid = self.transfer(0).to_bytes();
        for number in 0..count {
            let poor = Account::new(
                account_key(self.random.number(), number as u32),
                self.network.id(),
            );
            let unpaid = poor.sign_at(
                number % 3,
                Action::Transfer {
                    to: RECEIVER,
                    amount: Amount::new(1),
                },
            );
            for bytes in [&paid, &unpaid.to_bytes()] {
                self.published += u64::from(noisy.publish(bytes)?);
            }
        }
        let peers = noisy.peers()?;
        expect(peers == self.network.size(), || {
            format!(
                "a peer that sends useless transactions is still the peer of {peers} nodes only"
            )
        })
    }

    /// A peer that names another network finds nobody.
    fn claim_another_network(&mut self) -> Result<(), TestnetError> {
        let other = NetworkId::of(b"another network");
        let stranger = self.stranger(30, other)?;
        let name = stranger.name();
        let log = self.network.log(0);
        wait_for(
            "the refusal of a peer of another network",
            FINAL_LIMIT,
            || {
                let text = std::fs::read(&log)
                    .map_err(TestnetError::system(format!("reading {}", log.display())))?;
                let text = String::from_utf8_lossy(&text);
                let refused = text
                    .lines()
                    .any(|line| line.contains(&name) && line.contains("turned away"));
                Ok(refused.then_some(()))
            },
        )?;
        expect(stranger.peers()? == 0, || {
            "a peer of another network was taken".into()
        })
    }

    /// Every kind of bad request, `count` times each. Returns how many were answered.
    fn http(&mut self, count: u64, clients: &[&Client]) -> Result<u64, TestnetError> {
        let mut answered = 0;
        let again = self.transfer(0).to_bytes();
        for number in 0..count {
            let unpaid = Account::new(account_key(self.random.number(), 3), self.network.id())
                .sign(Action::Transfer {
                    to: RECEIVER,
                    amount: Amount::new(1),
                });
            let mut requests = vec![
                (self.random.bytes(300), 400),
                (self.forged(), 400),
                (self.foreign(), 400),
                (unpaid.to_bytes(), 422),
                (again.clone(), 200),
            ];
            // long bodies cost whoever sends them most
            if number % 20 == 0 {
                requests.push((vec![0; 2 * LONGEST], 413));
            }
            for (body, expected) in requests {
                let url = clients[number as usize % clients.len()].url();
                let status = http::post(url, "/v1/transactions", &body)?;
                expect(status == expected, || {
                    format!(
                        "{} bytes were answered with {status}, not {expected}",
                        body.len()
                    )
                })?;
                answered += 1;
            }
        }
        Ok(answered)
    }
}
