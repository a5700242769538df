//! What the node counts and shows at `GET /metrics`, for Prometheus.
//!
//! Parts of the node hold their instruments and count as they work; what can be read when asked (height, peers, waiting transactions)
//! is a [`Reading`] that the API takes at each scrape. This module knows names and units, not where numbers come from.
//! The names are part of the interface: `node/OPERATING.md` lists them, and a test compares.

mod process;

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use process::Process;

/// The media type of the text that Prometheus reads.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the histogram of verification times, in seconds.
const VERIFICATION_BUCKETS: [f64; 12] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

type Labels = [(&'static str, &'static str); 1];
type TwoLabels = [(&'static str, &'static str); 2];

/// What the verification pool counts.
#[derive(Debug, Clone)]
pub struct VerificationInstruments {
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
    verdicts: Family<TwoLabels, Counter>,
}

/// How a claim was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It holds.
    Valid,
    /// It does not.
    Invalid,
    /// This node could not tell.
    Failed,
}

impl Default for VerificationInstruments {
    fn default() -> Self {
        Self {
            seconds: Family::new_with_constructor(|| Histogram::new(VERIFICATION_BUCKETS)),
            verdicts: Family::default(),
        }
    }
}

/// The kinds of claims, the verdicts, and the reasons that are counted by label.
const KINDS: [&str; 2] = ["proof", "test_set"];
const VERDICTS: [&str; 3] = ["valid", "invalid", "failed"];
const GOSSIP: [&str; 3] = ["accepted", "rejected", "ignored"];
const REFUSED: [&str; 3] = ["banned", "other_network", "no_introduction"];

impl VerificationInstruments {
    /// Shows every counter from the start: of one that appears with its first event Prometheus sees no increase, and no alert fires.
    fn begin(&self) {
        for kind in KINDS {
            for verdict in VERDICTS {
                let labels = [("kind", kind), ("verdict", verdict)];
                drop(self.verdicts.get_or_create(&labels));
            }
        }
    }

    /// A claim of this kind (`proof`, `test_set`) was judged in so many seconds.
    pub fn judged(&self, kind: &'static str, verdict: Judged, seconds: f64) {
        let verdict = match verdict {
            Judged::Valid => "valid",
            Judged::Invalid => "invalid",
            Judged::Failed => "failed",
        };
        self.seconds
            .get_or_create(&[("kind", kind)])
            .observe(seconds);
        self.verdicts
            .get_or_create(&[("kind", kind), ("verdict", verdict)])
            .inc();
    }
}

/// What the node counts of the public swarm.
#[derive(Debug, Clone, Default)]
pub struct SwarmInstruments {
    gossip: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
}

impl SwarmInstruments {
    /// Shows every counter from the start, like [`VerificationInstruments::begin`].
    fn begin(&self) {
        for verdict in GOSSIP {
            drop(self.gossip.get_or_create(&[("verdict", verdict)]));
        }
        for reason in REFUSED {
            drop(self.refused.get_or_create(&[("reason", reason)]));
        }
    }

    /// A transaction from gossip was `accepted`, `rejected` or `ignored`.
    pub fn gossip(&self, verdict: &'static str) {
        self.gossip.get_or_create(&[("verdict", verdict)]).inc();
    }

    /// A peer was turned away: `banned`, `other_network` or `no_introduction`.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }
}

/// What is read when somebody asks.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Height of the last block.
    pub height: u64,
    /// Its time, in milliseconds since 1970.
    pub block_time_ms: u64,
    /// Connected peers of the swarm.
    pub peers: u64,
    /// The greatest height that a peer claims.
    pub best_peer_height: u64,
    /// Power of each validator, by account.
    pub validators: Vec<(String, u64)>,
    /// The consensus engine, when it runs.
    pub consensus: Option<ConsensusReading>,
    /// Waiting transactions by what they wait for.
    pub mempool: Vec<(&'static str, u64)>,
    /// Their bytes.
    pub mempool_bytes: u64,
    /// Items in the queues of the node's parts.
    pub queues: Vec<(&'static str, u64)>,
    /// Blobs in the store.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Whether `GET /ready` says yes.
    pub ready: bool,
}

/// What the consensus engine says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsensusReading {
    /// The round that is going on.
    pub round: u64,
    /// Rounds begun since the start.
    pub rounds: u64,
    /// Height of the last own signature.
    pub last_signed: u64,
    /// Heights at which a validator contradicted itself.
    pub equivocations: u64,
}

/// All metrics of a node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// One scrape at a time: labelled gauges are cleared and set.
    gauges: Mutex<Gauges>,
}

