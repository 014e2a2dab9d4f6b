//! Asking all sources at every tick.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hwts::Domain;
use serde::Serialize;

use super::source::{Reading, Source, Trouble};
use super::statistics::History;

/// How often a stop is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// The part of a tick after which those that have not answered are late.
const LATE: f64 = 0.8;

/// A source and how often it is asked.
pub struct Watched {
    /// Whom to ask.
    pub source: Box<dyn Source>,
    /// Once in so many ticks.
    pub every: u32,
}

/// A reading as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observed {
    /// What the source says.
    #[serde(flatten)]
    pub reading: Reading,
    /// How old that is, s.
    pub age_s: f64,
}

/// Two sources beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// One source.
    pub of: String,
    /// Another.
    pub to: String,
    /// The one minus the other, ns.
    pub difference_ns: f64,
    /// The sum of their guaranteed bounds, ns; none if one has none.
    pub bound_ns: Option<f64>,
    /// They cannot both be right: the difference is larger than their bounds together.
    pub contradicts: bool,
}

/// What is known at one tick.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Since the start, s.
    pub time_s: f64,
    /// The system clock, ns since 1970 UTC.
    pub system_ns: i64,
    /// What the sources say.
    pub sources: Vec<Observed>,
    /// Each pair of them.
    pub differences: Vec<Difference>,
    /// Those that say nothing, and why.
    pub troubles: Vec<Trouble>,
}

/// The watcher's end of a source's thread.
struct Line {
    every: u32,
    /// None once the source wants to be left alone.
    ask: Option<Sender<()>>,
    /// It has been asked and has not answered yet.
    busy: bool,
    latest: Result<Vec<Reading>, Trouble>,
}

/// Answers of all sources, by number.
type Answers = Receiver<(usize, Result<Vec<Reading>, Trouble>)>;

/// Asks all sources at every tick until `duration` has passed or `stop` is set; hands each
/// [`Snapshot`] to `sink`. Returns what was read, source by source.
///
/// # Errors
/// Those of `sink`, which end it.
pub fn watch<E: Send>(
    sources: Vec<Watched>,
    tick: Duration,
    duration: Option<Duration>,
    stop: &AtomicBool,
    mut sink: impl FnMut(&Snapshot) -> Result<(), E>,
) -> Result<Vec<History>, E> {
    std::thread::scope(|scope| {
        let (tell, answers) = channel();
        let start = |(number, watched): (usize, Watched)| {
            let Watched { mut source, every } = watched;
            let (ask, asked) = channel::<()>();
            let tell = tell.clone();
            let trouble = Trouble {
                source: source.name().to_owned(),
                what: "no answer yet".to_owned(),
                forever: false,
            };
            scope.spawn(move || {
                while asked.recv().is_ok() {
                    // The watcher may be gone meanwhile.
                    let _ = tell.send((number, source.read()));
                }
            });
            Line {
                every: every.max(1),
                ask: Some(ask),
                busy: false,
                latest: Err(trouble),
            }
        };
        let mut lines: Vec<Line> = sources.into_iter().enumerate().map(start).collect();
        let mut histories: Vec<History> = Vec::new();
        let (origin, raw_origin) = (Instant::now(), Domain::MonotonicRaw.now());
        for number in 0_u32.. {
            let begin = tick * number;
            let ended = |at: Duration| duration.is_some_and(|end| at >= end);
            if ended(begin) || !wait_until(origin + begin, stop) {
                break;
            }
            ask_all(&mut lines, number);
            let late = Instant::now() + tick.mul_f64(LATE);
            collect(&mut lines, &answers, late, stop, |place, reading| {
                let time = (reading.at - raw_origin) as f64 / 1e9;
                History::find(&mut histories, place, &reading.source).push(time, reading);
            });
            if stop.load(Ordering::Relaxed) {
                break;
            }
            sink(&snapshot(&lines, origin.elapsed()))?;
        }
        // The threads end when nobody can ask them any more.
        drop(lines);
        histories.sort_by_key(|history| history.place);
        Ok(histories)
    })
}

