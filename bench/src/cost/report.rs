//! The result, for people and for programs.

use std::fmt::Write;
use std::time::Duration;

use parisync::export::status::{Latency, Stage};
use serde::Serialize;

use super::Discovery;
use super::procfs::{Memory, Spent};

/// What one node cost.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How it found its neighbours.
    pub(crate) discovery: Discovery,
    /// It ran in one thread.
    pub(super) single_thread: bool,
    /// Neighbours that it heard.
    pub(super) neighbours: usize,
    /// Time between two polls of a neighbour.
    pub(super) poll_s: f64,
    /// Exchanges in each poll.
    pub(super) burst: u8,
    /// Threads beside it that never slept.
    pub(super) busy_threads: u8,
    /// How long it was watched.
    pub(super) seconds: f64,
    /// From the start of all its neighbours' processes to a bound below 1 ms at each of them.
    pub(super) network_start_s: f64,
    /// From the start of its process to the first bound below 1 ms on its control socket.
    pub(super) cold_start_s: f64,
    /// The bound it served in the end.
    pub(super) bound_ns: Option<i64>,
    /// Time packets sent and received.
    pub(super) packets_per_s: f64,
    /// Exchanges that its neighbours' answers completed.
    pub(super) exchanges_per_s: f64,
    /// How long samples took to its estimator since it started.
    pub(super) latency: Vec<Latency>,
    /// Samples that newer ones drove out of its queue.
    pub(super) samples_dropped: u64,
    /// What the process used.
    #[serde(flatten)]
    pub(super) spent: Total,
    /// Its memory in the end.
    #[serde(flatten)]
    pub(super) memory: Memory,
    /// The same by thread, the busiest first.
    pub(crate) threads: Vec<ThreadCost>,
}

/// What all threads used together.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Total {
    /// Share of one core, by the scheduler's count.
    cpu_percent: f64,
    /// Share of one core in user space, to ten milliseconds in all.
    user_percent: f64,
    /// Share of one core in the kernel, likewise.
    system_percent: f64,
    /// Times a thread was woken.
    wakeups_per_s: f64,
    /// Times a thread was put aside for another.
    preemptions_per_s: f64,
}

/// What the threads of one name used.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadCost {
    name: String,
    /// Share of one core.
    cpu_percent: f64,
    /// Times it was woken.
    wakeups_per_s: f64,
}

impl From<Spent> for Total {
    fn from(spent: Spent) -> Self {
        let seconds = spent.elapsed.as_secs_f64();
        let share = |time: Duration| 100.0 * time.as_secs_f64() / seconds;
        let threads = &spent.threads;
        Self {
            cpu_percent: share(Duration::from_nanos(threads.iter().map(|t| t.cpu_ns).sum())),
            user_percent: share(spent.times.0),
            system_percent: share(spent.times.1),
            wakeups_per_s: threads.iter().map(|t| t.voluntary).sum::<u64>() as f64 / seconds,
            preemptions_per_s: threads.iter().map(|t| t.involuntary).sum::<u64>() as f64 / seconds,
        }
    }
}

/// The threads by name, the busiest first.
pub(super) fn threads(spent: &Spent) -> Vec<ThreadCost> {
    let seconds = spent.elapsed.as_secs_f64();
    let mut costs: Vec<ThreadCost> = spent
        .threads
        .iter()
        .map(|thread| ThreadCost {
            name: thread.name.clone(),
            cpu_percent: thread.cpu_ns as f64 / 1e7 / seconds,
            wakeups_per_s: thread.voluntary as f64 / seconds,
        })
        .collect();
    costs.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent));
    costs
}

