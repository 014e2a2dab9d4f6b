//! `parisync-bench precision`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Args;
use nix::ifaddrs::getifaddrs;
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use parisync::cli::{CliError, complain, print};
use parisync::config::DurationText;
use serde::Serialize;

use super::BenchError;
use crate::address::resolve;
use crate::interrupt::interruptible;
use crate::output::{Format, csv};
use crate::precision::ground::Ground;
use crate::precision::lane::{LeftOut, Mode, Plan, Selection, Stamps, Transport};
use crate::precision::responder::Responder;
use crate::precision::score::LaneReport;
use crate::precision::{
    Measured, PORT, Path, Settings, measure, no_hardware_between_namespaces, no_hardware_on,
    no_xdp_between_namespaces, table,
};
use crate::progress::Progress;
use crate::run::{Run, Sample};

/// What to measure.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Measure with another host, which runs `precision --serve`
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "serve")]
    peer: Option<String>,
    /// Answer another host's measurements until stopped; for networks you trust
    #[arg(long)]
    serve: bool,
    /// The network interface to use with --peer or --serve, instead of any
    #[arg(long, value_name = "NAME")]
    iface: Option<String>,
    /// Where --serve listens
    #[arg(long, default_value_t = PORT, requires = "serve")]
    port: u16,
    /// Measure over this namespace's loopback interface: needs no root, says less
    #[arg(long, conflicts_with_all = ["peer", "serve", "iface"])]
    loopback: bool,
    /// Transports: udp, xdp, several with commas, or all
    #[arg(long, default_value = "udp", value_name = "LIST")]
    transport: Selection<Transport>,
    /// Where packets are stamped: kernel, user, hardware, several with commas, or all
    #[arg(long, default_value = "all", value_name = "LIST")]
    stamps: Selection<Stamps>,
    /// How packets are waited for: block, busy-poll, spin, several with commas, or all
    #[arg(long, default_value = "all", value_name = "LIST")]
    mode: Selection<Mode>,
    /// How long to measure
    #[arg(long, default_value = "30", value_parser = DurationText::parse_or_seconds)]
    seconds: DurationText,
    /// Time between two exchanges
    #[arg(long, default_value = "200us")]
    gap: DurationText,
    /// Exchanges on one lane before the next has its turn
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=10_000))]
    slice: u32,
    /// How long busy-poll looks before it sleeps, µs
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    busy_poll: u32,
    /// Processors of the two ends, as in 0,1; or `any`. By default the first two
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    cpus: Option<Cpus>,
    /// Run both ends with this SCHED_FIFO priority
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(1..=99))]
    fifo: Option<u8>,
    /// What the order of the lanes comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the run in this folder, with all distributions
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Where the two ends run.
#[derive(Debug, Clone, Copy)]
enum Cpus {
    Any,
    Pair([usize; 2]),
}

fn cpus(text: &str) -> Result<Cpus, String> {
    if text == "any" {
        return Ok(Cpus::Any);
    }
    let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    match numbers.as_deref() {
        Ok([near, far]) => Ok(Cpus::Pair([*near, *far])),
        _ => Err("name two processors, as in 0,1, or `any`".to_owned()),
    }
}

/// Warm-up exchanges of each slice.
const WARM_UP: u32 = 4;

/// What is printed and kept of a measurement.
#[derive(Debug, Serialize)]
struct Outcome {
    path: Path,
    interrupted: bool,
    rounds: u32,
    lanes: Vec<LaneReport>,
    left_out: Vec<LeftOut>,
}

/// Measures and prints, or answers.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    if options.serve {
        return serve(options);
    }
    let settings = settings(options)?;
    let mut folder = match &options.out {
        Some(dir) => Some(Run::create(
            dir,
            "precision",
            &settings,
            Some(settings.seed),
        )?),
        None => None,
    };
    for LeftOut { what, reason } in &settings.left_out {
        complain("parisync-bench", &format!("left out {what}: {reason}"));
    }
    let measured = interruptible(|stop| {
        let progress = Progress::new("precision", settings.duration.as_secs());
        let measured = measure(&settings, stop, &progress);
        progress.finish();
        measured
    })??;
    let result = Outcome {
        path: settings.path,
        interrupted: measured.interrupted,
        rounds: measured.rounds,
        lanes: measured.reports(),
        left_out: settings.left_out.clone(),
    };
    if let Some(run) = &mut folder {
        keep(run, &measured, &result)?;
    }
    let text = match format {
        Format::Text => table(&result.lanes),
        Format::Json => {
            serde_json::to_string(&result).map_err(|e| CliError::Output(e.into()))? + "\n"
        }
        Format::Csv => csv(&result.lanes).map_err(CliError::Output)?,
    };
    Ok(print(&text)?)
}

fn keep(run: &mut Run, measured: &Measured, result: &Outcome) -> Result<(), BenchError> {
    let mut series = run.series("slices")?;
    for point in &measured.slices {
        series.push(&Sample {
            time_s: point.time_s,
            subject: point.lane.to_string(),
            error_ns: point.error_ns,
            guaranteed_ns: None,
            statistical_ns: None,
        })?;
    }
    series.finish()?;
    for score in &measured.scores {
        for (name, values) in score.histograms() {
            run.histogram(&format!("{}-{name}", score.lane().slug()), values)?;
        }
    }
    run.table("lanes", &result.lanes)?;
    Ok(run.summary(result)?)
}

