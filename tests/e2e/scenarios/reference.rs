//! One host knows the true frequency, and the others trust it.

use std::time::Duration;

use super::{NEAR_NS, full_mesh, hosts};
use crate::support::lab::{Side, scenario};
use crate::support::node::Node;
use crate::support::swarm::{Swarm, judge};
use crate::support::{Outcome, ensure, say, within};

/// Polls are short, as an excess goes in so many of them.
const POLL: &str = "[exchange]\npoll = \"50ms\"\n";

/// What may be left of it, ppm.
const LEFT: f64 = 1.0;

#[test]
fn a_network_runs_at_the_frequency_of_the_reference_it_trusts() -> Outcome {
    let name = "reference";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 3)?;
        let mut specs = full_mesh(&hosts);
        for (spec, drift) in specs.iter_mut().zip([0.0, 35.0, 50.0]) {
            spec.drift_ppm = drift;
        }
        let reference = format!("{POLL}[reference]\nsource = \"oscillator\"\n");
        specs[0].sections.clone_from(&reference);
        // Its identity is in its state directory, and the same when it is started again.
        let mut first = Node::start(lab, specs[0].clone())?;
        let id = within(Duration::from_secs(10), || {
            Ok(first.ask(|control| control.tracking())?.id)
        })?;
        first.terminate(Duration::from_secs(5))?;
        let trust = format!("{id}@{}", specs[0].time_address());
        for spec in &mut specs[1..] {
            spec.sections = format!("{POLL}[reference]\ntrust = [{trust:?}]\n");
        }
        let mut swarm = Swarm::start(lab, specs)?;
        swarm.watch(Duration::from_secs(40))?;
        let settled = swarm.watch(Duration::from_secs(5))?;
        judge(name, &settled, 3, NEAR_NS)?;
        let rate = swarm.nodes[0].ask(|control| control.tracking())?.rate_ppm;
        say(&format!(
            "{name}: the network runs {rate:+.3} ppm off the reference"
        ));
        ensure!(
            rate.abs() < LEFT,
            "the network's clock runs {rate} ppm off the reference's oscillator"
        );
        for node in &mut swarm.nodes {
            let tracking = node.ask(|control| control.tracking())?;
            let excess = tracking.excess_ppm.unwrap_or(f64::NAN);
            ensure!(
                tracking.references == 1 && excess.abs() < LEFT,
                "{} references, excess {excess} ppm",
                tracking.references
            );
        }
        Ok(())
    })
}
