//! A whole measurement: two ends, lanes in turns, until time is up or a stop is asked for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hwts::nic::{self, Abilities};
use hwts::transport::{UdpConfig, XdpConfig, XdpTransport, suitable};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use serde::Serialize;

use super::PrecisionError;
use super::ground::{End, Ground, pave};
use super::judge::{Judge, Truth};
use super::lane::{Lane, LeftOut, Transport};
use super::prober::{Pace, Prober};
use super::responder::Responder;
use super::score::{LaneReport, Score};
use crate::netns::Namespace;
use crate::progress::Progress;

/// What both ends of the pair of namespaces call it.
pub(super) const VETH: &str = "bench0";

/// Between what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// Two network namespaces of this host, joined by a veth pair.
    Namespaces,
    /// The loopback interface of this namespace.
    Loopback,
    /// Another host that runs `precision --serve`.
    Peer {
        /// Its control port.
        peer: SocketAddr,
        /// The address here; unspecified if the kernel may choose.
        local: IpAddr,
    },
}

impl Path {
    /// What errors are measured from.
    pub const fn truth(self) -> Truth {
        match self {
            Self::Namespaces | Self::Loopback => Truth::SameClock,
            Self::Peer { .. } => Truth::OwnMedian,
        }
    }
}

/// How to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Between what.
    pub path: Path,
    /// The interface for lanes by `AF_XDP` between hosts, if it is not that of the default route.
    pub interface: Option<String>,
    /// On which lanes.
    pub lanes: Vec<Lane>,
    /// Not to be had.
    pub left_out: Vec<LeftOut>,
    /// How long.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// Exchanges of a lane before it is the next one's turn.
    pub slice: u32,
    /// Exchanges before those that do not count.
    pub warm_up: u32,
    /// Between exchanges.
    #[serde(rename = "gap_s", serialize_with = "seconds")]
    pub gap: Duration,
    /// How long the mode `busy-poll` looks before it sleeps, µs.
    pub busy_poll_us: u32,
    /// The processors of the two ends; none to leave that to the kernel.
    pub cpus: Option<[usize; 2]>,
    /// `SCHED_FIFO` priority of both ends.
    pub fifo: Option<u8>,
    /// What the order of the lanes comes from.
    pub seed: u64,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// Each lane, in the order of the settings.
    pub scores: Vec<Score>,
    /// One point for each slice.
    pub slices: Vec<Point>,
    /// Rounds in which every lane had its turn.
    pub rounds: u32,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// One slice in the run of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Since the start, s.
    pub time_s: f64,
    /// Which lane.
    pub lane: Lane,
    /// Median error of its exchanges, ns.
    pub error_ns: f64,
}

impl Measured {
    /// The figures of each lane, the first being what others are compared with.
    pub fn reports(&self) -> Vec<LaneReport> {
        let first = self.scores.first();
        let reports = self.scores.iter().zip(first.into_iter().cycle());
        reports.map(|(score, first)| score.report(first)).collect()
    }
}

/// Sets a flag when dropped, so that the other end stops however this one ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Measures until the time is up, or `stop` is set: then with what there is.
///
/// # Errors
/// See [`PrecisionError`].
pub fn measure(
    settings: &Settings,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Measured, PrecisionError> {
    let [near, far] = settings.cpus.map_or([None; 2], |cpus| cpus.map(Some));
    let ask = |local: IpAddr, peer: SocketAddr, ground: Ground| {
        schedule(near, settings.fifo)?;
        let prober = Prober::new(SocketAddr::new(local, 0), peer, session(), ground)?;
        turns(prober, settings, stop, progress)
    };
    if let Path::Peer { peer, local } = settings.path {
        let interface = settings.interface.clone();
        return apart(|| ask(local, peer, Ground::Shared { interface }));
    }
    let pair = match settings.path {
        Path::Namespaces => Some(joined()?),
        Path::Loopback | Path::Peer { .. } => None,
    };
    let addresses = match pair {
        Some((_, _, addresses)) => addresses,
        None => [Ipv4Addr::LOCALHOST.into(); 2],
    };
    let grounds = match &pair {
        Some((near, far, _)) => {
            pave(&settings.lanes, near, far)?;
            [Ground::Own(End::Near), Ground::Own(End::Far)]
        }
        None => [Ground::ANY; 2],
    };
    let [near_ground, far_ground] = grounds;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (bound, port) = std::sync::mpsc::channel();
        let (pair, done) = (&pair, &done);
        let answering = scope.spawn(move || -> Result<(), PrecisionError> {
            if let Some((_, far, _)) = pair {
                far.enter()?;
            }
            schedule(far, settings.fifo)?;
            let local = SocketAddr::new(addresses[1], 0);
            let mut responder = Responder::bind(local, far_ground)?;
            // Whoever waits for it may have failed meanwhile.
            let _ = bound.send(responder.local_addr());
            responder.run(done)
        });
        let measured = port.recv().ok().map(|peer| {
            let asking = scope.spawn(move || {
                let _done = Done(done);
                if let Some((near, _, _)) = pair {
                    near.enter()?;
                }
                ask(addresses[0], peer, near_ground)
            });
            asking.join()
        });
        done.store(true, Ordering::Relaxed);
        let answered = answering
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match measured {
            Some(Ok(measured)) => answered.and(measured),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            // It ended before it listened.
            None => Err(answered
                .err()
                .unwrap_or(PrecisionError::Silent(SocketAddr::new(addresses[1], 0)))),
        }
    })
}