fn serve(options: &Options) -> Result<(), BenchError> {
    let ip = match &options.iface {
        Some(name) => address_of(name, None)?,
        None => Ipv6Addr::UNSPECIFIED.into(),
    };
    let served = interruptible(|stop: &AtomicBool| {
        let ground = Ground::Shared {
            interface: options.iface.clone(),
        };
        let mut responder = Responder::bind(SocketAddr::new(ip, options.port), ground)?;
        complain(
            "parisync-bench",
            &format!("answering on {}; Ctrl-C ends it", responder.local_addr()),
        );
        responder.run(stop)
    });
    Ok(served??)
}

fn settings(options: &Options) -> Result<Settings, BenchError> {
    let path = path(options)?;
    let plan = Plan::new(
        &options.transport,
        &options.stamps,
        &options.mode,
        |transport| match path {
            Path::Namespaces => no_hardware_between_namespaces(transport),
            Path::Loopback => no_hardware_on("lo", transport),
            Path::Peer { peer, local } => match interface_towards(peer, local) {
                Some(name) => no_hardware_on(&name, transport),
                None => Some(format!("no network interface leads to {peer}")),
            },
        },
        || match path {
            Path::Namespaces => no_xdp_between_namespaces(),
            Path::Loopback => Some("lo is no Ethernet interface".to_owned()),
            // What is missing shows when it is opened.
            Path::Peer { .. } => None,
        },
    )?;
    Ok(Settings {
        path,
        interface: options.iface.clone(),
        lanes: plan.lanes,
        left_out: plan.left_out,
        duration: options.seconds.span().to_duration(),
        slice: options.slice,
        warm_up: WARM_UP,
        gap: options.gap.span().to_duration(),
        busy_poll_us: options.busy_poll,
        cpus: match options.cpus {
            Some(Cpus::Pair(pair)) => Some(pair),
            Some(Cpus::Any) => None,
            None => first_two(),
        },
        fifo: options.fifo,
        seed: options.seed,
    })
}

fn path(options: &Options) -> Result<Path, BenchError> {
    let Some(peer) = &options.peer else {
        if options.iface.is_some() {
            return Err(BenchError::Usage(
                "--iface goes with --peer or --serve; without them the measurement makes a pair of interfaces of its own".to_owned(),
            ));
        }
        return Ok(if options.loopback {
            Path::Loopback
        } else {
            Path::Namespaces
        });
    };
    let peer = resolve(peer, PORT)
        .map_err(|error| BenchError::Usage(format!("cannot find {peer}: {error}")))?;
    let local = match &options.iface {
        Some(name) => address_of(name, Some(peer))?,
        None if peer.is_ipv4() => std::net::Ipv4Addr::UNSPECIFIED.into(),
        None => Ipv6Addr::UNSPECIFIED.into(),
    };
    Ok(Path::Peer { peer, local })
}

/// The address of an interface, of the family of `like` if that matters.
fn address_of(interface: &str, like: Option<SocketAddr>) -> Result<IpAddr, BenchError> {
    let found = interfaces()
        .filter(|(name, _)| name == interface)
        .map(|(_, ip)| ip)
        .find(|ip| like.is_none_or(|like| like.is_ipv4() == ip.is_ipv4()));
    found.ok_or_else(|| {
        BenchError::Usage(format!(
            "no interface {interface} with a suitable address; see `ip address`"
        ))
    })
}

/// The interface whose address packets to `peer` begin with.
fn interface_towards(peer: SocketAddr, local: IpAddr) -> Option<String> {
    let probe = std::net::UdpSocket::bind(SocketAddr::new(local, 0)).ok()?;
    // Connecting a datagram socket sends nothing.
    probe.connect(peer).ok()?;
    let from = probe.local_addr().ok()?.ip();
    interfaces()
        .find(|(_, ip)| *ip == from)
        .map(|(name, _)| name)
}

fn interfaces() -> impl Iterator<Item = (String, IpAddr)> {
    getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => v4.ip().into(),
            (None, Some(v6)) => v6.ip().into(),
            (None, None) => return None,
        };
        Some((interface.interface_name, ip))
    })
}

/// The first two processors this process may run on; none if it has but one.
fn first_two() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut numbers =
        (0..nix::sched::CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    Some([numbers.next()?, numbers.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_a_pair_or_any() {
        assert!(matches!(cpus("any"), Ok(Cpus::Any)));
        assert!(matches!(cpus("3,0"), Ok(Cpus::Pair([3, 0]))));
        for bad in ["1", "1,2,3", "a,b", ""] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_way_to_an_address_begins_at_an_interface() {
        let loopback = "127.0.0.1:9".parse().unwrap();
        let any = std::net::Ipv4Addr::UNSPECIFIED.into();
        assert_eq!(interface_towards(loopback, any).as_deref(), Some("lo"));
        assert_eq!(address_of("lo", Some(loopback)).unwrap(), loopback.ip());
        assert!(address_of("nosuchdevice0", None).is_err());
    }
}
