//! One of four validators runs twice, from copies of one folder with one key, in two places of the network: both sign, and so they
//! contradict each other, in proposals whenever it is their turn and in the votes that follow.
//!
//! Expected: the other three agree and go on, and note that the validator signed contradicting messages.

use std::time::Instant;

use super::traffic::{Traffic, heights};
use super::{Figures, Stage, contradictions};
use crate::network::Network;
use crate::proxy::Proxy;
use crate::{LIMIT, TestnetError, invariants, wait_for};

const HONEST: [usize; 3] = [0, 1, 2];
const FIRST: usize = 3;

pub(super) fn play(stage: &Stage) -> Result<Figures, TestnetError> {
    let funded = [Traffic::funded(stage)];
    let mut network = Network::prepare(&stage.folder, HONEST.len() + 1, &funded)?;
    let second = network.duplicate(FIRST)?;
    // each honest validator knows one of the two, so that neither hides the other
    let mut pairs = Vec::new();
    for (one, other) in [(0, 1), (0, 2), (1, 2), (FIRST, 0), (FIRST, 1), (second, 2)] {
        pairs.extend([(one, other), (other, one)]);
    }
    let _proxy = Proxy::between_pairs(&mut network, &pairs, stage.settings.seed)?;
    network.restart_all()?;
    network.start_nodes(&[FIRST, second])?;
    let mut traffic = Traffic::new(stage, &network);
    let wanted = stage.rounds(20, 2) as usize;
    let (start, mut commits) = (Instant::now(), 0_u32);
    let mut noted = 0;
    while noted < wanted {
        // only who is at the tip proposes and votes: one that is behind takes certified blocks
        let tip = network.height();
        wait_for("both of the two at the tip", LIMIT, || {
            let heights = heights(&network, &[FIRST, second])?;
            Ok(heights.iter().all(|height| *height >= tip).then_some(()))
        })?;
        traffic.commit(&network, &HONEST)?;
        commits += 1;
        noted = contradictions(&network)?;
        if start.elapsed() > 2 * LIMIT {
            return Err(TestnetError::Expectation(format!(
                "after {commits} transfers the honest validators have noted {noted} contradictions, not {wanted}"
            )));
        }
    }
    let pace = start.elapsed().as_secs_f64() / f64::from(commits);
    network.kill(FIRST)?;
    network.kill(second)?;
    let facts = invariants::hold(&mut network, traffic.accepted())?;
    let mut figures = Figures::new();
    figures.count("contradictions noted by the three", noted, "reports");
    figures.measure("a transfer committed every", pace, "s");
    figures.count("heights, alike on the three", facts.heights, "heights");
    figures.count(
        "transfers accepted, none lost",
        traffic.accepted().len(),
        "transfers",
    );
    Ok(figures)
}
