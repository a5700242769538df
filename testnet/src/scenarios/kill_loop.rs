//! `kill -9` at any moment: in each round transfers are sent while one random validator is killed and started again; every
//! third round all are killed at once.
//!
//! Expected: with one validator down the others go on; after a power cut of all the network goes on where it was.
//! In the end all validators have one chain, and every transfer that any of them had accepted is in it.

use std::time::{Duration, Instant};

use super::traffic::Traffic;
use super::{Figures, Stage};
use crate::network::Network;
use crate::{TestnetError, invariants};

const VALIDATORS: usize = 4;
const ALL: [usize; VALIDATORS] = [0, 1, 2, 3];
const TRANSFERS_A_ROUND: usize = 5;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let funded = [Traffic::funded(stage)];
    let mut network = Network::start(&stage.folder, VALIDATORS, &funded)?;
    let mut traffic = Traffic::new(stage, &network);
    let (mut random, mut kills) = (stage.random(), 0);
    let (mut longest, mut power_cuts) = (Duration::ZERO, 0);
    for round in 0..stage.rounds(50, 3) {
        let target = random.below(VALIDATORS);
        traffic.pay(&network, &ALL, TRANSFERS_A_ROUND)?;
        if round % 3 == 2 {
            network.kill_all()?;
            (kills, power_cuts) = (kills + VALIDATORS, power_cuts + 1);
        } else {
            network.kill(target)?;
            kills += 1;
            // three of four still agree
            traffic.pay(&network, &ALL, TRANSFERS_A_ROUND)?;
        }
        let start = Instant::now();
        network.restart_all()?;
        traffic.commit(&network, &ALL[..1])?;
        longest = longest.max(start.elapsed());
    }
    let facts = invariants::hold(&mut network, traffic.accepted())?;
    let mut figures = Figures::new();
    figures.count("kills", kills, "processes");
    figures.count("of them power cuts of all", power_cuts, "cuts");
    figures.count("heights, alike on all", facts.heights, "heights");
    figures.count(
        "transfers accepted, none lost",
        traffic.accepted().len(),
        "transfers",
    );
    figures.measure("longest recovery", longest.as_secs_f64(), "s");
    Ok(figures)
}
