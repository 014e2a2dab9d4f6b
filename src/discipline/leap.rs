//! Leap seconds of the kernel's clock.
//!
//! The virtual clock runs on; a UTC clock shows a second more or less behind it afterwards. Who
//! announces a leap second (an administrator, a leap table's reader) tells the kernel, which makes it
//! at the end of the UTC day by stepping the clock (`second_overflow` in `kernel/time/ntp.c`).

use super::clock::Leap;
use crate::time::Span;

/// A step is the leap second if it differs from a second by less than this: nothing else moves a
/// clock that was steered a quarter of a second ago by so much.
const TOLERANCE: f64 = 1e7;

/// Knows the leap second that is pending, and recognises it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LeapWatch {
    pending: Leap,
}

impl LeapWatch {
    /// What the kernel has been told to do, as it says itself.
    pub(super) fn look(&mut self, pending: Leap) {
        self.pending = pending;
    }

    /// What is pending, to be left as it is.
    pub(super) fn pending(&self) -> Leap {
        self.pending
    }

    /// The step, if a clock that moved by `nanos` has just made the leap second that was pending.
    pub(super) fn made(&mut self, nanos: f64) -> Option<Span> {
        let step = match self.pending {
            Leap::Insert => Span::from_secs(-1),
            Leap::Delete => Span::from_secs(1),
            Leap::None => return None,
        };
        if (nanos - step.as_nanos_f64()).abs() > TOLERANCE {
            return None;
        }
        // Told to go on, the kernel would make another one a day later.
        self.pending = Leap::None;
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_second_that_is_pending_is_a_leap_second() {
        let mut watch = LeapWatch::default();
        assert_eq!(watch.made(-1e9), None);
        watch.look(Leap::Insert);
        assert_eq!(watch.made(1e9), None);
        assert_eq!(watch.made(-1.02e9), None);
        assert_eq!(watch.made(-1.000_01e9), Some(Span::from_secs(-1)));
        assert_eq!((watch.pending(), watch.made(-1e9)), (Leap::None, None));
        watch.look(Leap::Delete);
        assert_eq!(watch.made(1e9), Some(Span::from_secs(1)));
    }
}
