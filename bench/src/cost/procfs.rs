//! What `/proc` tells of a process (proc(5)): processor time, memory, context switches.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::CostError;

/// Ticks a second in `/proc/PID/stat`: `USER_HZ`, part of Linux's ABI.
const TICKS: u64 = 100;

/// One thread of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) name: String,
    /// Time on a processor, ns, as the scheduler counts it.
    pub(super) cpu_ns: u64,
    /// Times it went to sleep: as often it was woken.
    pub(super) voluntary: u64,
    /// Times it was put aside for another.
    pub(super) involuntary: u64,
}

/// Memory of a process, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident (`VmRSS`).
    pub(crate) resident_kib: u64,
    /// Of that the process's own: heap, stacks, written data (`RssAnon`).
    pub(crate) anonymous_kib: u64,
    /// Of that mapped files, the program itself foremost (`RssFile`).
    pub(crate) file_kib: u64,
    /// The most that was ever resident (`VmHWM`).
    pub(crate) peak_kib: u64,
}

/// A process at one instant.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    at: Instant,
    /// User and system time.
    times: (Duration, Duration),
    pub(super) memory: Memory,
    threads: HashMap<u32, Thread>,
}

/// What a process used between two snapshots.
#[derive(Debug, Clone)]
pub(super) struct Spent {
    pub(super) elapsed: Duration,
    /// User and system time, to ten milliseconds.
    pub(super) times: (Duration, Duration),
    /// Each thread that was there in the end.
    pub(super) threads: Vec<Thread>,
}

impl Snapshot {
    /// Reads `/proc` for process `pid`.
    pub(super) fn take(pid: u32) -> Result<Self, CostError> {
        let root = format!("/proc/{pid}");
        let at = Instant::now();
        let times = read(format!("{root}/stat"), "times", parse_times)?;
        let memory = read(format!("{root}/status"), "memory", parse_memory)?;
        let mut threads = HashMap::new();
        for task in fs::read_dir(format!("{root}/task"))? {
            let task = task?.path();
            let Some(id) = task
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok())
            else {
                continue;
            };
            // A thread that has just ended costs nothing any more.
            let Ok(status) = fs::read_to_string(task.join("status")) else {
                continue;
            };
            let Ok(schedstat) = fs::read_to_string(task.join("schedstat")) else {
                continue;
            };
            let missing = |what| CostError::Proc {
                file: task.display().to_string(),
                what,
            };
            let (name, voluntary, involuntary) =
                parse_thread(&status).ok_or_else(|| missing("switches"))?;
            let thread = Thread {
                name,
                cpu_ns: parse_schedstat(&schedstat).ok_or_else(|| missing("time"))?,
                voluntary,
                involuntary,
            };
            threads.insert(id, thread);
        }
        Ok(Self {
            at,
            times,
            memory,
            threads,
        })
    }

    /// What was used since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Spent {
        let threads = self.threads.iter().map(|(id, now)| {
            let Some(then) = earlier.threads.get(id) else {
                return now.clone();
            };
            Thread {
                name: now.name.clone(),
                cpu_ns: now.cpu_ns.saturating_sub(then.cpu_ns),
                voluntary: now.voluntary.saturating_sub(then.voluntary),
                involuntary: now.involuntary.saturating_sub(then.involuntary),
            }
        });
        Spent {
            elapsed: self.at - earlier.at,
            times: (
                self.times.0.saturating_sub(earlier.times.0),
                self.times.1.saturating_sub(earlier.times.1),
            ),
            threads: threads.collect(),
        }
    }
}

/// What is left of a process that may have ended but was not waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// It has ended.
    pub(crate) ended: bool,
    /// Its user and system time together.
    pub(crate) cpu: Duration,
}

