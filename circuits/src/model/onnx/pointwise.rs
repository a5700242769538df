//! Functions of one number, recognised by what they do.
//!
//! Exporters write the same activation in many ways: `x·Φ(x)`, `0.5·x·(1 + erf(x/√2))`, `x·sigmoid(x)`… Rather than their
//! spelling, their values at fixed points are followed through the graph and compared with those of every [`Function`].

use std::sync::{Arc, LazyLock};

use crate::model::float_graph::Function;

/// The values of an expression of one number at [`POINTS`].
pub(super) type Samples = Arc<[f64]>;

const ZERO: usize = 0;
const ONE: usize = 1;
const MINUS_ONE: usize = 2;
const SMALL: usize = 3;
const LOW: usize = 4;

static POINTS: LazyLock<Samples> = LazyLock::new(|| {
    let named = [0.0, 1.0, -1.0, 1.0 / 64.0, -40.0, 40.0, 20.0, -20.0];
    let grid = (-24..=24).map(|step| f64::from(step) * 0.37 + 0.011);
    named.into_iter().chain(grid).collect()
});

/// The samples of `x` itself.
pub(super) fn identity() -> Samples {
    POINTS.clone()
}

/// A function of each sample.
pub(super) fn map(samples: &Samples, function: impl Fn(f64) -> f64) -> Samples {
    samples.iter().map(|x| function(*x)).collect()
}

/// A function of each pair.
pub(super) fn zip(left: &Samples, right: &Samples, function: impl Fn(f64, f64) -> f64) -> Samples {
    left.iter()
        .zip(right.iter())
        .map(|(l, r)| function(*l, *r))
        .collect()
}

/// Whether two expressions agree at every point.
pub(super) fn agree(left: &Samples, right: &Samples) -> bool {
    left.iter()
        .zip(right.iter())
        .all(|(l, r)| (l - r).abs() <= 1e-6 * r.abs().max(1.0))
}

/// The function that has these values.
pub(super) fn recognise(samples: &Samples) -> Option<Function> {
    if samples.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let slope = -samples[MINUS_ONE];
    let alpha = -samples[LOW];
    let gamma = samples[ONE];
    let beta = samples[ZERO];
    let candidates = [
        Some(Function::Relu),
        Some(Function::Sigmoid),
        Some(Function::Tanh),
        Some(Function::Gelu),
        Some(Function::GeluTanh),
        Some(Function::Silu),
        Some(Function::Softplus),
        Some(Function::Softsign),
        Some(Function::HardSwish),
        Some(Function::Mish),
        Some(Function::Abs),
        Some(Function::Square),
        Some(Function::Erf),
        (slope != 1.0).then_some(Function::LeakyRelu { slope }),
        (alpha > 0.0).then_some(Function::Elu { alpha }),
        (alpha > 0.0 && gamma > 0.0).then(|| Function::Selu {
            alpha: alpha / gamma,
            gamma,
        }),
        (beta > 0.0 && beta < 1.0 && samples[SMALL] > beta).then(|| Function::HardSigmoid {
            alpha: (samples[SMALL] - beta) * 64.0,
            beta,
        }),
    ];
    candidates
        .into_iter()
        .flatten()
        .map(tidy)
        .find(|function| agree(samples, &map(&POINTS, |x| function.eval(x))))
}

/// Parameters as written in single precision, read as the decimal they stand for.
fn tidy(function: Function) -> Function {
    let short = |value: f64| {
        let single = (value as f32).to_string().parse::<f64>();
        single
            .ok()
            .filter(|single| (single - value).abs() <= 1e-6 * value.abs())
            .unwrap_or(value)
    };
    match function {
        Function::LeakyRelu { slope } => Function::LeakyRelu {
            slope: short(slope),
        },
        Function::Elu { alpha } => Function::Elu {
            alpha: short(alpha),
        },
        Function::Selu { alpha, gamma } => Function::Selu {
            alpha: short(alpha),
            gamma: short(gamma),
        },
        Function::HardSigmoid { alpha, beta } => Function::HardSigmoid {
            alpha: short(alpha),
            beta: short(beta),
        },
        other => other,
    }
}

/// `d` when `f(c·x) = c^d·f(x)` for every positive `c`.
pub(super) fn degree(function: Function) -> Option<f64> {
    match function {
        Function::Relu | Function::LeakyRelu { .. } | Function::Abs => Some(1.0),
        Function::Square => Some(2.0),
        Function::Pow { exponent } => Some(exponent),
        Function::Reciprocal => Some(-1.0),
        Function::Sqrt => Some(0.5),
        Function::Rsqrt => Some(-0.5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(function: impl Fn(f64) -> f64) -> Option<Function> {
        recognise(&map(&identity(), function))
    }

    #[test]
    fn recognises_activations_in_any_spelling() {
        let erf = |x: f64| Function::Erf.eval(x);
        let root = f64::from(std::f32::consts::SQRT_2);
        assert_eq!(
            of(|x| x * 0.5 * (1.0 + erf(x / root))),
            Some(Function::Gelu)
        );
        assert_eq!(of(|x| x / (1.0 + (-x).exp())), Some(Function::Silu));
        assert_eq!(of(|x| (1.0 + x.exp()).ln()), Some(Function::Softplus));
        assert_eq!(
            of(|x| 0.5 + 0.5 * (0.5 * x).tanh()),
            Some(Function::Sigmoid)
        );
        assert_eq!(
            of(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
            Some(Function::HardSwish)
        );
        assert_eq!(
            of(|x| x.max(f64::from(0.1f32) * x)),
            Some(Function::LeakyRelu { slope: 0.1 })
        );
        assert_eq!(
            of(|x| if x > 0.0 { x } else { 1.5 * (x.exp() - 1.0) }),
            Some(Function::Elu { alpha: 1.5 })
        );
        assert_eq!(
            of(|x| (x / 5.0 + 0.5).clamp(0.0, 1.0)),
            Some(Function::HardSigmoid {
                alpha: 0.2,
                beta: 0.5
            })
        );
        assert_eq!(
            of(|x| Function::Selu {
                alpha: 1.673_263_2,
                gamma: 1.050_701
            }
            .eval(x)),
            Some(Function::Selu {
                alpha: 1.673_263_2,
                gamma: 1.050_701
            })
        );
        assert_eq!(of(|x| 2.0 * x), None);
        assert_eq!(of(|x| x), None);
        assert_eq!(of(|_| 0.25), None);
        assert_eq!(of(f64::sin), None);
    }
}
