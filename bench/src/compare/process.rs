//! One program as a child: killed when dropped, its log kept, its cost read before it is gone.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::cost::procfs;

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    cpu: Duration,
    peak_kib: u64,
    ended: bool,
}

impl Process {
    /// Starts it, out of reach of the terminal's signals; whatever it says goes to the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        let output = File::create(log)?;
        let _unblocked = Unblocked::new()?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self {
            child,
            log: log.to_owned(),
            cpu: Duration::ZERO,
            peak_kib: 0,
            ended: false,
        })
    }

    /// Looks at what it used so far; whether it has ended.
    pub(crate) fn look(&mut self) -> bool {
        // A process that ended keeps its times until it is waited for.
        if let (false, Ok(life)) = (self.ended, procfs::life(self.child.id())) {
            self.cpu = life.cpu;
            self.ended = life.ended;
        }
        if let (false, Ok(memory)) = (self.ended, procfs::memory(self.child.id())) {
            self.peak_kib = self.peak_kib.max(memory.peak_kib);
        }
        self.ended
    }

    /// Waits until it has ended by itself, or kills it; how it ended.
    pub(crate) fn end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        while !self.look() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !self.ended {
            self.child.kill()?;
        }
        self.ended = true;
        self.child.wait()
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.cpu
    }

    /// The most memory that was resident, KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.peak_kib
    }

    /// The last line it said that is not empty.
    pub(crate) fn last_words(&self) -> String {
        last_line(&self.log)
    }
}

/// As long as it lives, no signal is blocked in this thread: children inherit what is, and a daemon
/// that cannot be told to end goes on for ever.
struct Unblocked(SigSet);

impl Unblocked {
    fn new() -> io::Result<Self> {
        Ok(Self(
            SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?,
        ))
    }
}

impl Drop for Unblocked {
    fn drop(&mut self) {
        // It was the mask before.
        let _ = self.0.thread_set_mask();
    }
}

/// The last line of a log that is not empty.
pub(crate) fn last_line(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let last = log.lines().rev().map(str::trim).find(|l| !l.is_empty());
    last.unwrap_or("(it said nothing)").to_owned()
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use nix::sys::signal::Signal;
    use parisync::service::signals::StopSignals;
    use std::os::unix::process::ExitStatusExt;

    fn shell(script: &str, dir: &Scratch) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Process::start(command, &dir.path().join("log")).unwrap()
    }

    #[test]
    fn what_a_program_said_last_and_how_it_ended_is_known() {
        let dir = Scratch::new("process").unwrap();
        let mut process = shell("echo hello; echo 'no such option' >&2; echo; exit 3", &dir);
        let status = process.end(Duration::from_secs(10)).unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(process.last_words(), "no such option");
    }

    #[test]
    fn a_program_can_be_told_to_end_though_we_wait_for_signals() {
        let dir = Scratch::new("process").unwrap();
        let mut process = std::thread::spawn(move || {
            let _signals = StopSignals::new().unwrap();
            let process = shell("kill -TERM $$; echo alive", &dir);
            let mask = SigSet::thread_get_mask().unwrap();
            assert!(mask.contains(Signal::SIGTERM) && mask.contains(Signal::SIGINT));
            (process, dir)
        })
        .join()
        .unwrap()
        .0;
        let status = process.end(Duration::from_secs(10)).unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_and_its_cost_is_known() {
        let dir = Scratch::new("process").unwrap();
        let mut process = shell("while :; do :; done", &dir);
        let status = process.end(Duration::from_millis(200)).unwrap();
        assert!(!status.success());
        assert!(process.cpu() >= Duration::from_millis(10));
        assert!(process.peak_kib() > 100);
        assert_eq!(process.last_words(), "(it said nothing)");
    }
}
