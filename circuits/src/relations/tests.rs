//! Completeness, soundness, and what it costs.

use std::sync::LazyLock;

use agon_protocol::codec::{Decode, Encode};
use ff::Field;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::circuit::{ADVICE, Cells, index};
use super::hiding::Hiding;
use super::prover::{Strategy, prove_as, running_sum};
use super::*;
use crate::field::Scalar;
use crate::generators::Generators;
use crate::transcript::Transcript;

static GENERATORS: LazyLock<Generators> = LazyLock::new(|| Generators::derive(7).unwrap());
static KEYS: LazyLock<RelationKeys> = LazyLock::new(RelationKeys::default);

fn transcript() -> Transcript {
    Transcript::new("relations test")
}

fn pads(count: usize) -> Pads {
    Pads::new(&GENERATORS, count, [7; 32]).unwrap()
}

fn form(rng: &mut ChaCha20Rng, pads: usize, terms: usize) -> Form {
    let terms = if pads == 0 { 0 } else { terms };
    let term = |rng: &mut ChaCha20Rng| (rng.next_u64() as usize % pads, Scalar::random(rng));
    Form {
        constant: Scalar::random(rng),
        terms: (0..terms).map(|_| term(rng)).collect(),
    }
}

fn value(form: &Form, pads: &[Scalar]) -> Scalar {
    form.terms
        .iter()
        .fold(form.constant, |sum, (i, c)| sum + pads[*i] * c)
}

/// A true system of random forms with this many terms each.
fn system(pads: &[Scalar], zero: usize, products: usize, terms: usize) -> System {
    let rng = &mut ChaCha20Rng::from_seed([zero as u8; 32]);
    let zero = (0..zero).map(|_| {
        let mut form = form(rng, pads.len(), terms);
        form.constant -= value(&form, pads);
        form
    });
    let zero = zero.collect();
    // of one product, two, three, one, …
    let products = (0..products).map(|index| {
        let mut random = || form(rng, pads.len(), terms);
        let mut total = random();
        let products: Vec<_> = (0..=index % 3).map(|_| [random(), random()]).collect();
        let sum = products.iter();
        let sum: Scalar = sum.map(|[a, b]| value(a, pads) * value(b, pads)).sum();
        total.constant += sum - value(&total, pads);
        ProductSum { products, total }
    });
    System {
        zero,
        products: products.collect(),
    }
}

/// Proves as `strategy` does, and whether the verifier accepts.
fn accepts(strategy: &dyn Strategy, pads: Pads, claimed: &System) -> bool {
    let commitment = pads.commitment();
    let key = KEYS.proving(&GENERATORS).unwrap();
    let proof = prove_as(strategy, &key, pads, claimed, &mut transcript()).unwrap();
    is_valid(commitment, claimed, &proof, &mut transcript())
}

fn is_valid(
    pads: crate::field::Point,
    claimed: &System,
    proof: &RelationsProof,
    transcript: &mut Transcript,
) -> bool {
    let key = KEYS.verifying(&GENERATORS).unwrap();
    verify(&key, pads, claimed, proof, transcript).is_ok_and(Deferred::holds)
}

fn prove_honestly(pads: Pads, claimed: &System) -> Result<RelationsProof, RelationsError> {
    let key = KEYS.proving(&GENERATORS).unwrap();
    prove(&key, pads, claimed, &mut transcript())
}

/// Proves whatever is claimed.
struct Stubborn;

impl Strategy for Stubborn {
    fn is_stubborn(&self) -> bool {
        true
    }
}

/// Edits all columns, late.
struct EditCells<F>(F);

impl<F: Fn(&mut Cells) + Sync> Strategy for EditCells<F> {
    fn edit_cells(&self, cells: &mut Cells) {
        (self.0)(cells);
    }

    fn is_stubborn(&self) -> bool {
        true
    }
}

/// Edits the column q before it is committed to.
struct EditProducts<F>(F);

impl<F: Fn(&mut [Scalar]) + Sync> Strategy for EditProducts<F> {
    fn edit_products(&self, products: &mut [Scalar]) {
        (self.0)(products);
    }

    fn is_stubborn(&self) -> bool {
        true
    }
}

