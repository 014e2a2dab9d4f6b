//! `parisync-bench sim`.

use std::path::PathBuf;

use super::BenchError;
use crate::crowd::{self, Checkpoint, Plan, Quantiles, Report};
use crate::interrupt::interruptible;
use crate::output::{Format, show};
use crate::progress::Progress;
use crate::run::Run;

/// What to simulate, and where to put it.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    plan: Plan,
    /// Folder for the figures of every round, a page with a plot, and the summary
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Where a run that is ended early (Ctrl-C) notes how far it came
    #[arg(long, value_name = "FILE", default_value = "sim.checkpoint.json")]
    checkpoint: PathBuf,
    /// Go on with the run that left this; its plan counts. A checkpoint says what was simulated and
    /// what came out, not every node: the rounds before are lived through again, and checked
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

/// Simulates and prints.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let earlier = options
        .resume
        .as_deref()
        .map(Checkpoint::read)
        .transpose()?;
    let mut plan = options.plan.clone();
    if let Some(earlier) = &earlier {
        let threads = plan.threads;
        plan = Plan {
            threads,
            ..earlier.plan.clone()
        };
    }
    let plan = &plan;
    plan.check()
        .map_err(|error| BenchError::Usage(error.to_string()))?;
    let folder = options.report.as_deref();
    let mut folder = folder
        .map(|dir| Run::create(dir, "sim", plan, Some(plan.seed)))
        .transpose()?;
    let (report, rounds) = interruptible(|stop| {
        // Its thread must not be there before: it would take the signal.
        let progress = Progress::new("rounds", u64::from(plan.rounds));
        let done = crowd::run(plan, earlier.as_ref(), stop, &progress);
        progress.finish();
        done
    })??;
    if report.rounds < plan.rounds {
        let checkpoint = Checkpoint {
            plan: plan.clone(),
            rounds: report.rounds,
            digest: report.digest.clone(),
        };
        checkpoint.write(&options.checkpoint)?;
        eprintln!(
            "ended after round {}; go on with --resume {}",
            report.rounds,
            options.checkpoint.display()
        );
    }
    if let Some(run) = &mut folder {
        run.table("rounds", &rounds)?;
        run.page("sim", &crowd::page(&report, &rounds))?;
        run.summary(&report)?;
    }
    Ok(show(format, &[report], |reports| {
        reports.iter().map(text).collect()
    })?)
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