/// Whether process `pid` lives, and the processor time it has used.
pub(crate) fn life(pid: u32) -> Result<Life, CostError> {
    read(format!("/proc/{pid}/stat"), "times", |text| {
        let (_, rest) = text.rsplit_once(')')?;
        let (user, system) = parse_times(text)?;
        Some(Life {
            ended: rest.trim_start().starts_with(['Z', 'X']),
            cpu: user + system,
        })
    })
}

/// The memory of process `pid`; an error once it has ended.
pub(crate) fn memory(pid: u32) -> Result<Memory, CostError> {
    read(format!("/proc/{pid}/status"), "memory", parse_memory)
}

fn read<T>(file: String, what: &'static str, parse: fn(&str) -> Option<T>) -> Result<T, CostError> {
    let text = fs::read_to_string(&file)?;
    parse(&text).ok_or(CostError::Proc { file, what })
}

/// User and system time out of `/proc/PID/stat`.
fn parse_times(text: &str) -> Option<(Duration, Duration)> {
    // The name is in parentheses and may itself hold anything; field 3 follows the last one.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(14 - 3);
    let mut time = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(ticks * (1000 / TICKS)))
    };
    Some((time()?, time()?))
}

/// The value of `key` in a file of lines `key:\tvalue`.
pub(crate) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim)
}

fn number(text: &str, key: &str) -> Option<u64> {
    field(text, key)?.split_whitespace().next()?.parse().ok()
}

/// The memory out of `/proc/PID/status`.
fn parse_memory(text: &str) -> Option<Memory> {
    Some(Memory {
        resident_kib: number(text, "VmRSS")?,
        anonymous_kib: number(text, "RssAnon")?,
        file_kib: number(text, "RssFile")?,
        peak_kib: number(text, "VmHWM")?,
    })
}

/// Name, voluntary and involuntary switches out of `/proc/PID/task/TID/status`.
fn parse_thread(text: &str) -> Option<(String, u64, u64)> {
    Some((
        field(text, "Name")?.to_owned(),
        number(text, "voluntary_ctxt_switches")?,
        number(text, "nonvoluntary_ctxt_switches")?,
    ))
}

/// Nanoseconds on a processor out of `/proc/PID/task/TID/schedstat`.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tio\nUmask:\t0022\nVmHWM:\t   20480 kB\nVmRSS:\t   18432 kB\n\
        RssAnon:\t    4096 kB\nRssFile:\t   14336 kB\nRssShmem:\t       0 kB\nThreads:\t4\n\
        voluntary_ctxt_switches:\t123\nnonvoluntary_ctxt_switches:\t7\n";

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a) b) 1 2) S 1 42 42 0 -1 4194560 900 0 3 0 150 25 0 0 20 0 4 0 99 1 2";
        let times = (Duration::from_millis(1500), Duration::from_millis(250));
        assert_eq!(parse_times(stat), Some(times));
        assert_eq!(parse_times("42 (a) S 1 2"), None);
        assert_eq!(parse_times(""), None);
    }

    #[test]
    fn memory_and_switches_are_read() {
        let memory = Memory {
            resident_kib: 18_432,
            anonymous_kib: 4_096,
            file_kib: 14_336,
            peak_kib: 20_480,
        };
        assert_eq!(parse_memory(STATUS), Some(memory));
        assert_eq!(parse_thread(STATUS), Some(("io".to_owned(), 123, 7)));
        // A zombie has no memory.
        assert_eq!(parse_memory("Name:\tio\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn schedstat_is_time_wait_and_count() {
        assert_eq!(parse_schedstat("510939 3800977 2\n"), Some(510_939));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let before = Snapshot::take(std::process::id()).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let after = Snapshot::take(std::process::id()).unwrap();
        assert!(after.memory.resident_kib >= after.memory.anonymous_kib);
        let spent = after.since(&before);
        assert!(spent.elapsed >= Duration::from_millis(2));
        let slept: u64 = spent.threads.iter().map(|thread| thread.voluntary).sum();
        assert!(slept > 0, "{spent:?}");
    }
}