/// The reports side by side, a line for each figure.
pub fn table(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn Fn(&Report) -> String| {
        let cells: String = reports
            .iter()
            .map(|r| format!("{:>16}", value(r)))
            .collect();
        // A string takes everything.
        let _ = writeln!(text, "{name:<34}{cells}");
    };
    line("peers found by", &|r| {
        let threads = if r.single_thread { ", 1 thread" } else { "" };
        format!("{:?}{threads}", r.discovery).to_lowercase()
    });
    line("neighbours heard", &|r| r.neighbours.to_string());
    line("poll, burst", &|r| format!("{} s, {}", r.poll_s, r.burst));
    line("threads beside it that never sleep", &|r| {
        r.busy_threads.to_string()
    });
    line("watched for", &|r| format!("{:.0} s", r.seconds));
    line("cold start of the neighbours", &|r| {
        format!("{:.2} s", r.network_start_s)
    });
    line("cold start of the node", &|r| {
        format!("{:.2} s", r.cold_start_s)
    });
    line("bound in the end", &|r| {
        let micros = r.bound_ns.map(|bound| bound as f64 / 1e3);
        micros.map_or("none".to_owned(), |micros| format!("{micros:.1} us"))
    });
    line("processor, of one core", &|r| {
        format!("{:.3} %", r.spent.cpu_percent)
    });
    line("  user + system, in ticks", &|r| {
        let Total {
            user_percent,
            system_percent,
            ..
        } = r.spent;
        format!("{user_percent:.2} + {system_percent:.2} %")
    });
    line("memory, resident", &|r| mebibytes(r.memory.resident_kib));
    line("  of its own (RssAnon)", &|r| {
        mebibytes(r.memory.anonymous_kib)
    });
    line("  of files (RssFile)", &|r| mebibytes(r.memory.file_kib));
    line("  at most (VmHWM)", &|r| mebibytes(r.memory.peak_kib));
    line("threads", &|r| r.threads.len().to_string());
    line("wake-ups per second", &|r| {
        format!("{:.1}", r.spent.wakeups_per_s)
    });
    line("preemptions per second", &|r| {
        format!("{:.1}", r.spent.preemptions_per_s)
    });
    line("packets per second", &|r| format!("{:.1}", r.packets_per_s));
    line("exchanges per second", &|r| {
        format!("{:.1}", r.exchanges_per_s)
    });
    line("samples, 50 % / 99 % / longest", &|_| "us".to_owned());
    for (stage, words) in [
        (Stage::Read, "  stamp to reading the socket"),
        (Stage::Queue, "  in the queue, and waking up"),
        (Stage::Use, "  authenticating and estimating"),
        (Stage::Total, "  stamp to estimator"),
    ] {
        line(words, &|r| {
            let of = r.latency.iter().find(|of| of.stage == stage);
            let micros = |ns: u64| format!("{:.1}", ns as f64 / 1e3);
            of.map_or("-".to_owned(), |of| {
                [of.p50_ns, of.p99_ns, of.max_ns].map(micros).join("/")
            })
        });
    }
    line("  dropped for newer ones", &|r| {
        r.samples_dropped.to_string()
    });
    for report in reports {
        let kind = format!("{:?}", report.discovery).to_lowercase();
        let _ = writeln!(text, "\nthreads, {kind}:");
        for thread in &report.threads {
            let _ = writeln!(
                text,
                "  {:<18}{:>8.3} %{:>8.1} wake-ups/s",
                thread.name, thread.cpu_percent, thread.wakeups_per_s
            );
        }
    }
    text
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::super::procfs::Thread;
    use super::*;

    fn spent() -> Spent {
        let thread = |name: &str, cpu_ns, voluntary| Thread {
            name: name.to_owned(),
            cpu_ns,
            voluntary,
            involuntary: 1,
        };
        Spent {
            elapsed: Duration::from_secs(10),
            times: (Duration::from_millis(20), Duration::from_millis(30)),
            threads: vec![
                thread("io", 10_000_000, 100),
                thread("core", 40_000_000, 300),
            ],
        }
    }

    #[test]
    fn shares_are_of_one_core_and_the_time() {
        let total = Total::from(spent());
        assert!((total.cpu_percent - 0.5).abs() < 1e-9);
        assert!((total.user_percent - 0.2).abs() < 1e-9);
        assert!((total.system_percent - 0.3).abs() < 1e-9);
        assert!((total.wakeups_per_s - 40.0).abs() < 1e-9);
        assert!((total.preemptions_per_s - 0.2).abs() < 1e-9);
    }

    #[test]
    fn the_busiest_thread_comes_first() {
        let threads = threads(&spent());
        assert_eq!(threads[0].name, "core");
        assert!((threads[0].cpu_percent - 0.4).abs() < 1e-9);
        assert!((threads[1].wakeups_per_s - 10.0).abs() < 1e-9);
    }
}
