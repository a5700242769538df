//! The demo's story: a host opens a competition, three competitors register hidden models, the key is released, each
//! proves its score, and the prize moves. Every step is a command that anybody can type.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use agon_node::api::types::{Leaderboard, ReceiptView, TransactionStatus};
use agon_protocol::digest::CompetitionId;
use agon_protocol::identity::AccountId;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::assets::{Asset, DIGITS, MODELS, SLOWEST};
use super::network::{Network, VALIDATORS};
use super::processes::{Actor, Interrupt, Process};
use super::timeline::Timeline;
use crate::cli::{Failure, Next};

const PRIZE: u64 = 1_000;
const BOND: u64 = 100;
const DEPOSIT: u64 = 10;
const HOST_BALANCE: u64 = 10_000;
const COMPETITOR_BALANCE: u64 = 100;

/// Everybody in the demo, and where they are.
pub(super) struct Contest<'a> {
    pub(super) folder: &'a Path,
    pub(super) timeline: &'a Timeline,
    pub(super) interrupt: &'a Interrupt,
}

/// An actor and its account.
#[derive(Debug, Clone)]
pub(super) struct Player {
    pub(super) actor: Actor,
    pub(super) account: AccountId,
    pub(super) balance: u64,
}

/// How the contest went.
pub(super) struct Played {
    pub(super) competition: CompetitionId,
    pub(super) leaderboard: Leaderboard,
    pub(super) players: Vec<Player>,
    pub(super) balances: Vec<u64>,
    pub(super) proofs_verified: usize,
    pub(super) settled_height: u64,
}

/// Deadlines that suit this machine, in seconds.
struct Windows {
    register: u64,
    key: u64,
    prove: u64,
}

impl Windows {
    /// From the seconds that the slowest model's proof took alone, the derivation of its generators included when they were
    /// not cached. Proofs are taken from the key's release until the last deadline, so three at once, and their
    /// verification by four validators, have four times that and a constant for the network.
    fn new(prove_seconds: f64) -> Self {
        let scaled =
            |base: f64, factor: f64| (base + factor * prove_seconds).ceil().min(3600.0) as u64;
        Self {
            register: scaled(10.0, 1.5),
            key: scaled(10.0, 1.0),
            prove: scaled(8.0, 4.0),
        }
    }
}

/// A command line.
macro_rules! words {
    ($($word:expr),* $(,)?) => { [$(OsString::from($word)),*] };
}

