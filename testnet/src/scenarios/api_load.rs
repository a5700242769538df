//! 200 requests a second to the API of one validator of four, while the network decides transfers.
//!
//! Expected: the rate is kept, every answer is a good one, and transfers go on to be final. The figures say how long half of them took
//! before and meanwhile, and how many requests a second the validator answers to eight connections that ask without a pause.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agon_node::client::Client;
use agon_protocol::digest::{CompetitionId, ModelDigest, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::Action;

use super::cast::{FINAL_LIMIT, expect, network_with, warm_up};
use super::{Figures, Stage};
use crate::account::{Account, failed};
use crate::contest::{Contest, Task, Terms, Windows};
use crate::load::{Stream, Streamed, follow, times};
use crate::measure::{Cost, Shares, Times, largest};
use crate::network::Network;
use crate::{TestnetError, invariants};

/// Requests a second.
const RATE: f64 = 200.0;
/// The rate counts as kept from this share on.
const KEPT: f64 = 0.98;
/// Connections that ask.
const READERS: usize = 8;
/// Transfers a second meanwhile, and before.
const TRANSFERS: f64 = 10.0;
/// Registrations of the competition that is read.
const COMPETITORS: usize = 16;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let (mut network, mut accounts) = network_with(stage, &[1_000_000; COMPETITORS + 4])?;
    let clients = network.clients();
    let payers = accounts.split_off(COMPETITORS + 2);
    warm_up(&mut accounts[0], &clients)?;
    let paths = subject(stage, &clients, accounts)?;
    let client = clients[0];
    let seconds = stage.either(30.0, 3.0);
    let [before_payer, meanwhile_payer] = payers.try_into().map_err(|_| no_payers())?;

    let (before, _) = transfers(&network, before_payer, seconds, || Ok(()))?;
    let mut asked = Asked::default();
    let (meanwhile, shares) = transfers(&network, meanwhile_payer, seconds, || {
        asked = ask(client, &paths, Duration::from_secs_f64(seconds), Some(RATE))?;
        Ok(())
    })?;
    let rush = ask(client, &paths, Duration::from_secs_f64(seconds / 3.0), None)?;

    let accepted: Vec<TransactionId> = [&before, &meanwhile]
        .iter()
        .flat_map(|(streamed, _)| streamed.sent.iter().map(|sent| sent.id))
        .collect();
    let facts = invariants::hold(&mut network, &accepted)?;
    if !stage.settings.short {
        let rate = asked.rate();
        expect(rate >= KEPT * RATE, || {
            format!("{rate:.0} requests a second were answered, not {RATE}")
        })?;
    }
    let latency = Times::new(asked.times.clone());
    let mut figures = Figures::new();
    figures.count("requests, all answered well", asked.times.len(), "requests");
    figures.measure("rate kept", asked.rate(), "requests a second");
    figures.measure("request to answer, p50", latency.percentile_ms(50), "ms");
    figures.measure("request to answer, p99", latency.percentile_ms(99), "ms");
    let half = |found: &Times| found.percentile_ms(50);
    figures.measure("transfer to final before, p50", half(&before.1), "ms");
    figures.measure("transfer to final meanwhile, p50", half(&meanwhile.1), "ms");
    figures.measure(
        "transfer to final meanwhile, p99",
        meanwhile.1.percentile_ms(99),
        "ms",
    );
    figures.measure(
        "busiest validator",
        100.0 * largest(&shares.nodes),
        "% of a core",
    );
    figures.measure("the load's own process", 100.0 * shares.own, "% of a core");
    figures.measure(
        "others on this machine",
        100.0 * shares.others,
        "% of a core",
    );
    figures.measure(
        "without a pause, 8 connections",
        rush.rate(),
        "requests a second",
    );
    figures.count("heights, alike on all validators", facts.heights, "heights");
    Ok(figures)
}

fn no_payers() -> TestnetError {
    TestnetError::Expectation("two accounts were left to pay".into())
}

