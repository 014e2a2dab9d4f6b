//! Exchange fidelity: all hosts, tick by tick, on several threads.

use std::sync::Mutex;

use parisync::link::LinkEstimator;
use parisync::node::{Crowd, Node};

use super::body::{Chosen, Counts, Estimates, Shown, World};
use super::checkpoint::{CheckpointError, Loader, Saver};
use super::engine::{Network, WATCHED, share_out};
use super::host::{Host, Told};
use super::measure::honest;
use super::plan::Plan;

/// Hosts that a thread takes at once.
const CHUNK: usize = 128;

/// A network of hosts with these strategies, up to the end of some tick.
pub(super) struct Exchanges<E: LinkEstimator, C> {
    world: World,
    hosts: Vec<Host<E, C>>,
    told: Vec<Told>,
    /// What is told in the tick under way.
    telling: Vec<Told>,
    tick: u64,
    counts: Counts,
    threads: usize,
}

impl<E: Estimates, C: Chosen> Exchanges<E, C> {
    /// The network at its start.
    pub(super) fn new(plan: &Plan) -> Self {
        let world = World::new(plan, plan.node());
        let hosts: Vec<_> = (0..plan.nodes).map(|n| Host::new(&world, n)).collect();
        let told: Vec<_> = hosts.iter().map(Host::first).collect();
        Self {
            telling: told.clone(),
            told,
            hosts,
            world,
            tick: 0,
            counts: Counts::default(),
            threads: plan.threads(),
        }
    }

    fn pass(&mut self) {
        let tick = self.world.tick(self.tick);
        if self.world.plan.malicious > 0.0 {
            let step = (self.hosts.len() / WATCHED).max(1);
            let watched = self.hosts.iter().step_by(step);
            let sample: Vec<Shown> = watched
                .filter_map(|host| host.shown(&self.world, tick.begin))
                .collect();
            self.world.honest = honest(&sample, &self.world.honest, tick.begin);
        }
        let (world, told) = (&self.world, &self.told);
        let chunks = self.hosts.chunks_mut(CHUNK);
        let chunks = chunks.zip(self.telling.chunks_mut(CHUNK));
        let total = Mutex::new(&mut self.counts);
        share_out(self.threads, chunks, |(hosts, telling)| {
            let mut counts = Counts::default();
            for (host, telling) in hosts.iter_mut().zip(telling) {
                *telling = host.pass(world, &tick, told, &mut counts);
            }
            if let Ok(mut total) = total.lock() {
                total.add(&counts);
            }
        });
        std::mem::swap(&mut self.told, &mut self.telling);
        self.tick += 1;
    }
}

impl<E: Estimates, C: Chosen> Network for Exchanges<E, C> {
    fn round(&mut self) {
        for _ in 0..self.world.plan.ticks() {
            self.pass();
        }
    }

    fn shown(&self) -> Vec<Option<Shown>> {
        let now = self.world.tick(self.tick).begin;
        self.hosts
            .iter()
            .map(|host| host.shown(&self.world, now))
            .collect()
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn sizes(&self) -> (usize, usize) {
        let link = Node::<E, C, Crowd>::link_bytes();
        let node = size_of::<Node<E, C, Crowd>>() + self.world.plan.neighbours * link;
        (size_of::<Host<E, C>>() + node + 2 * size_of::<Told>(), link)
    }

    fn save(&self, to: &mut Saver) -> Result<(), CheckpointError> {
        to.put(&(self.tick, self.counts, &self.world.honest))?;
        to.put_hosts(&self.hosts, &self.told)
    }

    fn restore(&mut self, from: &mut Loader) -> Result<(), CheckpointError> {
        (self.tick, self.counts, self.world.honest) = from.take()?;
        from.take_hosts(&mut self.hosts, &mut self.told)
    }
}
