//! How many authenticated exchanges one processor answers, by each transport.
//!
//! Two ends in two network namespaces, one processor each, joined by a pair of interfaces for each
//! transport. The asking end keeps a window of sealed requests under way; the answering end does for
//! each what a node does around its filters: brings the stamps to the raw clock, checks and opens
//! the request, writes an answer that tells its own stamps, seals and sends it. The transports take
//! turns in slices, so that what else the host does strikes both alike and their ratio holds. On a
//! busy host the processor's time of the answering thread says what a core can do, the wall clock what
//! was left of it.

mod ends;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hwts::transport::{
    AnyTransport, Transport as _, UdpConfig, UdpTransport, WaitMode, XdpConfig, XdpTransport,
};
use parisync::present::text::{columns, fine};
use parisync::wire::MAX_DATAGRAM;
use serde::Serialize;

use crate::netns::Namespace;
use crate::precision::judge::median;
use crate::precision::lane::{Named, Selection, Transport};
use crate::precision::ratio::{Ratio, paired};
use crate::precision::{PrecisionError, schedule};
use ends::{Answerer, Asked, Asker, Done};

/// How long a transmit stamp may take: as long as the kernel keeps a thread off its processor.
const TX_TIMEOUT_MS: u32 = 500;
/// Packets of each queue with AF_XDP.
const FRAMES: u32 = 1024;
/// Requests that may be under way: as many stamps can be awaited.
const MOST: u32 = 192;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Transports: udp, xdp, several with commas, or all
    #[arg(long, default_value = "all", value_name = "LIST")]
    pub transport: Selection<Transport>,
    /// Slices of each transport
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slices: u32,
    /// Length of a slice, ms
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub slice_ms: u32,
    /// Requests under way
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    pub window: u32,
    /// The processors of the asking and the answering end
    #[arg(long, num_args = 2, value_names = ["ASKS", "ANSWERS"], default_values_t = [0, 1])]
    pub cpus: Vec<usize>,
    /// Run both ends with this SCHED_FIFO priority
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub fifo: Option<u8>,
}

/// What one slice came to.
#[derive(Debug, Clone, Copy)]
struct Slice {
    seconds: f64,
    asked: Asked,
    done: Done,
}

impl Slice {
    /// Exchanges a second.
    fn rate(&self) -> f64 {
        self.asked.answered as f64 / self.seconds
    }

    /// Exchanges a second of the answering thread's processor time; none if it had none.
    fn per_core(&self) -> Option<f64> {
        let seconds = self.done.cpu as f64 / 1e9;
        (seconds > 0.0).then(|| self.done.answered as f64 / seconds)
    }
}

/// What a transport came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which.
    pub transport: Transport,
    /// Exchanges in all slices.
    pub exchanges: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// Requests that the answering end refused.
    pub refused: u64,
    /// Answers of which no transmit stamp came.
    pub stamps_lost: u64,
    /// Exchanges a second, median of the slices.
    pub per_second: Option<f64>,
    /// Exchanges a second of processor time of the answering thread, median of the slices.
    pub per_core_second: Option<f64>,
    /// Packets a second at the answering end, both ways.
    pub packets_per_second: Option<f64>,
    /// Processor time of the answering thread in an exchange, ns, median of the slices.
    pub cpu_ns: Option<f64>,
    /// Exchanges answered at a time, on average.
    pub batch: f64,
    /// Exchanges a second of processor time against the first transport, paired by slice.
    pub ratio: Option<Ratio>,
}

/// One transport, open at both ends.
struct Lane {
    transport: Transport,
    asker: Asker,
    answerer: Answerer,
    slices: Vec<Slice>,
}

