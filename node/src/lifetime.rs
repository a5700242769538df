//! A process that does not outlive the one that started it, even when that one is killed outright.

use std::io;

/// Ends this process by SIGTERM when the one with id `parent`, which must have started it, ends; to the kernel that is the end of
/// the thread that started it. Where the system cannot do that (elsewhere than on Linux), nothing happens.
///
/// # Errors
/// When `parent` has ended already, or the system refuses.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    let own = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if own != Some(parent) {
        // it ended before the signal was asked for
        return Err(io::Error::other(
            "the process that started this one is gone",
        ));
    }
    Ok(())
}
