//! The network between four validators parts, in three ways, and heals.
//!
//! - One is cut off. Expected: the other three go on, the one stands still, and catches up after healing.
//! - Two and two. Expected: neither side decides anything; after healing both go on, with what each side accepted.
//! - One is heard by nobody, but hears all. Expected: the others go on; after healing it catches up.
//!
//! Last, delay, jitter and lost connections on all links: blocks go on, slower.

use std::time::{Duration, Instant};

use super::traffic::{Traffic, expect_halt, heights};
use super::{Figures, Stage};
use crate::network::Network;
use crate::proxy::{Proxy, Rule};
use crate::random::Random;
use crate::{LIMIT, TestnetError, invariants, wait_for};

const ALL: [usize; 4] = [0, 1, 2, 3];
const THREE: [usize; 3] = [0, 1, 2];

/// The network, its proxies and its load.
struct Play {
    network: Network,
    proxy: Proxy,
    traffic: Traffic,
    /// Transfers, one after the other, that three of four must commit while one is cut off.
    commits: u32,
}

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let funded = [Traffic::funded(stage)];
    let mut network = Network::prepare(&stage.folder, ALL.len(), &funded)?;
    let proxy = Proxy::between(&mut network, stage.settings.seed)?;
    network.restart_all()?;
    network.wait_peers(ALL.len() - 1, LIMIT)?;
    let mut play = Play {
        traffic: Traffic::new(stage, &network),
        network,
        proxy,
        commits: stage.rounds(20, 4),
    };
    play.traffic.commit(&play.network, &ALL)?;
    let mut figures = Figures::new();
    play.minority(&mut figures)?;
    play.halves(Duration::from_secs(stage.either(20, 5)), &mut figures)?;
    play.mute(&mut figures)?;
    if !stage.settings.short {
        play.bad_links(stage.random(), &mut figures)?;
    }
    let facts = invariants::hold(&mut play.network, play.traffic.accepted())?;
    figures.count("heights, alike on all", facts.heights, "heights");
    let accepted = play.traffic.accepted().len();
    figures.count("transfers accepted, none lost", accepted, "transfers");
    Ok(figures)
}

impl Play {
    /// Time until all four have committed another transfer.
    fn healed(&mut self) -> Result<f64, TestnetError> {
        let start = Instant::now();
        self.proxy.heal();
        self.traffic.commit(&self.network, &ALL)?;
        self.network.wait_height(self.network.height(), LIMIT)?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn minority(&mut self, figures: &mut Figures) -> Result<(), TestnetError> {
        self.proxy.partition(&[&THREE]);
        let cut = heights(&self.network, &[3])?;
        for _ in 0..self.commits {
            self.traffic.commit(&self.network, &THREE)?;
        }
        let (now, others) = (
            heights(&self.network, &[3])?,
            heights(&self.network, &THREE)?,
        );
        // votes of one block may have reached it before the cut
        if now[0] > cut[0] + 1 {
            return Err(TestnetError::Expectation(format!(
                "a validator that hears nobody went from {cut:?} to {now:?}"
            )));
        }
        let ahead = others.iter().max().unwrap_or(&0) - now[0];
        figures.count("minority: heights that the three went on", ahead, "heights");
        figures.measure("minority: healed and caught up after", self.healed()?, "s");
        Ok(())
    }

    fn halves(&mut self, span: Duration, figures: &mut Figures) -> Result<(), TestnetError> {
        self.proxy.partition(&[&[0, 1], &[2, 3]]);
        for side in [[0, 1], [2, 3]] {
            self.traffic.pay(&self.network, &side, 3)?;
        }
        expect_halt(&self.network, &ALL, span)?;
        figures.measure("halves: halted for", span.as_secs_f64(), "s");
        figures.measure("halves: healed and going on after", self.healed()?, "s");
        Ok(())
    }

    fn mute(&mut self, figures: &mut Figures) -> Result<(), TestnetError> {
        for other in THREE {
            self.proxy.silence(3, other);
        }
        let start = Instant::now();
        for _ in 0..self.commits {
            self.traffic.commit(&self.network, &THREE)?;
        }
        let pace = start.elapsed().as_secs_f64() / f64::from(self.commits);
        figures.measure("mute: a transfer committed by the three in", pace, "s");
        figures.measure("mute: healed and caught up after", self.healed()?, "s");
        Ok(())
    }

    /// 40 ms with 20 ms of jitter each way, 256 KiB a second, and now and then all connections of a pair lost.
    fn bad_links(&mut self, mut random: Random, figures: &mut Figures) -> Result<(), TestnetError> {
        self.proxy.set_all(Rule {
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(20),
            bandwidth: Some(256 << 10),
            swallow: false,
        });
        let mut slowest = Duration::ZERO;
        for round in 0..self.commits {
            if round % 4 == 3 {
                let (from, apart) = (random.below(ALL.len()), 1 + random.below(ALL.len() - 1));
                self.proxy
                    .lose_connections(from, (from + apart) % ALL.len());
            }
            slowest = slowest.max(self.traffic.commit(&self.network, &ALL)?);
        }
        let what = "bad links: slowest transfer on all four";
        figures.measure(what, slowest.as_secs_f64(), "s");
        self.proxy.set_all(Rule::default());
        let tip = self.network.height();
        wait_for("all at one height", LIMIT, || {
            let heights = heights(&self.network, &ALL)?;
            Ok(heights.iter().all(|height| *height >= tip).then_some(()))
        })
    }
}
