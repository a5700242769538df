//! Runs the targets without libFuzzer, on any toolchain: damages the seeds at random for so many seconds.
//!
//! `cargo run --release --manifest-path node/fuzz/Cargo.toml -- [TARGET|all] [SECONDS] [SEED]`; with a file in the place of the seconds it runs
//! that input, such as an artifact of `cargo fuzz`. `… -- list` names the targets; `… -- seeds FOLDER` writes their seeds as corpora.
//! The committed corpora in `corpus/` are inputs, too.
//! A failing input is written to `artifacts` before the process ends.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agon_fuzz::{Target, targets};

/// SplitMix64: a failure repeats with its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One to four changes.
fn damaged(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let size = bytes.len();
        if size == 0 {
            break;
        }
        let at = random.below(size);
        match random.below(8) {
            0..=2 => bytes[at] ^= 1 << random.below(8),
            3 => bytes[at] = random.next() as u8,
            4 => {
                let numbers = [0, 1, u32::MAX, 1 << 31, random.next() as u32 >> 16];
                let number = numbers[random.below(numbers.len())].to_le_bytes();
                let place = bytes[at..].iter_mut().zip(number);
                place.for_each(|(byte, value)| *byte = value);
            }
            5 => bytes.truncate(at),
            6 => {
                let count = random.below(40);
                bytes.drain(at..(at + count).min(size));
            }
            _ => {
                let count = random.below(40);
                let run: Vec<u8> = bytes[at..(at + count).min(size)].to_vec();
                let to = random.below(size);
                bytes.splice(to..to, run);
            }
        }
    }
    bytes
}

/// Runs an input; writes it down when it panics.
fn run_one(target: &Target, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if std::panic::catch_unwind(|| (target.run)(bytes)).is_ok() {
        return Ok(());
    }
    std::fs::create_dir_all("artifacts")?;
    let path = format!("artifacts/{}-{}", target.name, bytes.len());
    std::fs::write(&path, bytes)?;
    Err(format!("{} panicked; its input is in {path}", target.name).into())
}

fn run(target: &Target, time: Duration, seed: u64) -> Result<(), Box<dyn Error>> {
    let mut random = Random(seed);
    let all = target.inputs()?;
    for seed in &all {
        run_one(target, seed)?;
    }
    let (start, mut runs, mut slowest) = (Instant::now(), 0u64, Duration::ZERO);
    while start.elapsed() < time {
        let bytes = damaged(&all[random.below(all.len())], &mut random);
        let begin = Instant::now();
        run_one(target, &bytes)?;
        slowest = slowest.max(begin.elapsed());
        runs += 1;
    }
    println!(
        "{:16} {runs:8} inputs, the slowest took {slowest:.1?}",
        target.name
    );
    Ok(())
}

fn write_seeds(folder: &Path) -> Result<(), Box<dyn Error>> {
    for target in targets() {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

fn start(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let name = arguments.first().map_or("all", String::as_str);
    let second = arguments.get(1).map_or("10", String::as_str);
    if name == "seeds" {
        return write_seeds(Path::new(second));
    }
    if name == "list" {
        targets().for_each(|target| println!("{}", target.name));
        return Ok(());
    }
    let chosen: Vec<&Target> = targets()
        .filter(|target| name == "all" || name == target.name)
        .collect();
    if chosen.is_empty() {
        return Err(format!("there is no target {name}; `list` names them").into());
    }
    let seed = arguments.get(2).map_or(Ok(0), |seed| seed.parse())?;
    for target in chosen {
        match second.parse() {
            Ok(seconds) => run(target, Duration::from_secs(seconds), seed)?,
            Err(_) => run_one(target, &std::fs::read(second)?)?,
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
