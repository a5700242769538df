//! `cargo bench -p agon-circuits`: committing to a model, proving its score and verifying the proof, for a small and a middling
//! network. Criterion measures wall time; the example `measure` measures CPU time and memory, and larger networks.

mod scene;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use scene::{Failure, SHAPES, Scene};

fn bench(criterion: &mut Criterion, name: &str) -> Result<(), Failure> {
    let scene = Scene::new(name)?;
    let committed = scene.commit()?;
    let proof = scene.prove(&committed)?;
    scene.verify(&proof, 1)?;
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    group.bench_function("prove", |b| b.iter(|| black_box(scene.prove(&committed))));
    group.bench_function("verify", |b| b.iter(|| black_box(scene.verify(&proof, 1))));
    group.bench_function("verify 20", |b| {
        b.iter(|| black_box(scene.verify(&proof, 20)))
    });
    group.bench_function("commit", |b| b.iter(|| black_box(scene.commit())));
    group.finish();
    Ok(())
}

fn proving(criterion: &mut Criterion) {
    for name in SHAPES {
        bench(criterion, name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

criterion_group!(benches, proving);
criterion_main!(benches);