#[test]
fn true_systems_are_accepted() {
    for (count, zero, products, terms) in [
        (0, 0, 0, 0),
        (0, 3, 2, 4),
        (1, 0, 0, 1),
        (1, 1, 1, 3),
        (40, 7, 0, 5),
        (40, 0, 9, 5),
        (40, 0, 9, 0),
        (capacity(7), 20, 30, 8),
        (capacity(7), 300, 300, 3),
    ] {
        let pads = pads(count);
        let commitment = pads.commitment();
        let system = system(pads.values(), zero, products, terms);
        let key = KEYS.proving(&GENERATORS).unwrap();
        let (mut ours, mut theirs) = (transcript(), transcript());
        let proof = prove(&key, pads, &system, &mut ours).unwrap();
        assert!(is_valid(commitment, &system, &proof, &mut theirs));
        assert_eq!(ours.challenge("after"), theirs.challenge("after"));
    }
}

#[test]
fn a_proof_has_its_exact_length_and_one_encoding() {
    let pads = pads(20);
    let commitment = pads.commitment();
    let system = system(pads.values(), 3, 3, 3);
    let proof = prove_honestly(pads, &system).unwrap();
    assert_eq!(proof.bytes.len(), proof_bytes(7));
    assert_eq!(
        RelationsProof::from_bytes(&proof.to_bytes()).as_ref(),
        Ok(&proof)
    );
    for length in [
        0,
        1,
        31,
        32,
        proof.bytes.len() - 32,
        proof.bytes.len() - 1,
        proof.bytes.len() + 1,
        proof.bytes.len() + 32,
    ] {
        let mut bytes = proof.bytes.clone();
        bytes.resize(length, 0);
        let key = KEYS.verifying(&GENERATORS).unwrap();
        let wrong = RelationsProof { bytes };
        let verdict = verify(&key, commitment, &system, &wrong, &mut transcript());
        assert!(matches!(verdict, Err(RelationsRejection::Length { .. })));
    }
    let long = RelationsProof {
        bytes: vec![0; proof_bytes(MAX_K) + 1],
    };
    assert!(RelationsProof::from_bytes(&long.to_bytes()).is_err());
}

#[test]
fn no_item_of_a_proof_can_be_changed() {
    let pads = pads(20);
    let commitment = pads.commitment();
    let system = system(pads.values(), 3, 3, 3);
    let proof = prove_honestly(pads, &system).unwrap();
    let refused = |bytes: Vec<u8>| {
        let proof = RelationsProof { bytes };
        assert!(!is_valid(commitment, &system, &proof, &mut transcript()));
    };
    let items = proof.bytes.len() / 32;
    for item in 0..items {
        let range = 32 * item..32 * item + 32;
        for (byte, bit) in [(0, 1), (17, 8), (31, 1), (31, 0x80)] {
            let mut bytes = proof.bytes.clone();
            bytes[range.start + byte] ^= bit;
            refused(bytes);
        }
        for filler in [0, 0xff] {
            let mut bytes = proof.bytes.clone();
            bytes[range.clone()].fill(filler);
            refused(bytes);
        }
        let mut bytes = proof.bytes.clone();
        bytes.copy_within(
            32 * ((item + 1) % items)..32 * ((item + 1) % items) + 32,
            range.start,
        );
        refused(bytes);
    }
}

