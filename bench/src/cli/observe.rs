//! `parisync-bench observe`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use parisync::cli::{CliError, print};
use parisync::config::{Config, DurationText, SYSTEM_SOCKET};
use serde::Serialize;

use super::BenchError;
use crate::interrupt::interruptible;
use crate::observe::chrony::ChronySource;
use crate::observe::ntp::NtpSource;
use crate::observe::parisync::ParisyncSource;
use crate::observe::phc::PhcSource;
use crate::observe::{
    History, Snapshot, SourceStatistics, Watched, differences_table, statistics_table, table, watch,
};
use crate::output::{Format, csv};
use crate::run::{Run, Sample, SeriesWriter};

/// Whom to ask, and how often.
#[derive(Debug, Args, Serialize)]
pub(super) struct Options {
    /// NTP servers, as HOST or HOST:PORT
    #[arg(long, value_name = "HOST", num_args = 1..)]
    ntp: Vec<String>,
    /// Clocks of network cards, such as /dev/ptp0
    #[arg(long, value_name = "DEVICE", num_args = 1..)]
    phc: Vec<String>,
    /// The chronyd of this host, and the sources it has
    #[arg(long)]
    chrony: bool,
    /// The PariSync daemon of this host
    #[arg(long)]
    parisync: bool,
    /// The daemon's control socket, if not the usual one
    #[arg(long, value_name = "PATH", requires = "parisync")]
    socket: Option<PathBuf>,
    /// The program that asks chronyd
    #[arg(long, value_name = "PROGRAM", default_value = "chronyc")]
    chronyc: PathBuf,
    /// Where chronyd is, as for `chronyc -h`
    #[arg(long, value_name = "ADDRESS", requires = "chrony")]
    chrony_host: Option<String>,
    /// Time between two lines
    #[arg(long, default_value = "1s", value_parser = DurationText::parse_or_seconds)]
    interval: DurationText,
    /// Time between two questions to an NTP server: be kind to those that are not yours
    #[arg(long, default_value = "16s", value_parser = DurationText::parse_or_seconds)]
    ntp_interval: DurationText,
    /// How long to watch; until stopped if not given
    #[arg(long, value_parser = DurationText::parse_or_seconds)]
    seconds: Option<DurationText>,
    /// Keep the run in this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The shortest interval: sources are asked within it.
const SHORTEST: Duration = Duration::from_millis(50);

/// One line of CSV.
#[derive(Serialize)]
struct Row<'a> {
    time_s: f64,
    system_ns: i64,
    source: &'a str,
    offset_ns: Option<f64>,
    guaranteed_ns: Option<f64>,
    statistical_ns: Option<f64>,
    age_s: Option<f64>,
    detail: &'a str,
}

/// The last line of JSON.
#[derive(Serialize)]
struct Last<'a> {
    statistics: &'a [SourceStatistics],
}

/// Watches and prints.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let interval = options.interval.span().to_duration();
    if interval < SHORTEST {
        return Err(BenchError::Usage(format!(
            "--interval is too short; {} ms at least",
            SHORTEST.as_millis()
        )));
    }
    let sources = sources(options, interval);
    if sources.is_empty() {
        return Err(BenchError::Usage(
            "nothing to observe: name some of --ntp HOST, --phc DEVICE, --chrony, --parisync"
                .to_owned(),
        ));
    }
    let mut folder = match &options.out {
        Some(dir) => Some(Run::create(dir, "observe", options, None)?),
        None => None,
    };
    let mut series = match &mut folder {
        Some(run) => Some(run.series("offsets")?),
        None => None,
    };
    let duration = options.seconds.map(|text| text.span().to_duration());
    let mut first = true;
    let watched = interruptible(|stop| {
        watch(sources, interval, duration, stop, |snapshot| {
            if let Some(series) = &mut series {
                keep(series, snapshot, interval)?;
            }
            let text = show(format, snapshot, first)?;
            first = false;
            Ok::<(), BenchError>(print(&text)?)
        })
    });
    let histories = watched??;
    let statistics: Vec<_> = histories.iter().filter_map(History::statistics).collect();
    if let Some(series) = series {
        series.finish()?;
    }
    if let Some(run) = &mut folder {
        run.table("sources", &statistics)?;
        run.summary(&Last {
            statistics: &statistics,
        })?;
    }
    match format {
        Format::Text => print(&format!("\n{}", statistics_table(&statistics)))?,
        Format::Json => print(&json(&Last {
            statistics: &statistics,
        })?)?,
        // Another table would not fit under this one; the run folder has it.
        Format::Csv => {}
    }
    if histories.is_empty() {
        return Err(BenchError::Nothing);
    }
    Ok(())
}

