//! `parisync-bench cost`.

use serde::Serialize;

use super::BenchError;
use crate::compare::daemons::{Installed, System};
use crate::cost::{self, Discovery, Options, Report};
use crate::interrupt::interruptible;
use crate::output::{Format, show};
use crate::run::Run;

/// What the threads of one name used, for the run's table of them.
#[derive(Serialize)]
struct Thread<'a> {
    discovery: Discovery,
    #[serde(flatten)]
    cost: &'a cost::ThreadCost,
}

/// Measures and prints what one node costs.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let folder = options.out.as_deref();
    let mut folder = folder
        .map(|dir| Run::create(dir, "cost", options, None))
        .transpose()?;
    let reports = interruptible(|stop| cost::run(options, stop))??;
    if let Some(run) = &mut folder {
        keep(run, options, &reports)?;
    }
    Ok(show(format, &reports, cost::table)?)
}

fn keep(run: &mut Run, options: &Options, reports: &[Report]) -> Result<(), BenchError> {
    if let Ok(program) = Installed::find(System::Parisync, Some(&options.program()?)) {
        run.note_version("parisync", &program.version)?;
    }
    run.table("cost", reports)?;
    let threads = reports.iter().flat_map(|report| {
        let discovery = report.discovery;
        let of = move |cost| Thread { discovery, cost };
        report.threads.iter().map(of)
    });
    run.table("threads", &threads.collect::<Vec<_>>())?;
    Ok(run.summary(&reports)?)
}
