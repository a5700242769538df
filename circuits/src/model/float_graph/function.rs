//! Functions of one number, in double precision.

use super::Function;

impl Function {
    /// The function's value.
    pub fn eval(&self, x: f64) -> f64 {
        match *self {
            Self::Relu => x.max(0.0),
            Self::Clip { low, high } => x.max(low).min(high),
            Self::LeakyRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::Silu => x * sigmoid(x),
            Self::Elu { alpha } => elu(x, alpha),
            Self::Selu { alpha, gamma } => gamma * elu(x, alpha),
            Self::Softplus => softplus(x),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Mish => x * softplus(x).tanh(),
            Self::Erf => erf(x),
            Self::Exp => x.exp(),
            Self::Abs => x.abs(),
            Self::Square => x * x,
            Self::Pow { exponent } => x.powf(exponent),
            Self::Reciprocal => 1.0 / x,
            Self::Sqrt => x.sqrt(),
            Self::Rsqrt => 1.0 / x.sqrt(),
            Self::Log => x.ln(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn elu(x: f64, alpha: f64) -> f64 {
    if x > 0.0 { x } else { alpha * x.exp_m1() }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The error function: its power series up to 3, a continued fraction of the complement beyond.
fn erf(x: f64) -> f64 {
    let z = x.abs();
    let value = if z.is_nan() {
        f64::NAN
    } else if z < 3.0 {
        // erf z = 2/√π · e^(-z²) · Σ 2^n z^(2n+1) / (1·3·…·(2n+1)): no cancellation
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > sum * 1e-17 && odd < 400.0 {
            odd += 2.0;
            term *= 2.0 * z * z / odd;
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() * sum
    } else if z < 7.0 {
        let mut fraction = z;
        for step in (1..60).rev() {
            fraction = z + 0.5 * f64::from(step) / fraction;
        }
        1.0 - 0.5 * std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() / fraction
    } else {
        1.0
    };
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_function_is_exact_to_double_precision() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_89),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.5, 0.999_593_047_982_555),
            (2.999, 0.999_977_769_831_400_2),
            (3.5, 0.999_999_256_901_627_7),
        ] {
            assert!((erf(x) - expected).abs() < 1e-12, "{x}: {}", erf(x));
            assert!((erf(-x) + expected).abs() < 1e-12);
        }
        assert!((erf(3.0) - erf(3.0 - 1e-12)).abs() < 1e-12);
    }
}
