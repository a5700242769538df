//! Measures one proof of a random dense classifier: CPU seconds by stage, bytes, peak memory, verification.
//!
//! `cargo run --release -p agon-circuits --example measure -- INPUTS HIDDEN[,HIDDEN…]|- CLASSES SAMPLES [SHIFT]`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::generators::Generators;
use agon_circuits::layout::Layout;
use agon_circuits::model::{IntegerLayer, IntegerModel};
use agon_circuits::prover::{Stage, prove};
use agon_circuits::standalone_context;
use agon_circuits::verifier::{Expected, Verifier};
use agon_protocol::codec::Encode;
use agon_protocol::statement::{Architecture, Dataset, FeatureEncoding, InputEncoding};

type Failure = Box<dyn std::error::Error>;

const MAX_INPUT: u16 = 255;

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Wall and CPU seconds since it was made.
struct Stopwatch(Instant, f64);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now(), cpu_seconds())
    }

    fn report(&self, what: &str) {
        let (wall, cpu) = (self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1);
        println!("{what}: {cpu:.2} CPU s, {wall:.2} s wall");
    }
}

/// xorshift64: the same work on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Weights as large as the guaranteed bounds allow, up to 10 bits.
fn random_model(
    architecture: &Architecture,
    numbers: &mut Numbers,
) -> Result<IntegerModel, Failure> {
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: MAX_INPUT,
    };
    let encoding = InputEncoding {
        features: vec![feature; architecture.inputs()],
    };
    let mut largest = i64::from(MAX_INPUT);
    let mut layers = Vec::new();
    for (inputs, outputs) in architecture.layers() {
        let room = (1i64 << (2 * architecture.shift() - 1)) - (1 << architecture.shift());
        let bound = (room / (inputs as i64 * largest)).clamp(1, 1_000);
        let mut weight = || numbers.below(2 * bound as u64 + 1) as i32 - bound as i32;
        // a wide layer has room for few weights other than zero
        let every = (inputs as i64 * largest * bound / room).max(1) as usize;
        let weights = (0..inputs * outputs)
            .map(|index| if index % every == 0 { weight() } else { 0 })
            .collect();
        layers.push(IntegerLayer {
            weights,
            biases: vec![1; outputs],
        });
        largest = (1 << architecture.shift()) - 1;
    }
    Ok(IntegerModel::new(architecture.clone(), layers, &encoding)?)
}

fn random_data(
    model: &IntegerModel,
    samples: usize,
    numbers: &mut Numbers,
) -> Result<Dataset, Failure> {
    let (width, classes) = (
        model.architecture().inputs(),
        model.architecture().classes(),
    );
    let inputs: Vec<u16> = (0..samples * width)
        .map(|_| numbers.below(u64::from(MAX_INPUT) + 1) as u16)
        .collect();
    let labels: Vec<u16> = inputs
        .chunks(width)
        .map(|input| match numbers.below(10) {
            0 => numbers.below(classes as u64) as u16,
            _ => model.predict(input) as u16,
        })
        .collect();
    Ok(Dataset::new(width, classes, inputs, labels)?)
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let number = |index: usize| -> Result<usize, Failure> {
        Ok(arguments.get(index).ok_or("too few arguments")?.parse()?)
    };
    let sizes = arguments.get(1).ok_or("too few arguments")?.split(',');
    let hidden = sizes
        .filter(|size| *size != "-")
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let shift = if arguments.len() > 4 { number(4)? } else { 12 };
    let (inputs, classes, samples) = (number(0)? as u32, number(2)? as u32, number(3)?);
    let architecture =
        Architecture::new(inputs, hidden, classes, shift as u8).ok_or("no such architecture")?;
    let layout = Layout::choose(&architecture, samples)?;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let model = random_model(&architecture, &mut numbers)?;
    let data = random_data(&model, samples, &mut numbers)?;
    println!(
        "{} parameters, {samples} samples, 2^{} rows",
        architecture.parameters(),
        layout.k()
    );
    let cache = cache_folder();
    let generators = Generators::load(layout.k(), &cache)?;
    let context = standalone_context();
    let watch = Stopwatch::start();
    let committed = CommittedModel::new(&generators, model, samples, context.competitor)?;
    watch.report("commit");
    let watch = Stopwatch::start();
    let stages: Mutex<Vec<(Stage, f64)>> = Mutex::default();
    let begin = |stage: Stage| {
        if let Ok(mut stages) = stages.lock() {
            stages.push((stage, cpu_seconds()));
        }
    };
    let submission = prove(&generators, &committed, &data, &context, &begin)?;
    watch.report("prove");
    let mut stages = stages.into_inner()?;
    stages.push((Stage::Link, cpu_seconds()));
    for pair in stages.windows(2) {
        println!("  {:?}: {:.2} CPU s", pair[0].0, pair[1].1 - pair[0].1);
    }
    println!(
        "proof {} bytes, commitment {} bytes, {} of {samples} correct",
        submission.proof_bytes(),
        submission.commitment_bytes(),
        submission.correct()
    );
    let verifier = Verifier::new(cache);
    let expected = Expected {
        context: &context,
        model: None,
        max_parameters: u64::MAX,
        correct: None,
    };
    for attempt in ["verify, first (makes the key)", "verify"] {
        let watch = Stopwatch::start();
        verifier.verify(&submission.to_bytes(), &data, &expected)?;
        watch.report(attempt);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    if let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        println!("peak memory {}", peak.trim());
    }
    Ok(())
}

fn cache_folder() -> PathBuf {
    std::env::temp_dir().join("agon-test-generators")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "error: {error}\nnext: measure INPUTS HIDDEN[,HIDDEN…]|- CLASSES SAMPLES [SHIFT]"
            );
            ExitCode::from(2)
        }
    }
}
