//! One scenario, once.

use parisync::consensus::Combine;
use parisync::link::LinkEstimator;
use parisync::topology::NodeId;
use serde::Serialize;

use super::{Event, Scenario};
use crate::sim::{Count, Figures, Observer, Sim};

/// Seconds between two looks at the clocks: in step with nothing that nodes do.
const LOOK_EVERY: f64 = 0.271;

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The errors and bounds.
    #[serde(flatten)]
    pub figures: Figures,
    /// Packets sent, a host and second, after the first `settle` seconds.
    pub packets: f64,
}

impl Scenario {
    /// Run it with `seed` and these strategies.
    pub fn run<E: LinkEstimator, C: Combine>(
        &self,
        seed: u64,
        estimator: E::Kind,
        combine: impl Fn(NodeId) -> C + 'static,
    ) -> Outcome {
        let world = self.world(seed);
        let honest = (0..world.honest()).collect();
        let mut sim = Sim::<E, C>::with_strategies(world, estimator, combine);
        let mut observer =
            Observer::new(honest, Count::Synchronized).settling(self.settle, self.settled_within.0);
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.sort_by(|a, b| a.at.0.total_cmp(&b.at.0));
        let mut events = events.into_iter().peekable();
        let mut at = LOOK_EVERY;
        let mut joining = (0, 0.0);
        while at < self.seconds {
            while let Some(event) = events.next_if(|event| event.at.as_secs() <= at) {
                sim.run_to(event.at.as_secs());
                event.happen(&mut sim);
            }
            sim.run_to(at);
            observer.look(&mut sim);
            if at < self.settle {
                joining = (sim.messages(), sim.now());
            }
            at += LOOK_EVERY;
        }
        Outcome {
            figures: observer.figures(),
            packets: (sim.messages() - joining.0) as f64
                / (self.hosts as f64 * (sim.now() - joining.1)),
        }
    }
}

impl Event {
    /// Let it happen to `sim` now.
    fn happen<E: LinkEstimator, C: Combine>(&self, sim: &mut Sim<E, C>) {
        for &n in &self.stop {
            sim.kill(n);
        }
        for &n in &self.restart {
            let reach = sim.world().offset.0;
            let offset = sim.random().symmetric(reach);
            sim.boot(n, offset);
        }
        let hosts = sim.world().hosts;
        let now = (sim.now() * 1e9) as i64;
        if let Some(temperature) = &self.temperature {
            for n in 0..hosts {
                let shift = if temperature.hosts.is_empty() {
                    sim.random().symmetric(temperature.shift.0)
                } else if temperature.hosts.contains(&n) {
                    temperature.shift.0
                } else {
                    continue;
                };
                let span = temperature.over.0 as i64;
                sim.oscillator(n).drift_by(shift, now, span);
            }
        }
        if let Some(route) = &self.route {
            for a in 0..hosts {
                for b in a + 1..hosts {
                    let (drawn, turned) = (sim.random().unit(), sim.random().unit() < 0.5);
                    let (from, to) = if turned { (b, a) } else { (a, b) };
                    if drawn < route.share {
                        sim.paths().lengthen(from, to, route.there.0, route.back.0);
                    }
                }
            }
        }
        if let Some(access) = &self.access {
            for &n in &access.hosts {
                sim.paths().lengthen_access(n, access.out.0, access.into.0);
            }
        }
        if let Some(share) = self.loss {
            sim.paths().lose(share);
        }
        sim.part(&self.islands);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;
    use parisync::consensus::Ensemble;
    use parisync::link::OneSided;
    use std::path::Path;

    fn scenario(text: &str) -> Scenario {
        let head = "name = \"x\"\nwhy = \"y\"\nseconds = 40\nsettle = 20\n\
                    settled_within = \"2us\"\n";
        parse(&format!("{head}{text}"), Path::new("x.toml")).unwrap()
    }

    fn run(text: &str) -> Outcome {
        scenario(text).run::<OneSided, Ensemble>(1, (), |_| Ensemble::default())
    }

    #[test]
    fn a_quiet_network_settles_and_spends_what_its_polls_cost() {
        let outcome = run("");
        assert!(outcome.figures.settled < 10.0, "{outcome:?}");
        assert!(outcome.figures.worst_p99 < 2_000.0, "{outcome:?}");
        // Seven neighbours, each pair in turns, two exchanges of two packets a second.
        assert!((13.5..15.0).contains(&outcome.packets), "{outcome:?}");
        assert_eq!(outcome, run(""));
    }

    #[test]
    fn events_happen_when_they_are_due() {
        let late = "[[events]]\nat = \"30s\"\n";
        let settled = |event: &str| run(&format!("{late}{event}")).figures.settled;
        assert!(settled("") < 10.0);
        for event in [
            "restart = [0]",
            "islands = [1, 1, 1, 1]\n[[events]]\nat = \"31s\"\nislands = [0, 0, 0, 0]\n\
             temperature = { shift = \"30ppm\", hosts = [0] }",
            "temperature = { shift = \"40ppm\", hosts = [0, 1, 2] }",
        ] {
            assert!(settled(event) > 30.0, "{event}");
        }
        // Nobody misses who is switched off.
        assert!(settled("stop = [0]") < 10.0);
        let longer = |event: &str| {
            let scenario = scenario(&format!("{late}{event}"));
            let mut sim: Sim = Sim::new(scenario.world(1));
            let before = sim.paths().least(1, 0, 0);
            scenario.events[0].happen(&mut sim);
            let (there, back) = (sim.paths().least(1, 0, 0), sim.paths().least(0, 1, 0));
            (there - before, back - before)
        };
        let access = longer("access = { hosts = [1], out = \"400us\", into = \"1us\" }");
        assert_eq!(access, (400_000.0, 1_000.0));
        let route = longer("route = { share = 1.0, there = \"200us\", back = \"5us\" }");
        assert!(matches!(route, (2e5, 5e3) | (5e3, 2e5)), "{route:?}");
        assert_eq!(
            longer("route = { share = 0.0, there = \"200us\" }"),
            (0.0, 0.0)
        );
        let lossy = |event: &str| run(&format!("{late}{event}")).packets;
        assert!(lossy("loss = 0.9") < lossy("") - 1.0);
    }
}
