//! Where a host's neighbours come from.

use crate::sim::Random;

/// Draws peers for a host, as its link structure would find them.
pub trait Draw: Send + Sync {
    /// A host for `host` to talk to, live or not as far as the structure knows; `None` if it finds
    /// none this time. `random` decides.
    fn draw(&self, host: u32, random: &mut Random) -> Option<u32>;
}

/// The ideal that a structure is measured by: any host is as likely as any other.
#[derive(Debug, Clone, Copy)]
pub struct Uniform {
    /// How many there are.
    pub hosts: u32,
}

impl Draw for Uniform {
    fn draw(&self, host: u32, random: &mut Random) -> Option<u32> {
        let drawn = (random.unit() * f64::from(self.hosts)) as u32;
        (drawn != host).then_some(drawn)
    }
}