/// A competition with registrations, and every path that a page about it reads.
fn subject(
    stage: &Stage,
    clients: &[&Client],
    mut accounts: Vec<Account>,
) -> Result<Vec<String>, TestnetError> {
    let hour = Duration::from_secs(3_600);
    let windows = Windows {
        open: Duration::from_secs(1),
        register: hour,
        key: hour,
        prove: hour,
    };
    let host = accounts.remove(0);
    let contest = Contest::sign(host, Task::new(stage.settings.seed)?, &Terms::new(windows))?;
    contest.open(clients)?;
    let mut account = contest.host.id();
    for (number, competitor) in (0_u32..).zip(accounts.iter_mut().take(COMPETITORS)) {
        let register = Action::Register {
            competition: contest.id,
            model: ModelDigest::of(&number.to_le_bytes()),
        };
        competitor.act(clients[0], register, FINAL_LIMIT)?;
        account = competitor.id();
    }
    Ok(paths(&contest.id, &account, &contest.opening.id()))
}

fn paths(
    competition: &CompetitionId,
    account: &AccountId,
    transaction: &TransactionId,
) -> Vec<String> {
    let one = format!("/v1/competitions/{competition}");
    vec![
        "/v1/status".into(),
        "/v1/network".into(),
        "/v1/competitions?order=newest&limit=50".into(),
        one.clone(),
        format!("{one}/leaderboard"),
        format!("{one}/registrations"),
        format!("{one}/submissions"),
        format!("{one}/files"),
        "/v1/blocks?limit=20".into(),
        "/v1/blocks/1".into(),
        "/v1/validators".into(),
        "/v1/peers".into(),
        "/v1/evidence".into(),
        format!("/v1/accounts/{account}"),
        format!("/v1/transactions/{transaction}"),
        "/v1/openapi.json".into(),
    ]
}

/// Sends transfers for some seconds and does `meanwhile`: what was sent, how long it took to be final, and what it all cost.
fn transfers(
    network: &Network,
    payer: Account,
    seconds: f64,
    meanwhile: impl FnOnce() -> Result<(), TestnetError>,
) -> Result<((Streamed, Times), Shares), TestnetError> {
    // not the validator that is asked: its own requests would be measured
    let clients = &network.clients()[1..2];
    let nodes = follow(clients)?;
    let before = Cost::now(network)?;
    let count = (TRANSFERS * seconds) as usize;
    let stream = Stream::start(vec![payer], clients, TRANSFERS, count);
    let done = meanwhile();
    let streamed = stream.finish()?;
    done?;
    let found = times(&streamed, &nodes, FINAL_LIMIT)?;
    let shares = Cost::now(network)?.since(&before);
    Ok(((streamed, found), shares))
}

/// Requests that were answered well.
#[derive(Debug, Default)]
struct Asked {
    times: Vec<Duration>,
    seconds: f64,
}

impl Asked {
    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.seconds.max(1e-3)
    }
}

/// Asks for all the paths in turn, on [`READERS`] connections: at a rate, or as fast as answers come.
fn ask(
    client: &Client,
    paths: &[String],
    span: Duration,
    rate: Option<f64>,
) -> Result<Asked, TestnetError> {
    let (start, ended) = (Instant::now(), AtomicBool::new(false));
    let pause = rate.map(|rate| Duration::from_secs_f64(READERS as f64 / rate));
    let reader = |number: usize| {
        // a client has its own connection
        let client = Client::new(client.url());
        let (mut times, mut due) = (
            Vec::new(),
            start + pause.unwrap_or_default() * number as u32 / READERS as u32,
        );
        let mut turn = number;
        while start.elapsed() < span && !ended.load(Ordering::Relaxed) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let at = Instant::now();
            if let Err(error) = client.read(&paths[turn % paths.len()]) {
                ended.store(true, Ordering::Relaxed);
                return Err(failed("an answer")(error));
            }
            times.push(at.elapsed());
            turn += 1;
            due += pause.unwrap_or_default();
        }
        Ok(times)
    };
    let mut asked = Asked::default();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let reader = &reader;
                scope.spawn(move || reader(number))
            })
            .collect();
        for reader in readers {
            let times = reader
                .join()
                .map_err(|_| TestnetError::Expectation("a reader broke off".into()))?;
            asked.times.extend(times?);
        }
        Ok::<(), TestnetError>(())
    })?;
    asked.seconds = start.elapsed().as_secs_f64();
    Ok(asked)
}