#[derive(Debug, Default)]
struct Gauges {
    ready: Gauge,
    height: Gauge,
    block_time: Gauge<f64, std::sync::atomic::AtomicU64>,
    peers: Gauge,
    best_peer_height: Gauge,
    validating: Gauge,
    power: Family<[(&'static str, String); 1], Gauge>,
    round: Gauge,
    rounds: Counter,
    last_signed: Gauge,
    equivocations: Counter,
    mempool: Family<Labels, Gauge>,
    mempool_bytes: Gauge,
    queues: Family<Labels, Gauge>,
    blobs: Gauge,
    blob_bytes: Gauge,
    process: Process,
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Brings a counter to a total that is counted elsewhere. Such totals never fall within a process.
fn raise(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

impl Metrics {
    /// Names all instruments. `network` and `version` label the build.
    pub fn new(
        network: &str,
        verification: VerificationInstruments,
        swarm: SwarmInstruments,
    ) -> Self {
        verification.begin();
        swarm.begin();
        let gauges = Gauges::default();
        let mut registry = Registry::default();
        let build = Info::new(vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("network", network.to_owned()),
        ]);
        registry.register("agon_build", "The running software and its network", build);
        gauges.register(&mut registry);
        registry.register_with_unit(
            "agon_verification_duration",
            "Time to judge a claim; in a batch, its share",
            Unit::Seconds,
            verification.seconds,
        );
        registry.register(
            "agon_verification_verdicts",
            "Claims judged, by kind and verdict",
            verification.verdicts,
        );
        registry.register(
            "agon_gossip_transactions",
            "Transactions from gossip, by what this node made of them",
            swarm.gossip,
        );
        registry.register(
            "agon_peers_refused",
            "Peers turned away, bans among them, by reason",
            swarm.refused,
        );
        Self {
            registry,
            gauges: Mutex::new(gauges),
        }
    }

    /// The text that Prometheus reads. Blocks a moment, for the process's own numbers.
    pub fn render(&self, reading: &Reading) -> String {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.set(reading);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string never fails");
        text
    }
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        let r = registry;
        let gauge = |r: &mut Registry, name: &str, help: &str, gauge: &Gauge| {
            r.register(name, help, gauge.clone());
        };
        gauge(
            r,
            "agon_ready",
            "Whether GET /ready answers 200",
            &self.ready,
        );
        gauge(
            r,
            "agon_chain_height",
            "Height of the last committed block",
            &self.height,
        );
        r.register_with_unit(
            "agon_chain_block_time",
            "Time of the last committed block, since 1970",
            Unit::Seconds,
            self.block_time.clone(),
        );
        gauge(
            r,
            "agon_peers",
            "Connected peers of the public swarm",
            &self.peers,
        );
        gauge(
            r,
            "agon_peers_best_height",
            "The greatest height that a connected peer claims",
            &self.best_peer_height,
        );
        gauge(
            r,
            "agon_validating",
            "Whether the consensus engine runs",
            &self.validating,
        );
        r.register(
            "agon_validator_power",
            "Voting power, by validator",
            self.power.clone(),
        );
        gauge(
            r,
            "agon_consensus_round",
            "The round that is going on, from 0",
            &self.round,
        );
        r.register(
            "agon_consensus_rounds",
            "Rounds begun since the start",
            self.rounds.clone(),
        );
        gauge(
            r,
            "agon_consensus_last_signed_height",
            "Height of this validator's last signature",
            &self.last_signed,
        );
        r.register(
            "agon_consensus_equivocations",
            "Heights at which a validator signed contradicting messages",
            self.equivocations.clone(),
        );
        r.register(
            "agon_mempool_transactions",
            "Waiting transactions, by what they wait for",
            self.mempool.clone(),
        );
        r.register_with_unit(
            "agon_mempool_size",
            "Bytes of the waiting transactions",
            Unit::Bytes,
            self.mempool_bytes.clone(),
        );
        r.register(
            "agon_queue_items",
            "Items that wait, by queue",
            self.queues.clone(),
        );
        gauge(r, "agon_blobs", "Blobs in the store", &self.blobs);
        r.register_with_unit(
            "agon_blob_store",
            "Bytes of the blobs in the store",
            Unit::Bytes,
            self.blob_bytes.clone(),
        );
        self.process.register(r);
    }

    fn set(&self, reading: &Reading) {
        let Reading {
            height,
            block_time_ms,
            peers,
            best_peer_height,
            validators,
            consensus,
            mempool,
            mempool_bytes,
            queues,
            blobs,
            blob_bytes,
            ready,
        } = reading;
        self.ready.set(i64::from(*ready));
        self.height.set(count(*height));
        self.block_time.set(*block_time_ms as f64 / 1_000.0);
        self.peers.set(count(*peers));
        self.best_peer_height.set(count(*best_peer_height));
        self.validating.set(i64::from(consensus.is_some()));
        self.power.clear();
        for (account, power) in validators {
            self.power
                .get_or_create(&[("validator", account.clone())])
                .set(count(*power));
        }
        let consensus = consensus.unwrap_or_default();
        self.round.set(count(consensus.round));
        raise(&self.rounds, consensus.rounds);
        self.last_signed.set(count(consensus.last_signed));
        raise(&self.equivocations, consensus.equivocations);
        self.mempool.clear();
        for (stage, number) in mempool {
            let labels = [("stage", *stage)];
            self.mempool.get_or_create(&labels).set(count(*number));
        }
        self.mempool_bytes.set(count(*mempool_bytes));
        self.queues.clear();
        for (queue, number) in queues {
            let labels = [("queue", *queue)];
            self.queues.get_or_create(&labels).set(count(*number));
        }
        self.blobs.set(count(*blobs));
        self.blob_bytes.set(count(*blob_bytes));
        self.process.set();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Samples by name with labels; fails at a line that is none.
    fn samples(text: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        assert!(text.ends_with("# EOF\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(bare.chars().all(letters), "{line}");
            let before = samples.insert(name.to_owned(), value.parse().unwrap());
            assert_eq!(before, None, "{line}");
        }
        samples
    }

    fn metrics() -> (Metrics, VerificationInstruments, SwarmInstruments) {
        let verification = VerificationInstruments::default();
        let swarm = SwarmInstruments::default();
        let metrics = Metrics::new("test", verification.clone(), swarm.clone());
        (metrics, verification, swarm)
    }

    #[test]
    fn a_scrape_shows_what_was_read_and_counted() {
        let (metrics, verification, swarm) = metrics();
        verification.judged("proof", Judged::Valid, 0.3);
        verification.judged("proof", Judged::Invalid, 0.04);
        swarm.gossip("rejected");
        swarm.refused("banned");
        let reading = Reading {
            height: 7,
            block_time_ms: 1_500,
            validators: vec![("ab".into(), 3)],
            mempool: vec![("verdict", 2)],
            consensus: Some(ConsensusReading {
                rounds: 9,
                ..ConsensusReading::default()
            }),
            ..Reading::default()
        };
        let samples = samples(&metrics.render(&reading));
        for (name, value) in [
            ("agon_chain_height", 7.0),
            ("agon_chain_block_time_seconds", 1.5),
            ("agon_validating", 1.0),
            ("agon_validator_power{validator=\"ab\"}", 3.0),
            ("agon_mempool_transactions{stage=\"verdict\"}", 2.0),
            ("agon_consensus_rounds_total", 9.0),
            ("agon_gossip_transactions_total{verdict=\"rejected\"}", 1.0),
            ("agon_peers_refused_total{reason=\"banned\"}", 1.0),
            (
                "agon_verification_verdicts_total{kind=\"proof\",verdict=\"valid\"}",
                1.0,
            ),
            (
                "agon_verification_duration_seconds_count{kind=\"proof\"}",
                2.0,
            ),
            (
                "agon_verification_duration_seconds_bucket{le=\"0.05\",kind=\"proof\"}",
                1.0,
            ),
        ] {
            assert_eq!(samples.get(name), Some(&value), "{name}: {samples:#?}");
        }
        assert!(samples["process_resident_memory_bytes"] > 0.0);
        assert!(samples["process_cpu_seconds_total"] >= 0.0);
    }

    #[test]
    fn counters_never_fall_and_labels_that_went_away_are_gone() {
        let (metrics, ..) = metrics();
        let reading = |rounds, stage| Reading {
            consensus: Some(ConsensusReading {
                rounds,
                ..ConsensusReading::default()
            }),
            mempool: vec![(stage, 1)],
            ..Reading::default()
        };
        metrics.render(&reading(5, "nonce"));
        let text = metrics.render(&reading(2, "block"));
        assert!(text.contains("agon_consensus_rounds_total 5\n"), "{text}");
        assert!(!text.contains("nonce"), "{text}");
    }

    /// An alert on a counter that rises needs the counter before it rises; one on a name that is no metric never fires.
    #[test]
    fn every_alert_names_series_that_are_there_from_the_start() {
        let (metrics, ..) = metrics();
        let reading = Reading {
            queues: vec![("verification", 0)],
            ..Reading::default()
        };
        let samples = samples(&metrics.render(&reading));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/alerts.yml");
        let rules = std::fs::read_to_string(file).unwrap();
        let mut names = 0;
        for rule in rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix("expr: "))
        {
            for (at, _) in rule.match_indices("agon_") {
                let name = &rule[at..];
                let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
                let end = name.find(|c| !is_name(c)).unwrap_or(name.len());
                let (name, rest) = name.split_at(end);
                let label = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split('}').next());
                let found = samples.keys().any(|series| {
                    series.split('{').next() == Some(name)
                        && label.is_none_or(|label| series.contains(label))
                });
                assert!(found, "{name} {label:?} in {rule}");
                names += 1;
            }
        }
        assert!(names >= 10, "{rules}");
    }

    /// Every metric has a help text, a unit in its name where it has one, and a line in the operator's page.
    #[test]
    fn the_operators_page_lists_every_metric() {
        let (metrics, verification, swarm) = metrics();
        verification.judged("proof", Judged::Failed, 1.0);
        swarm.gossip("accepted");
        swarm.refused("banned");
        let text = metrics.render(&Reading::default());
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/OPERATING.md");
        let page = std::fs::read_to_string(page).unwrap();
        let mut types = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let name = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            assert!(
                page.contains(&format!("`{name}`")),
                "{name} is not in node/OPERATING.md"
            );
            types += 1;
        }
        assert!(types >= 20, "{text}");
    }
}
