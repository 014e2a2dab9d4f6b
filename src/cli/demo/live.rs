//! The demo's swarm: real nodes in this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hwts::Domain;

use super::{ClockPlan, Demo, DemoOptions, NodeInfo, NodeSample, Output, Sample, Stamps, Totals};
use crate::cli::output::{CliError, Context, Exit, Format};
use crate::config::PacketPath;
use crate::node::{Lie, Strategies};
use crate::service::clockface::Flaws;
use crate::service::signals::StopSignals;
use crate::service::swarm::{self, Plan};
use crate::time::{Rate, Span, VirtualTime};

/// `parisync demo`: starts the swarm, shows it, sums it up.
pub(in crate::cli) fn run(options: DemoOptions, context: &Context) -> Result<Exit, CliError> {
    let output = match context.format {
        Format::Human => Output::Human,
        Format::Json => Output::Json,
    };
    let failed = |error: &dyn std::error::Error| CliError::Failed(error.to_string());
    let demo = Demo::prepare(options, output).map_err(|e| failed(&e))?;
    let signals = StopSignals::new().map_err(|e| failed(&e))?;
    let clocks = demo.options().clocks();
    let strategies = demo.options().strategies.over(Strategies::default());
    let path = demo.options().transport;
    let plan = |clock| planned(clock, strategies, path);
    let plans: Vec<Plan> = clocks.iter().map(plan).collect();
    let started = Instant::now();
    let swarm = swarm::Swarm::start(&plans, demo.options().topology).map_err(|e| failed(&e))?;
    let stop = AtomicBool::new(false);
    let mut live = Live {
        swarm,
        clocks,
        started,
        signals,
        stop: &stop,
    };
    demo.run(&mut live, &stop).map_err(|e| failed(&e))?;
    Ok(Exit::Done)
}

struct Live<'a> {
    swarm: swarm::Swarm,
    clocks: Vec<ClockPlan>,
    started: Instant,
    signals: StopSignals,
    stop: &'a AtomicBool,
}

impl super::Swarm for Live<'_> {
    fn roster(&self) -> Vec<NodeInfo> {
        let members = self.swarm.members().iter().zip(&self.clocks);
        members
            .map(|(member, plan)| NodeInfo {
                id: member.id,
                addr: member.addr,
                clock: *plan,
            })
            .collect()
    }

    fn sample(&mut self, due: Span) -> Sample {
        let due = self.started + due.to_duration();
        loop {
            self.swarm.attend();
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stop.load(Ordering::Relaxed) {
                break;
            }
            if self.signals.wait(left.min(swarm::ATTEND)) {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        // One instant for all: every clock is computed for it, not read at it.
        let at = Span::from(self.started.elapsed());
        let mono = Domain::MonotonicRaw.now();
        let members = self.swarm.members().iter();
        let nodes = members.map(|member| {
            let showing = member.showing(mono);
            NodeSample {
                clock_ns: Some(showing.clock.as_nanos()),
                network_ns: showing.network.map(VirtualTime::as_nanos),
                bound_ns: showing.bound.map(Span::as_nanos),
                statistical_ns: showing.statistical.map(Span::as_nanos),
                state: showing.view.state,
                neighbours: usize::from(showing.view.heard),
                used: usize::from(showing.view.used),
            }
        });
        Sample {
            at,
            nodes: nodes.collect(),
        }
    }

    fn totals(&self) -> Totals {
        let counters = self
            .swarm
            .members()
            .iter()
            .filter_map(swarm::Member::counters);
        counters.fold(Totals::default(), |sum, c| Totals {
            exchanges: sum.exchanges + c.exchanges,
            stamps: Stamps {
                hardware: sum.stamps.hardware + c.stamps_hardware,
                kernel: sum.stamps.kernel + c.stamps_kernel,
                user: sum.stamps.user + c.stamps_user,
                lost: sum.stamps.lost + c.stamps_lost,
            },
        })
    }
}

fn planned(clock: &ClockPlan, strategies: Strategies, path: PacketPath) -> Plan {
    Plan {
        flaws: Flaws {
            offset: clock.offset,
            drift: Rate::from_ppm(clock.ppm),
            wander: clock.wander,
            seed: clock.seed,
        },
        lie: clock.lie.map_or(Lie::default(), |lie| Lie {
            offset: lie.offset,
            drift: Rate::from_ppm(lie.drift_ppm),
        }),
        strategies,
        path,
    }
}