#[test]
fn a_false_system_is_refused() {
    let honest = system(pads(20).values(), 3, 3, 3);
    let mut lies = Vec::new();
    for equation in 0..3 {
        let mut lie = honest.clone();
        lie.zero[equation].constant += Scalar::ONE;
        lies.push(lie);
        let mut lie = honest.clone();
        lie.zero[equation].terms[1].1 += Scalar::ONE;
        lies.push(lie);
        let forms = 2 * honest.products[equation].products.len() + 1;
        for index in 0..forms {
            let edit = |edit: &dyn Fn(&mut Form)| {
                let mut lie = honest.clone();
                let sum = &mut lie.products[equation];
                let factors = sum.products.iter_mut().flatten();
                edit(factors.chain([&mut sum.total]).nth(index).unwrap());
                lie
            };
            lies.push(edit(&|form| form.constant += Scalar::ONE));
            lies.push(edit(&|form| form.terms[0].1 += Scalar::ONE));
            lies.push(edit(&|form| form.terms[0].0 ^= 1));
        }
    }
    let proof = prove_honestly(pads(20), &honest).unwrap();
    for lie in lies {
        let refusal = prove_honestly(pads(20), &lie);
        assert!(matches!(refusal, Err(RelationsError::Unsatisfied)));
        assert!(!accepts(&Stubborn, pads(20), &lie));
        // the end of the sum is forced to the target, or the target to the end
        let forced = EditCells(|cells: &mut Cells| {
            *cells[index::SUM].last_mut().unwrap() = *cells[index::COEFFICIENTS].last().unwrap();
        });
        assert!(!accepts(&forced, pads(20), &lie));
        let moved = EditCells(|cells: &mut Cells| {
            *cells[index::COEFFICIENTS].last_mut().unwrap() = *cells[index::SUM].last().unwrap();
        });
        assert!(!accepts(&moved, pads(20), &lie));
        // a true proof, of another system
        let commitment = pads(20).commitment();
        assert!(!is_valid(commitment, &lie, &proof, &mut transcript()));
    }
    assert!(accepts(&Stubborn, pads(20), &honest));
}

/// Makes the sum end where it must by changing a column, which is then another than the committed or the public one.
fn repair(cells: &mut Cells, column: usize, row: usize) {
    let target = *cells[index::COEFFICIENTS].last().unwrap();
    let missing = target - running_sum(cells).last().unwrap();
    let other = match column {
        index::PADS | index::WEIGHTS => {
            cells[index::PRODUCTS][row] + cells[index::COEFFICIENTS][row]
        }
        _ => cells[index::PADS][row] + cells[index::WEIGHTS][row],
    };
    cells[column][row] += missing * other.invert().unwrap();
    cells[index::SUM] = running_sum(cells);
    assert_eq!(
        cells[index::SUM].last(),
        cells[index::COEFFICIENTS].last(),
        "all gates hold"
    );
}

#[test]
fn columns_other_than_the_committed_and_public_ones_are_refused() {
    let mut lie = system(pads(20).values(), 3, 3, 3);
    lie.zero[1].constant += Scalar::ONE;
    for (column, rows) in [
        (index::PADS, vec![1, 19, 20, 100]),
        (index::PRODUCTS, vec![0, 19, 20, 100]),
        (index::COEFFICIENTS, vec![1, 20, 100]),
        (index::WEIGHTS, vec![1, 19]),
    ] {
        for row in rows {
            let needs_coefficient = matches!(column, index::PADS | index::WEIGHTS);
            let cheat = EditCells(|cells: &mut Cells| {
                if needs_coefficient && row >= 19 {
                    // nothing stands beside an unused pad; give it a cofactor
                    cells[index::PRODUCTS][row] += Scalar::ONE;
                }
                repair(cells, column, row);
            });
            assert!(
                !accepts(&cheat, pads(20), &lie),
                "column {column}, row {row}"
            );
        }
    }
}

#[test]
fn cofactors_are_bound_to_the_pads() {
    let mut lie = system(pads(20).values(), 3, 3, 3);
    lie.products[0].total.constant += Scalar::ONE;
    // Committed before the rows' challenge, so what a wrong cofactor adds is random; also on rows without a pad, and
    // where a pad is in no equation.
    for row in [0, 5, 19, 20, capacity(7) - 1] {
        let cheat = EditProducts(|products: &mut [Scalar]| products[row] += Scalar::ONE);
        assert!(!accepts(&cheat, pads(20), &lie));
        let honest = system(pads(20).values(), 3, 3, 3);
        assert!(!accepts(&cheat, pads(20), &honest));
    }
    // The quadratic equation is made true by a wrong cofactor, before the challenge ν: only the rows' equations are false.
    let mut alone = System::default();
    alone.products.push(ProductSum {
        products: vec![[Form::default(), Form::default()]],
        total: Form {
            constant: Scalar::ONE,
            terms: Vec::new(),
        },
    });
    // one equation, factor 1: 0 - 1 + pad·q must be zero
    let q = pads(20).values()[3].invert().unwrap();
    let cheat = EditProducts(|products: &mut [Scalar]| products[3] = q);
    assert!(!accepts(&cheat, pads(20), &alone));
}

