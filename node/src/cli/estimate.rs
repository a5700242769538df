//! What a proof will take, told before it is made.

use std::fmt;
use std::time::Duration;

use agon_circuits::graph::Graph;
use agon_circuits::{Calibration, Quote, quote};
use agon_protocol::metric::Metric;

use super::failure::{Failure, Next};
use super::home::generator_cache;
use super::parse::roughly;
use super::proof::PROVING_ADVICE;

/// A proof's price on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) quote: Quote,
    cores: usize,
}

impl Estimate {
    /// Of a model's score on so many samples, in so much memory.
    pub(crate) fn new(
        graph: &Graph,
        samples: usize,
        metric: Metric,
        memory_bytes: u64,
    ) -> Result<Self, Failure> {
        let calibration = Calibration::load(&generator_cache());
        let quote =
            quote(graph, samples, metric, memory_bytes, &calibration).next(PROVING_ADVICE)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { quote, cores })
    }

    /// The least time that it takes, when nothing else runs.
    pub(crate) fn least(&self) -> Duration {
        Duration::from_secs_f64(self.quote.prove_cpu_seconds / self.cores as f64)
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.quote.prove_cpu_seconds.ceil().max(1.0) as u64;
        write!(
            f,
            "about {seconds} CPU seconds ({} on the {} cores of this machine) and {} MiB of memory, for a proof of {} KiB",
            roughly(self.least()),
            self.cores,
            self.quote.memory_bytes.div_ceil(1 << 20),
            self.quote.proof_bytes.div_ceil(1 << 10),
        )
    }
}