/// On a thread of its own, since scheduling stays with a thread.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Two namespaces and their addresses (of TEST-NET-1, RFC 5737: they lead nowhere else).
pub(super) fn joined() -> Result<(Namespace, Namespace, [IpAddr; 2]), PrecisionError> {
    let (near, far) = (Namespace::new()?, Namespace::new()?);
    let addresses = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)].map(IpAddr::V4);
    near.join(&far, VETH, addresses, 24)?;
    Ok((near, far, addresses))
}

/// Why packets between two namespaces have no hardware stamps: the driver is asked, as for any
/// other interface.
pub fn no_hardware_between_namespaces(transport: Transport) -> Option<String> {
    let asked =
        joined().and_then(|(near, _, _)| Ok(near.inside(|| no_hardware_on(VETH, transport))?));
    asked.unwrap_or_else(|error| Some(error.to_string()))
}

/// Why there is no AF_XDP between two namespaces; none if there is.
pub fn no_xdp_between_namespaces() -> Option<String> {
    let local = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let tried = joined().and_then(|(near, _, _)| {
        let opened = near.inside(|| {
            XdpTransport::open(&XdpConfig {
                interface: Some(VETH.to_owned()),
                ..XdpConfig::new(UdpConfig::new(local))
            })
        })?;
        Ok(opened.map(drop)?)
    });
    tried.err().map(|error| error.to_string())
}

/// Why there are no hardware stamps on an interface; none if there are.
pub fn no_hardware_on(interface: &str, transport: Transport) -> Option<String> {
    let abilities = match nic_under(interface) {
        Ok(abilities) => abilities,
        Err(error) => return Some(format!("cannot ask the driver of {interface}: {error}")),
    };
    if let Some(reason) = abilities.no_hardware() {
        return Some(format!("{interface}: {reason}"));
    }
    match transport {
        Transport::Udp => None,
        Transport::Xdp => suitable(Some(interface))
            .err()
            .map(|error| error.to_string()),
    }
}

/// What the device under `interface` can stamp.
fn nic_under(interface: &str) -> io::Result<Abilities> {
    let links = hwts::netlink::links()?;
    let found = links.iter().find(|link| link.name == interface);
    let device = found.and_then(|link| nic::physical(&links, link.index).ok());
    nic::abilities(device.map_or(interface, |link| &link.name))
}

/// Puts the calling thread where it is to run.
pub(crate) fn schedule(cpu: Option<usize>, fifo: Option<u8>) -> Result<(), PrecisionError> {
    if let Some(cpu) = cpu {
        hwts::sched::pin_to_cpu(cpu)?;
    }
    if let Some(priority) = fifo {
        hwts::sched::set_fifo(priority)?;
    }
    Ok(())
}