#[test]
fn another_pad_is_refused() {
    let system = system(pads(20).values(), 3, 3, 3);
    for row in [0, 7, 19, 20] {
        let cheat = EditCells(|cells: &mut Cells| {
            cells[index::PADS][row] += Scalar::ONE;
            cells[index::SUM] = running_sum(cells);
        });
        assert!(!accepts(&cheat, pads(20), &system));
    }
    let other = Pads::new(&GENERATORS, 20, [8; 32]).unwrap();
    assert_ne!(other.values(), pads(20).values());
    let proof = prove_honestly(pads(20), &system).unwrap();
    let swapped = other.commitment();
    assert!(!is_valid(swapped, &system, &proof, &mut transcript()));
    assert!(matches!(
        prove_honestly(other, &system),
        Err(RelationsError::Unsatisfied)
    ));
    let identity = crate::field::Point::default();
    assert!(!is_valid(identity, &system, &proof, &mut transcript()));
}

#[test]
fn public_columns_hold_nothing_on_blinding_rows() {
    struct Noise(usize);
    impl Strategy for Noise {
        fn edit_hiding(&self, hiding: &mut [Hiding; ADVICE], rng: &mut ChaCha20Rng) {
            hiding[self.0] = Hiding::random(rng);
        }
    }
    let system = system(pads(20).values(), 3, 3, 3);
    assert!(accepts(&Noise(index::SUM), pads(20), &system));
    for column in [index::COEFFICIENTS, index::WEIGHTS] {
        assert!(!accepts(&Noise(column), pads(20), &system));
    }
}

#[test]
fn the_honest_prover_notices_columns_that_are_not_the_prepared_ones() {
    struct Meddled;
    impl Strategy for Meddled {
        fn edit_cells(&self, cells: &mut Cells) {
            cells[index::PADS][0] += Scalar::ONE;
        }
    }
    let system = system(pads(20).values(), 3, 3, 3);
    let key = KEYS.proving(&GENERATORS).unwrap();
    let refusal = prove_as(&Meddled, &key, pads(20), &system, &mut transcript());
    assert!(matches!(refusal, Err(RelationsError::Replay)));
}

#[test]
fn a_proof_holds_in_its_history_only() {
    let system = system(pads(20).values(), 3, 3, 3);
    let proof = prove_honestly(pads(20), &system).unwrap();
    let commitment = pads(20).commitment();
    assert!(is_valid(commitment, &system, &proof, &mut transcript()));
    let mut other = transcript();
    other.absorb("something", b"else");
    assert!(!is_valid(commitment, &system, &proof, &mut other));
}

#[test]
fn what_does_not_fit_is_refused() {
    assert_eq!(rows_needed(0), Some(7));
    assert_eq!(rows_needed(capacity(7)), Some(7));
    assert_eq!(rows_needed(capacity(7) + 1), Some(8));
    assert_eq!(rows_needed(capacity(14)), Some(14));
    assert_eq!(rows_needed(capacity(14) + 1), None);
    assert!(matches!(
        Pads::new(&GENERATORS, capacity(7) + 1, [7; 32]),
        Err(RelationsError::Capacity { .. })
    ));
    let honest = system(pads(20).values(), 3, 3, 3);
    let proof = prove_honestly(pads(20), &honest).unwrap();
    let key = KEYS.verifying(&GENERATORS).unwrap();
    for far in [capacity(7), usize::MAX] {
        let mut zero = honest.clone();
        zero.zero[2].terms[0].0 = far;
        let mut product = honest.clone();
        product.products[1].products[1][0].terms[2].0 = far;
        let mut total = honest.clone();
        total.products[2].total.terms[2].0 = far;
        for claimed in [zero, product, total] {
            let commitment = pads(20).commitment();
            let verdict = verify(&key, commitment, &claimed, &proof, &mut transcript());
            assert!(matches!(verdict, Err(RelationsRejection::System)));
            assert!(matches!(
                prove_honestly(pads(20), &claimed),
                Err(RelationsError::System)
            ));
        }
    }
}

#[test]
fn sizes_are_not_mixed() {
    let eight = Generators::derive(8).unwrap();
    let other = Pads::new(&eight, 20, [7; 32]).unwrap();
    let refusal = prove_honestly(other, &System::default());
    assert!(matches!(refusal, Err(RelationsError::Size { .. })));
    let small = Generators::derive(6).unwrap();
    assert!(matches!(
        KEYS.verifying(&small),
        Err(KeyError::Size { k: 6 })
    ));
}

