//! `parisync-bench sim`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::BenchError;
use crate::crowd::{
    self, CheckpointError, Plan, PlanError, Quantiles, Report, Simulation, checkpoint_name,
};
use crate::interrupt::interruptible;
use crate::output::{Format, show};
use crate::progress::Progress;
use crate::run::Run;
use crate::units::Nanos;

/// What to simulate, and where to put it.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    plan: Plan,
    /// Folder for the figures of every round, a page with a plot, and the summary
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Where all nodes are written to when the run is ended early (Ctrl-C), to go on from there; the file
    /// that is resumed if there is one, else one named after the plan
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Write that now and then as well, while it runs; as in 10min
    #[arg(long, value_name = "TIME")]
    checkpoint_every: Option<Nanos>,
    /// Go on with the run that left this; its plan counts
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

/// Simulates and prints.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let simulation = match &options.resume {
        Some(file) => Simulation::resume(file, options.plan.threads)?,
        None => {
            let wrong = |error: PlanError| BenchError::Usage(error.to_string());
            options.plan.check().map_err(wrong)?;
            Simulation::new(&options.plan)
        }
    };
    let plan = simulation.plan().clone();
    let folder = options.report.as_deref();
    let mut folder = folder
        .map(|dir| Run::create(dir, "sim", &plan, Some(plan.seed)))
        .transpose()?;
    let (simulation, saved) = interruptible(|stop| simulate(simulation, options, stop))?;
    let (report, rounds) = simulation.report();
    if let Some(run) = &mut folder {
        run.table("rounds", rounds)?;
        run.page("sim", &crowd::page(&report, rounds))?;
        run.summary(&report)?;
    }
    show(format, &[report], |reports| {
        reports.iter().map(text).collect()
    })?;
    // What was measured is out by now, also if the nodes could not be written.
    Ok(saved?)
}

/// Goes on until it is done or is to stop; then its nodes are written.
fn simulate(
    mut simulation: Simulation,
    options: &Options,
    stop: &AtomicBool,
) -> (Simulation, Result<(), CheckpointError>) {
    let rounds = simulation.plan().rounds;
    // Its thread must not be there before: it would take the signal.
    let progress = Progress::new("rounds", u64::from(rounds));
    progress.set(u64::from(simulation.rounds()));
    let given = options.checkpoint.as_ref().or(options.resume.as_ref());
    let file = &given.map_or_else(|| checkpoint_name(simulation.plan()), PathBuf::clone);
    let mut written = Instant::now();
    while !simulation.round(|| stop.load(Ordering::Relaxed)) {
        progress.advance(1);
        let every = options.checkpoint_every;
        if every.is_some_and(|every| written.elapsed().as_secs_f64() >= every.as_secs()) {
            // A full disk is no reason to give up what is simulated.
            if let Err(error) = simulation.save(file) {
                progress.warn(&format!("no checkpoint: {error}"));
            }
            written = Instant::now();
        }
    }
    progress.finish();
    let ended = simulation.rounds();
    if ended == rounds {
        return (simulation, Ok(()));
    }
    let saved = simulation.save(file);
    if saved.is_ok() {
        eprintln!(
            "ended after round {ended} of {rounds}; go on with --resume {}",
            file.display()
        );
    }
    (simulation, saved)
}

fn text(report: &Report) -> String {
    let r = report;
    let round = |n: Option<u32>| n.map_or("never".to_owned(), |n| n.to_string());
    let rate = |ppm: Option<f64>| ppm.map_or("-".to_owned(), |ppm| format!("{ppm:+.4} ppm"));
    format!(
        "{} nodes, {} rounds: {:.2} % synchronized\n\
         rounds to 10 ms {}, 1 ms {}, 100 us {}; newcomers take {}\n\
         sigma {:.3} us, any pair p50 {:.3} p99 {:.3} p99.99 {:.3} max {:.3} us, worst {:.3} us\n\
         {}captured {:.4} %, virtual rate {}, dragged {}\n\
         bound p50 {:.3} p99 {:.3} us, {} violations in {} looks\n\
         {:.0} bytes/s a node, {} bytes of memory a node, {} a link\n\
         {} exchanges in {:.1} s ({:.0} a second; {:.1} s of processors), {:.2} GB, digest {}\n",
        r.nodes,
        r.rounds,
        100.0 * r.synchronized,
        round(r.rounds_to.ten_ms),
        round(r.rounds_to.one_ms),
        round(r.rounds_to.hundred_us),
        r.rounds_to_arrive
            .map_or("-".to_owned(), |n| format!("{n:.1} rounds")),
        1e-3 * r.sigma_ns,
        1e-3 * r.skew.any_pair.p50,
        1e-3 * r.skew.any_pair.p99,
        1e-3 * r.skew.any_pair.p9999,
        1e-3 * r.skew.any_pair.max,
        1e-3 * r.worst_ns,
        near(r.skew.near),
        100.0 * r.captured,
        rate(r.virtual_rate_ppm),
        rate(r.drag_ppm),
        1e-3 * r.bound.p50,
        1e-3 * r.bound.p99,
        r.bound.violations,
        r.bound.looks,
        r.bytes_per_node_s,
        r.bytes_per_host,
        r.bytes_per_link,
        r.events,
        r.wall_s,
        r.events_per_s,
        r.cpu_s,
        r.rss_bytes as f64 / 1e9,
        r.digest,
    )
}

/// How far the hosts of a data centre are apart.
fn near(skew: Option<Quantiles>) -> String {
    skew.map_or_else(String::new, |q| {
        format!(
            "within a data centre p50 {:.3} p99 {:.3} p99.99 {:.3} max {:.3} us\n",
            1e-3 * q.p50,
            1e-3 * q.p99,
            1e-3 * q.p9999,
            1e-3 * q.max,
        )
    })
}
