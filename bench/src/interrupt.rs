//! Ending early: what was measured so far is worth something.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parisync::service::signals::StopSignals;

/// How long a signal may go unnoticed.
const TICK: Duration = Duration::from_millis(50);

/// Does the work on a thread of its own. Its flag is set when SIGINT or SIGTERM comes; the work
/// looks at it now and then, and returns what it has.
///
/// Call it before any other thread is started, since those would take the signals.
///
/// # Errors
/// The system has no descriptor or thread left.
pub fn interruptible<T: Send>(work: impl FnOnce(&AtomicBool) -> T + Send) -> io::Result<T> {
    let signals = StopSignals::new()?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().spawn_scoped(scope, || work(&stop))?;
        while !worker.is_finished() {
            if signals.wait(TICK) {
                stop.store(true, Ordering::Relaxed);
            }
        }
        worker
            .join()
            .map_err(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::pthread::{pthread_kill, pthread_self};
    use nix::sys::signal::Signal;

    #[test]
    fn the_work_goes_on_until_a_signal_comes() {
        let waiting = pthread_self();
        let waited = interruptible(|stop| {
            assert!(!stop.load(Ordering::Relaxed));
            // To the thread that waits: other threads of a test do not expect signals.
            pthread_kill(waiting, Signal::SIGINT).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            7
        });
        assert_eq!(waited.unwrap(), 7);
    }
}