/// Measures until all slices are done or `stop` is set.
///
/// # Errors
/// No namespaces, no AF_XDP where it was asked for alone, or a socket fails.
pub fn run(options: &Options, stop: &AtomicBool) -> Result<Vec<Report>, PrecisionError> {
    let (near, far) = (Namespace::new()?, Namespace::new()?);
    let mut lanes = Vec::new();
    for &transport in &options.transport.items {
        match Lane::open(transport, &near, &far) {
            Ok(lane) => lanes.push(lane),
            Err(PrecisionError::Xdp(error)) if options.transport.all => {
                parisync::cli::complain(
                    "parisync-bench",
                    &format!("left out {}: {error}", transport.name()),
                );
            }
            Err(error) => return Err(error),
        }
    }
    let duration = Duration::from_millis(options.slice_ms.into());
    let [asks, answers] = [options.cpus[0], options.cpus[1]];
    let places = [asks, answers].map(|cpu| (Some(cpu), options.fifo));
    // Neighbours are found out and stamps turned on in a slice that does not count.
    for lane in &mut lanes {
        lane.slice(duration, options.window, places)?;
    }
    for _ in 0..options.slices {
        for lane in &mut lanes {
            let slice = lane.slice(duration, options.window, places)?;
            lane.slices.push(slice);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let first: Vec<Option<f64>> = lanes
        .first()
        .map(|lane| lane.slices.iter().map(Slice::per_core).collect())
        .unwrap_or_default();
    Ok(lanes
        .iter()
        .enumerate()
        .map(|(at, lane)| lane.report((at > 0).then_some(&first[..])))
        .collect())
}

impl Lane {
    fn open(
        transport: Transport,
        near: &Namespace,
        far: &Namespace,
    ) -> Result<Self, PrecisionError> {
        let (name, net) = match transport {
            Transport::Udp => ("udp0", 0),
            Transport::Xdp => ("xdp0", 1),
        };
        let addresses = [1, 2].map(|end| IpAddr::from(Ipv4Addr::new(198, 18, net, end)));
        near.join(far, name, addresses, 24)?;
        let open = |namespace: &Namespace, ip: IpAddr| {
            namespace.inside(|| -> Result<AnyTransport, PrecisionError> {
                let udp = UdpConfig {
                    // Under load nobody sleeps; without, nobody's time is counted.
                    wait: WaitMode::Block,
                    max_datagram: MAX_DATAGRAM,
                    tx_timeout_ms: TX_TIMEOUT_MS,
                    ..UdpConfig::new(SocketAddr::new(ip, 0))
                };
                Ok(match transport {
                    Transport::Udp => UdpTransport::open(&udp)?.into(),
                    Transport::Xdp => XdpTransport::open(&XdpConfig {
                        interface: Some(name.to_owned()),
                        frames: FRAMES,
                        ..XdpConfig::new(udp)
                    })?
                    .into(),
                })
            })?
        };
        let asking = open(near, addresses[0])?;
        let answering = open(far, addresses[1])?;
        let to = answering.local_addr();
        let (mine, theirs) = ends::meet(asking.local_addr(), to);
        Ok(Self {
            transport,
            asker: Asker::new(asking, mine, to),
            answerer: Answerer::new(answering, theirs),
            slices: Vec::new(),
        })
    }

    fn slice(
        &mut self,
        duration: Duration,
        window: u32,
        [asks, answers]: [(Option<usize>, Option<u8>); 2],
    ) -> Result<Slice, PrecisionError> {
        let over = AtomicBool::new(false);
        let Self {
            asker, answerer, ..
        } = self;
        std::thread::scope(|scope| {
            let over = &over;
            let answering = scope.spawn(move || -> Result<Done, PrecisionError> {
                schedule(answers.0, answers.1)?;
                answerer.run(over)
            });
            let asking = scope.spawn(move || -> Result<(Asked, f64), PrecisionError> {
                schedule(asks.0, asks.1)?;
                let start = Instant::now();
                let asked = asker.run(duration, window);
                Ok((asked?, start.elapsed().as_secs_f64()))
            });
            let asked = asking.join();
            over.store(true, Ordering::Relaxed);
            let done = answering.join();
            let (asked, seconds) = asked.unwrap_or_else(|p| std::panic::resume_unwind(p))?;
            let done = done.unwrap_or_else(|p| std::panic::resume_unwind(p))?;
            Ok(Slice {
                seconds,
                asked,
                done,
            })
        })
    }

    fn report(&self, first: Option<&[Option<f64>]>) -> Report {
        let all = |value: fn(&Slice) -> u64| self.slices.iter().map(value).sum::<u64>();
        let middle = |value: &dyn Fn(&Slice) -> Option<f64>| {
            median(self.slices.iter().filter_map(value).collect())
        };
        let per_core: Vec<Option<f64>> = self.slices.iter().map(Slice::per_core).collect();
        let per_second = middle(&|slice| Some(slice.rate()));
        let answered = all(|slice| slice.done.answered);
        Report {
            transport: self.transport,
            exchanges: all(|slice| slice.asked.answered),
            lost: all(|slice| slice.asked.lost),
            refused: all(|slice| slice.done.refused),
            stamps_lost: all(|slice| slice.done.stamps_lost),
            per_second,
            per_core_second: middle(&Slice::per_core),
            packets_per_second: per_second.map(|rate| 2.0 * rate),
            cpu_ns: middle(&|slice| slice.per_core().map(|rate| 1e9 / rate)),
            batch: answered as f64 / all(|slice| slice.done.batches).max(1) as f64,
            ratio: first.and_then(|first| paired(&per_core, first)),
        }
    }
}

/// A line for each transport.
pub fn table(reports: &[Report]) -> String {
    let heading = [
        "transport",
        "exchanges",
        "lost",
        "stamps lost",
        "exchanges/s",
        "packets/s",
        "per core·s",
        "cpu each",
        "batch",
        "times first (95 %)",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), fine);
    let count = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.0}"));
    rows.extend(reports.iter().map(|report| {
        vec![
            report.transport.name().to_owned(),
            report.exchanges.to_string(),
            report.lost.to_string(),
            report.stamps_lost.to_string(),
            count(report.per_second),
            count(report.packets_per_second),
            count(report.per_core_second),
            time(report.cpu_ns),
            format!("{:.1}", report.batch),
            match report.ratio {
                None => "–".to_owned(),
                Some(ratio) => match (ratio.low, ratio.high) {
                    (Some(low), Some(high)) => {
                        format!("{:.2} ({low:.2} – {high:.2})", ratio.median)
                    }
                    _ => format!("{:.2}", ratio.median),
                },
            },
        ]
    }));
    columns(&rows, &(1..heading.len()).collect::<Vec<usize>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_transports_answer_all_that_is_asked() {
        let options = Options {
            transport: "all".parse().unwrap(),
            slices: 2,
            slice_ms: 50,
            window: 16,
            cpus: vec![0, 0],
            fifo: None,
        };
        let reports = match run(&options, &AtomicBool::new(false)) {
            Ok(reports) => reports,
            Err(PrecisionError::Namespaces(error)) => return eprintln!("SKIPPED: {error}"),
            Err(error) => panic!("{error}"),
        };
        assert!(!reports.is_empty());
        for report in &reports {
            assert!(report.exchanges > 0, "{report:?}");
            assert_eq!((report.lost, report.refused), (0, 0), "{report:?}");
            assert!(report.cpu_ns > Some(0.0) && report.batch >= 1.0);
        }
        assert_eq!(reports[0].ratio, None);
        assert_eq!(table(&reports).lines().count(), reports.len() + 1);
    }
}