/// A number no other measurement has: standard hash maps are seeded by the system's randomness.
fn session() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Gives every lane its turn, round by round.
fn turns(
    mut prober: Prober,
    settings: &Settings,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Measured, PrecisionError> {
    let truth = settings.path.truth();
    let pace = Pace {
        exchanges: settings.slice,
        warm_up: settings.warm_up,
        gap: settings.gap,
        busy_poll: settings.busy_poll_us,
    };
    // The kernel turns stamps on in the background when the first socket asks for them.
    for &lane in &settings.lanes {
        prober.slice(lane, &pace)?;
    }
    let new = |&lane| (Judge::new(truth), Score::new(lane, truth));
    let mut lanes: Vec<(Judge, Score)> = settings.lanes.iter().map(new).collect();
    let mut points = Vec::new();
    let mut order: Vec<usize> = (0..lanes.len()).collect();
    let mut random = Pcg64::seed_from_u64(settings.seed);
    let (start, mut round) = (Instant::now(), 0);
    let mut origin = None;
    let mut interrupted = false;
    while start.elapsed() < settings.duration && !interrupted {
        order.shuffle(&mut random);
        for &at in &order {
            interrupted |= stop.load(Ordering::Relaxed);
            if interrupted {
                break;
            }
            let slice = prober.slice(settings.lanes[at], &pace)?;
            let (judge, score) = &mut lanes[at];
            score.count(&slice);
            let origin = *origin.get_or_insert_with(|| slice.exchanges.first().map(|e| e.back));
            judge.push(round, slice, |round, slice, line| {
                score.add(round, slice, line);
                points.extend(Point::of(score.lane(), slice, line, origin));
            });
        }
        round += u32::from(!interrupted);
        progress.set(start.elapsed().min(settings.duration).as_secs());
    }
    for (judge, score) in &mut lanes {
        judge.finish(|round, slice, line| {
            score.add(round, slice, line);
            points.extend(Point::of(score.lane(), slice, line, origin.flatten()));
        });
    }
    // Lanes are judged with more or less delay.
    points.sort_by(|a, b| a.time_s.total_cmp(&b.time_s));
    Ok(Measured {
        scores: lanes.into_iter().map(|(_, score)| score).collect(),
        slices: points,
        rounds: round,
        interrupted,
    })
}

impl Point {
    fn of(
        lane: Lane,
        slice: &super::prober::Slice,
        line: super::judge::Line,
        origin: Option<i64>,
    ) -> Option<Self> {
        let errors = slice
            .exchanges
            .iter()
            .map(|e| e.offset() - line.offset(e.back));
        Some(Self {
            time_s: (slice.exchanges.first()?.back - origin?) as f64 / 1e9,
            lane,
            error_ns: super::judge::median(errors.collect())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::lane::{Mode, Stamps};

    fn settings(path: Path, duration: Duration) -> Settings {
        let lane = |stamps, mode| Lane {
            transport: Transport::Udp,
            stamps,
            mode,
        };
        Settings {
            path,
            interface: None,
            lanes: vec![
                lane(Stamps::Kernel, Mode::Block),
                lane(Stamps::User, Mode::BusyPoll),
            ],
            left_out: Vec::new(),
            duration,
            slice: 16,
            warm_up: 2,
            gap: Duration::from_micros(50),
            busy_poll_us: 20,
            cpus: None,
            fifo: None,
            seed: 1,
        }
    }

    fn check(measured: &Measured) {
        assert!(measured.rounds > 0);
        for report in measured.reports() {
            let counts = report.counts;
            let accounted = counts.exchanges + counts.lost_packets + counts.lost_stamps;
            assert_eq!(accounted + counts.wrong_source, counts.probes, "{report:?}");
            assert!(counts.exchanges > counts.probes / 2, "{report:?}");
            assert!(report.sigma_ns.is_some() && report.cpu_ns > Some(0.0));
            assert_eq!(report.wake.is_some(), report.lane.stamps == Stamps::Kernel);
        }
        let [first, second] = &measured.reports()[..] else {
            panic!()
        };
        assert!(first.ratio.is_none() && second.ratio.is_some());
        assert!(measured.slices.len() >= 2 * measured.rounds as usize - 2);
        assert!(measured.slices.is_sorted_by(|a, b| a.time_s <= b.time_s));
    }

    #[test]
    fn loopback_is_measured_by_both_kinds_of_stamps() {
        let settings = settings(Path::Loopback, Duration::from_millis(300));
        let measured = measure(&settings, &AtomicBool::new(false), &Progress::hidden()).unwrap();
        check(&measured);
        assert!(!measured.interrupted);
    }

    #[test]
    fn between_namespaces_too() {
        let settings = settings(Path::Namespaces, Duration::from_millis(300));
        match measure(&settings, &AtomicBool::new(false), &Progress::hidden()) {
            Ok(measured) => check(&measured),
            Err(PrecisionError::Namespaces(error)) => eprintln!("SKIPPED: {error}"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_peer_is_measured_against_its_own_median() {
        let mut responder = Responder::bind("127.0.0.1:0".parse().unwrap(), Ground::ANY).unwrap();
        let peer = responder.local_addr();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let answering = scope.spawn(|| responder.run(&done));
            let local = Ipv4Addr::UNSPECIFIED.into();
            let settings = settings(Path::Peer { peer, local }, Duration::from_millis(300));
            let measured = measure(&settings, &AtomicBool::new(false), &Progress::hidden());
            done.store(true, Ordering::Relaxed);
            answering.join().unwrap().unwrap();
            let measured = measured.unwrap();
            check(&measured);
            let report = &measured.reports()[0];
            assert_eq!((report.truth, report.bias_ns), (Truth::OwnMedian, None));
        });
    }

    #[test]
    fn a_stop_keeps_what_there_is() {
        let settings = settings(Path::Loopback, Duration::from_secs(3_600));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let measuring = scope.spawn(|| measure(&settings, &stop, &Progress::hidden()));
            std::thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
            let measured = measuring.join().unwrap().unwrap();
            assert!(measured.interrupted);
        });
    }

    #[test]
    fn nobody_there_is_an_error_that_says_what_to_run() {
        let gone = Responder::bind("127.0.0.1:0".parse().unwrap(), Ground::ANY).unwrap();
        let peer = gone.local_addr();
        drop(gone);
        let local = Ipv4Addr::UNSPECIFIED.into();
        let settings = settings(Path::Peer { peer, local }, Duration::from_secs(1));
        let error = measure(&settings, &AtomicBool::new(false), &Progress::hidden()).unwrap_err();
        assert!(error.to_string().contains("precision --serve"), "{error}");
    }
}
