//! What happens to cards, in words.

use std::fmt;

use crate::nic::NotStamping;

/// Why the stamps of a card are not used, and the kernel's are instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardFallback {
    /// Its transmit stamps stopped coming.
    TxStopped,
    /// Its receive stamps stopped coming.
    RxStopped,
}

impl fmt::Display for CardFallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TxStopped => "its hardware stopped stamping sent packets",
            Self::RxStopped => "its hardware stopped stamping received packets",
        })
    }
}

/// What happened to a card, to be told to people.
#[derive(Debug)]
pub enum CardNote {
    /// Packets of this interface are stamped by its card.
    Stamping {
        /// The interface.
        interface: String,
        /// Its clock, N of `/dev/ptpN`.
        phc: u32,
    },
    /// The interface has stamping hardware that is of no use to us.
    Refused {
        /// The interface.
        interface: String,
        /// Why.
        why: NotStamping,
    },
    /// The kernel's stamps are used instead.
    Fallback {
        /// The interface.
        interface: String,
        /// Why.
        why: CardFallback,
    },
    /// It has fewer registers for transmit stamps than were asked for at once.
    FewRegisters {
        /// The interface.
        interface: String,
        /// Stamps asked of it at once from now on.
        in_flight: u32,
    },
    /// The interface has a new name.
    Renamed {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// The interface is gone.
    Gone {
        /// Its name.
        interface: String,
    },
}

impl fmt::Display for CardNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stamping { interface, phc } => {
                write!(f, "{interface}: hardware stamps by /dev/ptp{phc}")
            }
            Self::Refused { interface, why } => write!(f, "{interface}: kernel stamps, {why}"),
            Self::Fallback { interface, why } => write!(f, "{interface}: kernel stamps, {why}"),
            Self::FewRegisters {
                interface,
                in_flight,
            } => write!(
                f,
                "{interface}: transmit stamps got lost, no more than {in_flight} at once are \
                 asked for now"
            ),
            Self::Renamed { from, to } => write!(f, "{from} is called {to} now"),
            Self::Gone { interface } => write!(f, "{interface} is gone"),
        }
    }
}
