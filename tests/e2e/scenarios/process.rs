//! The process itself: one thread, no privilege, stop and start.

use std::time::Duration;

use super::{NEAR_NS, SETTLES, full_mesh, hosts};
use crate::support::lab::{Side, scenario};
use crate::support::swarm::{Swarm, judge};
use crate::support::{Context, Outcome, ensure, within};

#[test]
fn single_threaded_nodes_agree_with_the_others() -> Outcome {
    let name = "single thread";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 4)?;
        let mut specs = full_mesh(&hosts);
        for spec in &mut specs[..2] {
            spec.single_thread = true;
        }
        let mut swarm = Swarm::start(lab, specs)?;
        swarm.watch(SETTLES)?;
        let settled = swarm.watch(Duration::from_secs(8))?;
        for node in &swarm.nodes[..2] {
            let pid = node.pid().unwrap_or_default();
            let threads = std::fs::read_dir(format!("/proc/{pid}/task"))?.count();
            ensure!(threads == 1, "single-thread mode runs {threads} threads");
        }
        judge(name, &settled, 4, NEAR_NS)
    })
}

#[test]
fn without_privilege_nodes_measure_and_serve_and_say_so() -> Outcome {
    let name = "unprivileged";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 3)?;
        let mut specs = full_mesh(&hosts);
        for spec in &mut specs {
            spec.unprivileged = true;
        }
        let mut swarm = Swarm::start(lab, specs)?;
        swarm.watch(SETTLES)?;
        let settled = swarm.watch(Duration::from_secs(5))?;
        judge(name, &settled, 3, NEAR_NS)?;
        for node in &mut swarm.nodes {
            let tracking = node.ask(|control| control.tracking())?;
            let told = tracking
                .warnings
                .iter()
                .any(|warning| warning.contains("CAP_SYS_TIME"));
            ensure!(
                told,
                "no warning names the privilege: {:?}",
                tracking.warnings
            );
            ensure!(
                node.log()?.contains("CAP_SYS_TIME"),
                "the log does not name the privilege"
            );
            let status = node.terminate(Duration::from_secs(5))?;
            ensure!(status.success(), "stopped with {status}");
        }
        Ok(())
    })
}

#[test]
fn a_stopped_node_starts_again_with_the_rate_it_had() -> Outcome {
    let name = "stop and start";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 4)?;
        let mut specs = full_mesh(&hosts);
        for (spec, drift_ppm) in specs.iter_mut().zip([45.0, 0.0, -5.0, 5.0]) {
            spec.drift_ppm = drift_ppm;
        }
        let mut swarm = Swarm::start(lab, specs)?;
        swarm.watch(SETTLES + Duration::from_secs(5))?;
        let before = swarm.nodes[0].ask(|control| control.tracking())?.rate_ppm;
        // The network's rate lies among the other three.
        ensure!(
            (-55.0..-35.0).contains(&before),
            "a 45 ppm oscillator is corrected by {before} ppm"
        );

        for node in &mut swarm.nodes {
            let status = node
                .terminate(Duration::from_secs(5))
                .context(node.log()?)?;
            ensure!(
                status.success(),
                "SIGTERM ended in {status}:\n{}",
                node.log()?
            );
            ensure!(!node.state_files()?.is_empty(), "nothing was kept on disk");
        }
        // Alone, it cannot learn its rate from anybody: it must remember.
        swarm.nodes[0].restart()?;
        let after = within(Duration::from_secs(3), || {
            Ok(swarm.nodes[0].ask(|control| control.tracking())?.rate_ppm)
        })?;
        ensure!(
            (after - before).abs() < 1.0,
            "{before} ppm before the stop, {after} ppm after"
        );
        let status = swarm.nodes[0].terminate(Duration::from_secs(5))?;
        ensure!(status.success(), "the second stop ended in {status}");
        Ok(())
    })
}