#[test]
fn several_proofs_share_the_last_sum() {
    let key = KEYS.verifying(&GENERATORS).unwrap();
    let system = system(pads(20).values(), 3, 3, 3);
    let proof = prove_honestly(pads(20), &system).unwrap();
    let mut broken = proof.clone();
    let end = broken.bytes.len() - 1;
    broken.bytes[end - 20] ^= 1;
    let commitment = pads(20).commitment();
    let deferred = |proof: &RelationsProof| {
        verify(&key, commitment, &system, proof, &mut transcript()).unwrap()
    };
    let weighted = |proofs: &[&RelationsProof]| {
        let proofs = proofs.iter().enumerate();
        let proofs = proofs.map(|(i, proof)| (Scalar::from(3 + i as u64), deferred(proof)));
        Deferred::combine(proofs.collect()).unwrap().holds()
    };
    assert!(weighted(&[&proof]));
    assert!(weighted(&[&proof, &proof, &proof]));
    assert!(!weighted(&[&broken]));
    assert!(!weighted(&[&proof, &broken, &proof]));
    assert!(!weighted(&[&broken, &broken]));
    assert!(Deferred::combine(Vec::new()).is_none());
}

#[test]
fn keys_are_the_pinned_ones() {
    for k in [7, 9, 11] {
        let generators = Generators::derive(k).unwrap();
        let key = KEYS.verifying(&generators).unwrap();
        let again = KEYS.verifying(&generators).unwrap();
        assert!(std::sync::Arc::ptr_eq(&key, &again));
    }
}

#[test]
#[ignore = "prints the table to pin; takes a minute"]
fn relations_pins() {
    for k in MIN_K..=MAX_K {
        let generators = Generators::derive(k).unwrap();
        let key = RelationKey::unchecked(&generators).unwrap();
        println!(
            "    (\n        {k},\n        \"{}\",\n    ),",
            key.fingerprint_hex()
        );
    }
}

/// CPU seconds of all threads of the process.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn timed<T>(what: &str, task: impl FnOnce() -> T) -> T {
    let (start, wall) = (cpu(), std::time::Instant::now());
    let value = task();
    let (used, wall) = (cpu() - start, wall.elapsed().as_secs_f64());
    println!("    {what}: {:.2} ms CPU, {:.2} ms", used * 1e3, wall * 1e3);
    value
}

#[test]
#[ignore = "prints what proofs cost; to be run alone"]
fn relations_costs() {
    for k in [10, 11, 12] {
        let generators = Generators::derive(k).unwrap();
        println!("k = {k}: {} bytes", proof_bytes(k));
        let verifying = timed("verifying key", || KEYS.verifying(&generators)).unwrap();
        let proving = timed("proving key", || KEYS.proving(&generators)).unwrap();
        let count = capacity(k);
        let pads = || Pads::new(&generators, count, [7; 32]).unwrap();
        let commitment = timed("pads", pads).commitment();
        // an equation for every four pads, a product for every eight, eight terms a form
        let system = system(pads().values(), count / 4, count / 8, 8);
        let proof = {
            let pads = pads();
            timed("prove", || {
                prove(&proving, pads, &system, &mut transcript())
            })
            .unwrap()
        };
        timed("verify: statement and challenges", || {
            system.bind(&verifying, commitment, &mut transcript())
        });
        let equations = system.bind(&verifying, commitment, &mut transcript());
        let public = timed("verify: public columns", || {
            equations.public_columns(k, commitment, &mut transcript())
        });
        let omega = verifying.key().get_domain().get_omega();
        timed("verify: evaluations", || {
            public.evaluate(k, omega, Scalar::from(7))
        });
        let verify = || verify(&verifying, commitment, &system, &proof, &mut transcript());
        let deferred = timed("verify: all but the last sum", verify).unwrap();
        assert!(timed("verify: last sum", || deferred.holds()));
        let many = (0..10)
            .map(|_| (Scalar::from(5), verify().unwrap()))
            .collect();
        let many = timed("combine ten", || Deferred::combine(many)).unwrap();
        assert!(timed("last sum of ten", || many.holds()));
    }
}