impl Contest<'_> {
    /// Makes the host's and the competitors' folders and keys: the host first.
    pub(super) fn players(&self) -> Result<Vec<Player>, Failure> {
        let competitors =
            (0..MODELS.len()).map(|index| (format!("competitor-{index}"), COMPETITOR_BALANCE));
        let everybody = std::iter::once(("host".to_owned(), HOST_BALANCE)).chain(competitors);
        let mut players = Vec::new();
        for (name, balance) in everybody {
            let actor = Actor {
                folder: self.folder.join(&name),
                name,
                node: None,
            };
            let key = actor.run("key-new", &words!["key", "new"], self.interrupt)?;
            let account = field(&key, "account")?;
            self.timeline
                .event(&actor.name, format!("made account {account}"));
            players.push(Player {
                actor,
                account,
                balance,
            });
        }
        Ok(players)
    }

    /// Writes the folders of the validators.
    pub(super) fn init_network(&self, players: &[Player]) -> Result<(), Failure> {
        let mut arguments: Vec<OsString> =
            words!["node", "init", "--name", "agon-demo", "--base-port", "0"].into();
        arguments.extend(words![
            "--validators",
            VALIDATORS.to_string(),
            "--data-dir",
            self.folder
        ]);
        for player in players {
            arguments.extend(words![
                "--fund",
                format!("{}={}", player.account, player.balance)
            ]);
        }
        let network = players[0]
            .actor
            .run("node-init", &arguments, self.interrupt)?;
        let id: String = field(&network, "network")?;
        self.timeline.event(
            "network",
            format!("genesis of {id} for {VALIDATORS} validators"),
        );
        Ok(())
    }

    /// Proves the slowest model once, outside any competition, to learn how fast this machine is.
    fn rehearse(&self, host: &Player) -> Result<Windows, Failure> {
        let model = write_asset(&host.actor.folder, SLOWEST)?;
        let proof = host.actor.folder.join("rehearsal.proof");
        let data = host.actor.folder.join(DIGITS.name);
        let arguments = words!["prove", model, "--data", data, "--out", proof];
        let proven = host.actor.run("rehearsal", &arguments, self.interrupt)?;
        let seconds: f64 = field(&proven, "prove_seconds")?;
        let windows = Windows::new(seconds);
        self.timeline.event(
            &host.actor.name,
            format!(
                "rehearsed a proof in {seconds:.1} s: {} s to register, {} s for the key, {} s to prove",
                windows.register, windows.key, windows.prove
            ),
        );
        Ok(windows)
    }

    /// From the opening to the settlement.
    pub(super) fn play(
        &self,
        mut players: Vec<Player>,
        network: &mut Network,
    ) -> Result<Played, Failure> {
        for (index, player) in players.iter_mut().enumerate() {
            player.actor.node = Some(network.clients[index % VALIDATORS].url().to_owned());
        }
        let (host, competitors) = players.split_first().expect("the host is the first player");
        write_asset(&host.actor.folder, DIGITS)?;
        let windows = self.rehearse(host)?;

        self.timeline
            .act("The host seals the test set and puts up the prize");
        let (competition, height) = self.open(host, &windows)?;
        // each competitor asks a validator of its own
        network.wait_for_block(height, self.interrupt)?;
        self.timeline.act("Competitors commit to hidden models");
        self.register(competitors, &competition, network)?;
        self.timeline
            .act("Registration closes, the key is released, everybody proves");
        let proofs_verified = self.prove(host, competitors, &competition, network)?;
        self.timeline
            .act("The deadline passes: the scorer ranks, the prize moves");
        let arguments = words!["leaderboard", competition.to_string(), "--wait"];
        let mut waiting = vec![host.actor.start("leaderboard", &arguments)?];
        let leaderboard = self.first_result(&mut waiting, network)?.1;
        let leaderboard: Leaderboard = serde_json::from_value(leaderboard)
            .next("report this as a bug: the leaderboard is not one")?;
        let settled_height = network.height();
        self.timeline.block(
            settled_height,
            "scorer",
            format!("competition is {}", leaderboard.phase),
        );
        let balance = |player: &Player| network.clients[0].account(&player.account);
        let balances = players
            .iter()
            .map(|player| balance(player).map(|view| view.balance))
            .collect::<Result<_, _>>()?;
        Ok(Played {
            competition,
            leaderboard,
            players,
            balances,
            proofs_verified,
            settled_height,
        })
    }

    fn open(&self, host: &Player, windows: &Windows) -> Result<(CompetitionId, u64), Failure> {
        let data = host.actor.folder.join(DIGITS.name);
        let seconds = |count: u64| format!("{count}s");
        let arguments = words![
            "competition",
            "open",
            "--title",
            "Handwritten digits",
            "--description",
            "8 x 8 pixels, 10 classes. The best hidden model takes the prize.",
            "--data",
            data,
            "--prize",
            PRIZE.to_string(),
            "--bond",
            BOND.to_string(),
            "--deposit",
            DEPOSIT.to_string(),
            "--open-in",
            "1s",
            "--register-for",
            seconds(windows.register),
            "--key-for",
            seconds(windows.key),
            "--prove-for",
            seconds(windows.prove),
        ];
        let opened = host
            .actor
            .run("competition-open", &arguments, self.interrupt)?;
        let competition: CompetitionId = field(&opened, "competition")?;
        let samples: u64 = field(&opened, "samples")?;
        let height = field(&opened, "height")?;
        self.timeline.block(
            height,
            &host.actor.name,
            format!(
                "opened competition {}: {samples} sealed samples, prize {PRIZE}",
                competition.short()
            ),
        );
        Ok((competition, height))
    }

    fn register(
        &self,
        competitors: &[Player],
        competition: &CompetitionId,
        network: &mut Network,
    ) -> Result<(), Failure> {
        let mut running = Vec::new();
        for (player, asset) in competitors.iter().zip(MODELS) {
            let model = write_asset(&player.actor.folder, asset)?;
            let arguments = words!["register", competition.to_string(), model, "--wait"];
            running.push(player.actor.start("register", &arguments)?);
        }
        let mut waiting: Vec<&Player> = competitors.iter().collect();
        while !running.is_empty() {
            let (index, registered) = self.first_result(&mut running, network)?;
            let player = waiting.remove(index);
            let model: String = field(&registered, "model")?;
            let parameters: u64 = field(&registered, "parameters")?;
            self.timeline.block(
                field(&registered, "height")?,
                &player.actor.name,
                format!(
                    "registered commitment {} to {parameters} hidden parameters",
                    &model[..8]
                ),
            );
        }
        Ok(())
    }

    /// Releases the key and runs all submissions at the same time; counts the proofs that every validator has accepted.
    fn prove(
        &self,
        host: &Player,
        competitors: &[Player],
        competition: &CompetitionId,
        network: &mut Network,
    ) -> Result<usize, Failure> {
        let mut running = Vec::new();
        let release = words![
            "competition",
            "release-key",
            competition.to_string(),
            "--wait"
        ];
        running.push(host.actor.start("release-key", &release)?);
        for player in competitors {
            let arguments = words!["submit", competition.to_string(), "--wait"];
            running.push(player.actor.start("submit", &arguments)?);
        }
        let mut waiting: Vec<&Player> = std::iter::once(host).chain(competitors).collect();
        let mut transactions = Vec::new();
        while !running.is_empty() {
            let (index, done) = self.first_result(&mut running, network)?;
            let player = waiting.remove(index);
            let height: u64 = field(&done, "height")?;
            if player.account == host.account {
                self.timeline.block(
                    height,
                    &player.actor.name,
                    "released the key: the test set is open to all",
                );
                continue;
            }
            let (correct, samples): (u64, u64) =
                (field(&done, "correct")?, field(&done, "samples")?);
            let (seconds, bytes): (f64, u64) =
                (field(&done, "prove_seconds")?, field(&done, "proof_bytes")?);
            transactions.push((field(&done, "transaction")?, height));
            self.timeline.block(
                height,
                &player.actor.name,
                format!("proved {correct} of {samples} correct in {seconds:.1} s ({bytes} bytes), verified by {VALIDATORS} validators"),
            );
        }
        for client in &network.clients {
            for (transaction, height) in &transactions {
                while client.status()?.height < *height {
                    self.interrupt.pause()?;
                }
                let status = client.transaction(transaction)?;
                if !matches!(
                    status,
                    TransactionStatus::Committed {
                        receipt: ReceiptView::Accepted,
                        ..
                    }
                ) {
                    return Err(Failure::new(
                        format!(
                            "{} has not accepted proof {transaction}: {status:?}",
                            client.url()
                        ),
                        "report this as a bug",
                    ));
                }
            }
        }
        Ok(transactions.len())
    }

    /// Waits for the first of `running` to end and takes it out: its index and its result.
    fn first_result(
        &self,
        running: &mut Vec<Process>,
        network: &mut Network,
    ) -> Result<(usize, Value), Failure> {
        loop {
            for index in 0..running.len() {
                if let Some(result) = running[index].result()? {
                    running.remove(index);
                    return Ok((index, result));
                }
            }
            network.check()?;
            self.interrupt.pause()?;
        }
    }
}

/// A field of a command's result.
fn field<T: DeserializeOwned>(result: &Value, name: &str) -> Result<T, Failure> {
    serde_json::from_value(result[name].clone())
        .map_err(|error| format!("field {name} of {result}: {error}"))
        .next("report this as a bug: a command's result is not what it should be")
}

fn write_asset(folder: &Path, asset: Asset) -> Result<PathBuf, Failure> {
    let path = folder.join(asset.name);
    fs::write(&path, asset.bytes)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
        .next("check that the folder of the demo can be written to")?;
    Ok(path)
}
