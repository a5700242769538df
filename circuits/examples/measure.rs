//! Times a proof and its verification, through the public interface.
//!
//! `cargo run --release -p agon-circuits --example measure -- dense 784,128,10 1000 [RUNS [MEMORY]]`: a dense classifier of these
//! sizes with made-up weights on so many made-up samples. `… -- model FILE.onnx DATA.npz [RUNS [MEMORY]]`: a real one on its
//! test rows. MEMORY limits what a proof takes, in MiB.
//!
//! Prints the least of RUNS (3): CPU seconds of the whole process, and seconds of wall time. Memory is the process's peak.
//! After each comes what was quoted. With 0 runs nothing is proven: prints the quote and the work it is computed from.

#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use agon_circuits::commitment::CommittedModel;
use agon_circuits::data::{encode, fit_encoding, fit_task, load};
use agon_circuits::generators::GeneratorCache;
use agon_circuits::graph::{Graph, Node, Op, Shape};
use agon_circuits::model::{IntegerModel, import, quantise};
use agon_circuits::prover::{DEFAULT_MEMORY_BYTES, Settings, Stage, prove};
use agon_circuits::quote::{self, quote};
use agon_circuits::verifier::{Expected, Verifier};
use agon_circuits::{Calibration, standalone_context};
use agon_protocol::codec::Encode;
use agon_protocol::metric::Metric;
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding, Task};

type Failure = Box<dyn Error>;

/// CPU seconds of this process so far.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Runs a task several times and prints the least CPU and wall time; `share` divides both.
fn timed<T>(what: &str, runs: usize, share: usize, mut task: impl FnMut() -> T) -> T {
    let (mut cpu, mut wall) = (f64::INFINITY, f64::INFINITY);
    let mut run = || {
        let start = (Instant::now(), cpu_seconds());
        let result = task();
        cpu = cpu.min(cpu_seconds() - start.1);
        wall = wall.min(start.0.elapsed().as_secs_f64());
        result
    };
    let mut result = run();
    for _ in 1..runs {
        result = run();
    }
    let share = share as f64;
    println!(
        "{what:32} {:8.3} CPU s {:8.3} s wall",
        cpu / share,
        wall / share
    );
    result
}

fn peak_mebibytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.unwrap_or(f64::NAN) / 1024.0
}

/// Numbers that look random, between `-size` and `size`.
fn made_up(count: usize, size: i64) -> Vec<i64> {
    let number = |index: usize| (index.wrapping_mul(2_654_435_761) >> 7) as i64;
    (0..count)
        .map(|index| number(index).rem_euclid(2 * size + 1) - size)
        .collect()
}

/// Fraction bits dropped after each layer.
const SHIFT: u32 = 12;

/// A dense classifier of these sizes, with a ReLU between layers.
fn dense(sizes: &[usize]) -> Result<(IntegerModel, InputEncoding), Failure> {
    let shape = |size: usize| Shape(vec![size]);
    let mut nodes = vec![Node {
        op: Op::Input,
        shape: shape(sizes[0]),
    }];
    let (mut shapes, mut parameters) = (Vec::new(), Vec::new());
    for (layer, pair) in sizes.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let last = layer + 2 == sizes.len();
        let at = nodes.len();
        shapes.extend([Shape(vec![outputs, inputs]), shape(outputs)]);
        // as large as cannot leave the range that the proof holds
        let largest = if layer == 0 { 255 } else { 2_047 };
        let size = (5_000i64 << SHIFT) / (inputs as i64 * largest);
        let size = size.clamp(1, 40);
        parameters.extend([made_up(outputs * inputs, size), made_up(outputs, 2_048)]);
        let ops = [
            Op::Linear {
                input: at - 1,
                weights: 2 * layer,
                contract: 1,
            },
            Op::Bias {
                input: at,
                bias: 2 * layer + 1,
            },
            Op::Requant {
                input: at + 1,
                shift: SHIFT,
                offset: 1 << (SHIFT - 1),
                low: if last { -2_048 } else { 0 },
                high: 2_047,
                saturates: true,
                table: None,
            },
        ];
        nodes.extend(ops.map(|op| Node {
            op,
            shape: shape(outputs),
        }));
    }
    let graph = Graph {
        range_bits: 12,
        output: nodes.len() - 1,
        nodes,
        parameters: shapes,
        tables: Vec::new(),
    };
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: 255,
    };
    let encoding = InputEncoding {
        features: vec![feature; sizes[0]],
    };
    Ok((IntegerModel::new(graph, parameters, &encoding)?, encoding))
}

fn made_up_data(model: &IntegerModel, samples: usize) -> Result<Dataset, Failure> {
    let (width, classes) = (model.graph().inputs(), model.graph().outputs());
    let inputs: Vec<u16> = (0..width * samples)
        .map(|cell| (cell.wrapping_mul(40_503) >> 5) as u16 % 256)
        .collect();
    let labels = (0..samples).map(|sample| {
        let predicted = model.predict(&inputs[sample * width..][..width])?;
        Ok(((predicted + usize::from(sample % 7 == 0)) % classes) as u16)
    });
    let labels: Vec<u16> = labels.collect::<Result<_, Failure>>()?;
    Ok(Dataset::new(width, classes, inputs, labels)?)
}