fn sources(options: &Options, interval: Duration) -> Vec<Watched> {
    let mut all: Vec<Watched> = Vec::new();
    let ticks = options.ntp_interval.span().as_secs_f64() / interval.as_secs_f64();
    for host in &options.ntp {
        all.push(Watched {
            source: Box::new(NtpSource::new(host)),
            every: ticks.round() as u32,
        });
    }
    for device in &options.phc {
        all.push(Watched {
            source: Box::new(PhcSource::new(device)),
            every: 1,
        });
    }
    if options.chrony {
        let chrony = ChronySource::new(options.chronyc.clone(), options.chrony_host.clone());
        all.push(Watched {
            source: Box::new(chrony),
            every: 1,
        });
    }
    if options.parisync {
        all.push(Watched {
            source: Box::new(ParisyncSource::new(sockets(options.socket.as_deref()))),
            every: 1,
        });
    }
    all
}

/// The socket that was named, or this user's own and then the system's.
fn sockets(named: Option<&Path>) -> Vec<PathBuf> {
    let Some(path) = named else {
        let mut paths = vec![Config::default().control_socket];
        if paths[0] != Path::new(SYSTEM_SOCKET) {
            paths.push(SYSTEM_SOCKET.into());
        }
        return paths;
    };
    vec![path.to_owned()]
}

/// New readings go into the series; those of earlier ticks are there already. A source's bound is on
/// how well it knows the offset, not on the offset: it would be shown as violated here.
fn keep(
    series: &mut SeriesWriter,
    snapshot: &Snapshot,
    interval: Duration,
) -> Result<(), BenchError> {
    let new = |age_s: f64| age_s < interval.as_secs_f64();
    for shown in snapshot.sources.iter().filter(|shown| new(shown.age_s)) {
        series.push(&Sample {
            time_s: (snapshot.time_s - shown.age_s).max(0.0),
            subject: shown.reading.source.clone(),
            error_ns: shown.reading.offset_ns,
            guaranteed_ns: None,
            statistical_ns: None,
        })?;
    }
    Ok(())
}

fn show(format: Format, snapshot: &Snapshot, first: bool) -> Result<String, BenchError> {
    match format {
        Format::Text => {
            let gap = if first { "" } else { "\n" };
            Ok(format!(
                "{gap}{}{}",
                table(snapshot),
                differences_table(snapshot)
            ))
        }
        Format::Json => json(snapshot),
        Format::Csv => {
            let text = csv(&rows(snapshot)).map_err(CliError::Output)?;
            // The names of the columns come once.
            let body = text.split_once('\n').map_or("", |(_, body)| body);
            Ok(if first { text } else { body.to_owned() })
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, BenchError> {
    let text = serde_json::to_string(value).map_err(|error| CliError::Output(error.into()))?;
    Ok(text + "\n")
}

fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let (time_s, system_ns) = (snapshot.time_s, snapshot.system_ns);
    let heard = snapshot.sources.iter().map(|shown| Row {
        time_s,
        system_ns,
        source: &shown.reading.source,
        offset_ns: Some(shown.reading.offset_ns),
        guaranteed_ns: shown.reading.guaranteed_ns,
        statistical_ns: shown.reading.statistical_ns,
        age_s: Some(shown.age_s),
        detail: &shown.reading.detail,
    });
    let silent = snapshot.troubles.iter().map(|trouble| Row {
        time_s,
        system_ns,
        source: &trouble.source,
        offset_ns: None,
        guaranteed_ns: None,
        statistical_ns: None,
        age_s: None,
        detail: &trouble.what,
    });
    heard.chain(silent).collect()
}
