//! Whether this processor can run this build.

use thiserror::Error;

/// The build uses instructions that the processor lacks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "this build of agon uses the processor instructions BMI2 and ADX, which this machine lacks; build with `--no-default-features`"
)]
pub struct UnsupportedCpu;

/// Checks, before any proof, that the field arithmetic's assembly can run here.
pub fn check_cpu() -> Result<(), UnsupportedCpu> {
    #[cfg(all(feature = "asm", target_arch = "x86_64"))]
    if !(std::arch::is_x86_feature_detected!("bmi2") && std::arch::is_x86_feature_detected!("adx"))
    {
        return Err(UnsupportedCpu);
    }
    Ok(())
}