fn real(model: &str, data: &str) -> Result<(IntegerModel, Dataset), Failure> {
    let file = load(Path::new(data))?;
    let (encoding, task) = (fit_encoding(&file)?, fit_task(&file, None)?);
    let rows = file.train.as_ref().unwrap_or(&file.test);
    let float = import(&std::fs::read(model)?)?;
    let model = quantise(&float, &encoding, task, &rows.features)?;
    Ok((model, encode(&encoding, &file.test, task)?))
}

/// Bytes in MiB, rounded up.
fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn print_quote(model: &IntegerModel, data: &Dataset, metric: Metric) -> Result<(), Failure> {
    let work = quote::work(model.graph(), data.samples(), metric)?;
    println!("work {}", serde_json::to_string(&work)?);
    let terms = (work.prove_terms(), work.verify_terms());
    println!("terms {}", serde_json::to_string(&terms)?);
    Ok(())
}

fn measure(
    model: IntegerModel,
    data: &Dataset,
    runs: usize,
    settings: &Settings,
) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join("agon-test-generators");
    let (generators, verifier) = (GeneratorCache::new(&folder), Verifier::new(&folder));
    let context = standalone_context();
    let metric = match data.task() {
        Task::Classification { .. } => Metric::Accuracy,
        Task::Regression { .. } => Metric::Mse,
    };
    println!(
        "{} parameters, {} samples",
        model.graph().parameter_count(),
        data.samples()
    );
    let limit = settings.memory_bytes;
    let speed = Calibration::load(&folder);
    let quote = quote(model.graph(), data.samples(), metric, limit, &speed)?;
    println!(
        "quoted: prove {:.3} CPU s, verify {:.3} CPU s, {} bytes, {} chunks, memory {} MiB of {}",
        quote.prove_cpu_seconds,
        quote.verify_cpu_seconds,
        quote.proof_bytes,
        quote.chunks,
        mebibytes(quote.memory_bytes),
        mebibytes(limit)
    );
    if runs == 0 {
        return print_quote(&model, data, metric);
    }
    // once a process: generators and keys
    let prepare = || -> Result<(CommittedModel, _), Failure> {
        let committed = CommittedModel::new(&generators, model.clone(), context.competitor)?;
        let quiet = |_: Stage, _: f64| {};
        let proof = prove(
            &generators,
            &committed,
            data,
            metric,
            &context,
            settings,
            &quiet,
        )?;
        Ok((committed, proof))
    };
    timed("first proof, with keys", 1, 1, prepare)?;
    let committed = timed("commit to the model", 1, 1, || {
        CommittedModel::new(&generators, model.clone(), context.competitor)
    })?;
    let quiet = |_: Stage, _: f64| {};
    let submission = timed("prove", runs, 1, || {
        prove(
            &generators,
            &committed,
            data,
            metric,
            &context,
            settings,
            &quiet,
        )
    })?;
    println!(
        "{:32} {} proof, {} commitment; {} chunks; peak memory {:.0} MiB",
        "bytes",
        submission.proof_bytes(),
        submission.commitment_bytes(),
        submission.chunks(),
        peak_mebibytes()
    );
    let expected = Expected {
        context: &context,
        model: Some(committed.digest()),
        max_parameters: u64::MAX,
        metric: Some(metric),
        tally: Some(submission.tally()),
    };
    let bytes = submission.to_bytes();
    verifier.verify(&bytes, data, &expected)?;
    timed("verify one", runs, 1, || {
        verifier.verify(&bytes, data, &expected)
    })?;
    let all = [(&bytes[..], &expected); 20];
    let verdicts = timed("verify 20 at once, each", runs, 20, || {
        verifier.verify_all(&all, data)
    });
    verdicts
        .into_iter()
        .try_for_each(|verdict| verdict.map(drop))?;
    Ok(())
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let usage =
        "write dense SIZES SAMPLES [RUNS [MEMORY]] or model FILE.onnx DATA.npz [RUNS [MEMORY]]";
    let [kind, first, second, rest @ ..] = arguments else {
        return Err(usage.into());
    };
    let runs = rest.first().map_or(Ok(3), |runs| runs.parse())?;
    let memory_bytes = match rest.get(1) {
        Some(mebibytes) => mebibytes.parse::<u64>()?.saturating_mul(1 << 20),
        None => DEFAULT_MEMORY_BYTES,
    };
    let (model, data) = match kind.as_str() {
        "dense" => {
            let sizes = first
                .split(',')
                .map(str::parse)
                .collect::<Result<Vec<usize>, _>>()?;
            let (model, _) = dense(&sizes)?;
            let data = made_up_data(&model, second.parse()?)?;
            (model, data)
        }
        "model" => real(first, second)?,
        _ => return Err(usage.into()),
    };
    measure(model, &data, runs, &Settings { memory_bytes })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
