//! What packets can tell at best: when they came, and how quick they can have been.

/// Sigmas of wander that a guarantee covers.
const SIGMAS: f64 = 4.0;

/// How far back packets tell the frequency, s, and in how many steps that is looked for.
const REACH: (f64, f64) = (0.01, 10_000.0);
const STEPS: i32 = 60;

/// A packet: when it arrived (s), and the least that it can have seemed to take (ns), what its
/// stamps may be off by included.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Packet {
    at: f64,
    least: f64,
}

/// The packets that arrived in one direction, as far as they still tell anything: the newest, and
/// the newest of those that went a shorter way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Heard {
    since: Option<f64>,
    newest: Option<Packet>,
    shorter: Option<Packet>,
}

impl Heard {
    /// A packet arrived at `at` seconds that took at least `least` ns.
    pub(super) fn push(&mut self, at: f64, least: f64) {
        self.since.get_or_insert(at);
        if let Some(newest) = self.newest
            && newest.least < least
            && self
                .shorter
                .is_none_or(|shorter| newest.least <= shorter.least)
        {
            self.shorter = Some(newest);
        }
        if self.shorter.is_some_and(|shorter| least <= shorter.least) {
            self.shorter = None;
        }
        self.newest = Some(Packet { at, least });
    }

    /// How far off the truth the best limit of this direction is at `now`, ns, if the packets of the other one
    /// are `back` and the oscillators wander against each other by `wander` (a fraction per √s).
    ///
    /// Had every packet been as quick as it can be, a packet of age `a` limits the offset to what
    /// it took and what the oscillators may have gathered since, `W(a) = 4·w·a^(3/2)/√3`. Their
    /// frequency is not known better than packets the other way allow, which were early by no more
    /// than that: a line below this packet and above one of age `τ` rises by at most
    /// `(d₁ + W(a) + d₂ + W(τ))/(τ − a)`. Packets are taken to have come at all ages from the
    /// newest on, so this is never more than what was possible.
    pub(super) fn limit(&self, back: &Self, now: f64, wander: f64) -> Option<f64> {
        let gathered = |age: f64| SIGMAS * 1e9 * wander * age.powf(1.5) / 3f64.sqrt();
        let other = back.newest?;
        let oldest = now - back.since?;
        let limit = |packet: Packet| {
            let age = (now - packet.at).max(0.0);
            let here = packet.least + gathered(age);
            let ratio = (REACH.1 / REACH.0).powf(1.0 / f64::from(STEPS));
            let from = age.max(now - other.at);
            let rate = (0..=STEPS)
                .map(|k| from + REACH.0 * ratio.powi(k))
                .take_while(|then| *then < oldest)
                .chain((oldest > from).then_some(oldest))
                .map(|then| (here + other.least + gathered(then)) / (then - age))
                .fold(f64::INFINITY, f64::min);
            // What came this instant needs no frequency.
            here + if age > 0.0 { rate * age } else { 0.0 }
        };
        let newest = limit(self.newest?);
        Some(
            self.shorter
                .map_or(newest, |shorter| newest.min(limit(shorter))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_packet_each_way_tells_by_hand() {
        let (mut out, mut back) = (Heard::default(), Heard::default());
        assert_eq!(out.limit(&back, 0.0, 0.0), None);
        out.push(100.0, 1_000.0);
        back.push(0.0, 3_000.0);
        back.push(100.0, 3_000.0);
        // Now: what it took. Ten seconds later the frequency counts: 4 us over the hundred seconds
        // that packets the other way go back.
        assert_eq!(out.limit(&back, 100.0, 0.0), Some(1_000.0));
        let later = out.limit(&back, 110.0, 0.0).unwrap();
        assert!((1_400.0..1_500.0).contains(&later), "{later}");
        // 1e-9 of wander: 4*1e9*1e-9*10^1.5/sqrt(3) = 73 ns at least.
        let wandering = out.limit(&back, 110.0, 1e-9).unwrap();
        assert!(
            wandering > later + 73.0 && wandering < later + 400.0,
            "{wandering}"
        );
    }

    #[test]
    fn a_shorter_way_is_remembered_until_it_is_taken_again() {
        let (mut out, mut back) = (Heard::default(), Heard::default());
        for k in 0..100 {
            back.push(f64::from(k), 1_000.0);
            out.push(f64::from(k), if k < 95 { 1_000.0 } else { 90_000.0 });
        }
        let limit = |out: &Heard| out.limit(&back, 99.0, 0.0).unwrap();
        assert!((1_050.0..1_200.0).contains(&limit(&out)), "{}", limit(&out));
        out.push(99.0, 500.0);
        assert_eq!(limit(&out), 500.0);
    }
}
