//! Ctrl-C and its like: the run ends like one that failed, so that its nodes are stopped and its folder goes.
//!
//! Who waits looks whether a signal has come ([`check`]), and the error unwinds the scenario. A second signal ends the program where it
//! is; its nodes end with it, as they do when it is killed outright (`--end-with-parent`), but the folder stays.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::{POLL, TestnetError};

/// The number of the signal that has come; 0 before.
static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Catches SIGINT, SIGTERM and SIGHUP from now on.
///
/// # Errors
/// When the system refuses.
pub fn catch() -> Result<(), TestnetError> {
    let caught = CAUGHT.get_or_init(Arc::default);
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // as shells expect of a process that a signal ended
        let code = 128 + signal;
        flag::register_conditional_shutdown(signal, code, again.clone())
            .and_then(|_| flag::register(signal, again.clone()))
            .and_then(|_| {
                flag::register_usize(signal, caught.clone(), signal.unsigned_abs() as usize)
            })
            .map_err(TestnetError::system("catching signals"))?;
    }
    Ok(())
}

/// The number of the signal that has come, if one has.
pub fn signal() -> Option<u8> {
    let number = CAUGHT.get()?.load(Ordering::Relaxed);
    u8::try_from(number).ok().filter(|number| *number > 0)
}

/// Fails once a signal has come.
///
/// # Errors
/// [`TestnetError::Interrupted`].
pub fn check() -> Result<(), TestnetError> {
    match signal() {
        None => Ok(()),
        Some(signal) => Err(TestnetError::Interrupted { signal }),
    }
}

/// Lets time pass, for who measures a period; ends early, with an error, when a signal comes.
///
/// # Errors
/// [`TestnetError::Interrupted`].
pub fn pass(period: Duration) -> Result<(), TestnetError> {
    let end = Instant::now() + period;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(POLL));
    }
}