/// False if a stop came first.
fn wait_until(instant: Instant, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = instant.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

fn ask_all(lines: &mut [Line], number: u32) {
    for line in lines {
        if line.busy || !number.is_multiple_of(line.every) {
            continue;
        }
        line.busy = line.ask.as_ref().is_some_and(|ask| ask.send(()).is_ok());
    }
}

/// Takes answers until all that were asked have answered, or it is late.
fn collect(
    lines: &mut [Line],
    answers: &Answers,
    late: Instant,
    stop: &AtomicBool,
    mut each: impl FnMut(usize, &Reading),
) {
    while lines.iter().any(|line| line.busy) && !stop.load(Ordering::Relaxed) {
        let left = late.saturating_duration_since(Instant::now());
        match answers.recv_timeout(left.min(LOOK)) {
            Ok((number, answer)) => {
                if let Ok(readings) = &answer {
                    readings.iter().for_each(|reading| each(number, reading));
                }
                let Some(line) = lines.get_mut(number) else {
                    continue;
                };
                line.busy = false;
                if answer.as_ref().is_err_and(|trouble| trouble.forever) {
                    line.ask = None;
                }
                line.latest = answer;
            }
            Err(RecvTimeoutError::Timeout) if left.is_zero() => break,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
}

fn snapshot(lines: &[Line], since_start: Duration) -> Snapshot {
    let now = Domain::MonotonicRaw.now();
    let readings = lines.iter().filter_map(|line| line.latest.as_ref().ok());
    let sources: Vec<Observed> = readings
        .flatten()
        .map(|reading| Observed {
            reading: reading.clone(),
            age_s: (now - reading.at) as f64 / 1e9,
        })
        .collect();
    let troubles = lines.iter().filter_map(|line| line.latest.as_ref().err());
    Snapshot {
        time_s: since_start.as_secs_f64(),
        system_ns: Domain::Realtime.now(),
        differences: differences(&sources),
        sources,
        troubles: troubles.cloned().collect(),
    }
}

/// Every pair once.
fn differences(sources: &[Observed]) -> Vec<Difference> {
    let mut pairs = Vec::new();
    for (k, Observed { reading: to, .. }) in sources.iter().enumerate() {
        for Observed { reading: of, .. } in &sources[k + 1..] {
            let difference = of.offset_ns - to.offset_ns;
            let bound = of.guaranteed_ns.zip(to.guaranteed_ns).map(|(a, b)| a + b);
            pairs.push(Difference {
                of: of.source.clone(),
                to: to.source.clone(),
                difference_ns: difference,
                bound_ns: bound,
                contradicts: bound.is_some_and(|bound| difference.abs() > bound),
            });
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as it was told, one after the other.
    struct Script {
        name: &'static str,
        answers: Vec<Result<f64, bool>>,
    }

    impl Source for Script {
        fn name(&self) -> &str {
            self.name
        }

        fn read(&mut self) -> Result<Vec<Reading>, Trouble> {
            let answer = match self.answers.len() {
                0 => panic!("asked too often"),
                1 => self.answers[0],
                _ => self.answers.remove(0),
            };
            match answer {
                Ok(offset_ns) => Ok(vec![Reading {
                    source: self.name.to_owned(),
                    offset_ns,
                    guaranteed_ns: Some(10.0),
                    statistical_ns: None,
                    detail: String::new(),
                    at: Domain::MonotonicRaw.now(),
                }]),
                Err(forever) => Err(Trouble {
                    source: self.name.to_owned(),
                    what: "gone".to_owned(),
                    forever,
                }),
            }
        }
    }

    fn watched(name: &'static str, every: u32, answers: &[Result<f64, bool>]) -> Watched {
        let answers = answers.to_vec();
        Watched {
            source: Box::new(Script { name, answers }),
            every,
        }
    }

    fn run(sources: Vec<Watched>, ticks: u32) -> (Vec<Snapshot>, Vec<History>) {
        let mut seen = Vec::new();
        let tick = Duration::from_millis(300);
        let stop = AtomicBool::new(false);
        let histories = watch(sources, tick, Some(tick * ticks), &stop, |snapshot| {
            seen.push(snapshot.clone());
            Ok::<(), ()>(())
        });
        (seen, histories.unwrap())
    }

    #[test]
    fn sources_are_compared_in_pairs_and_one_that_dies_is_named() {
        let sources = vec![
            watched("a", 1, &[Ok(100.0)]),
            watched("b", 1, &[Ok(115.0), Ok(130.0), Err(false)]),
        ];
        let (seen, histories) = run(sources, 4);
        assert_eq!(seen.len(), 4);
        let pair = |k: usize| {
            let [pair] = &seen[k].differences[..] else {
                panic!("{:?}", seen[k])
            };
            (pair.difference_ns, pair.bound_ns, pair.contradicts)
        };
        assert_eq!(pair(0), (15.0, Some(20.0), false));
        assert_eq!(pair(1), (30.0, Some(20.0), true));
        for snapshot in &seen[2..] {
            assert_eq!((snapshot.sources.len(), snapshot.troubles.len()), (1, 1));
            assert_eq!(snapshot.troubles[0].source, "b");
        }
        assert_eq!((histories[0].len(), histories[1].len()), (4, 2));
    }

    #[test]
    fn some_are_asked_less_often_and_those_that_refuse_never_again() {
        let sources = vec![
            watched("rare", 3, &[Ok(1.0), Ok(2.0)]),
            // It would panic if it were asked a second time.
            watched("refuses", 1, &[Err(true)]),
        ];
        let (seen, histories) = run(sources, 4);
        assert_eq!(histories.len(), 1);
        assert_eq!(histories[0].len(), 2);
        let offsets: Vec<f64> = seen
            .iter()
            .map(|s| s.sources[0].reading.offset_ns)
            .collect();
        assert_eq!(offsets, [1.0, 1.0, 1.0, 2.0]);
        assert!(seen[2].sources[0].age_s > seen[1].sources[0].age_s);
        assert!(seen.iter().all(|s| s.troubles.len() == 1));
    }

    #[test]
    fn a_stop_ends_it_and_so_does_a_sink_that_has_enough() {
        let stop = AtomicBool::new(true);
        let sources = vec![watched("a", 1, &[Ok(1.0)])];
        let tick = Duration::from_secs(3_600);
        let histories = watch(sources, tick, None, &stop, |_| Ok::<(), ()>(())).unwrap();
        assert!(histories.is_empty());
        stop.store(false, Ordering::Relaxed);
        let sources = vec![watched("a", 1, &[Ok(1.0)])];
        assert_eq!(
            watch(sources, tick, None, &stop, |_| Err("full")),
            Err("full")
        );
    }
}
