//! What is measured against what: lanes, each a transport, a place of stamps and a way to wait.

use std::fmt;
use std::str::FromStr;

use hwts::transport::{StampRequest, WaitMode};
use serde::Serialize;

/// How datagrams go from the process to the network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// The kernel's UDP.
    Udp,
    /// `AF_XDP`.
    Xdp,
}

/// Where stamps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stamps {
    /// In the network card.
    Hardware,
    /// In the kernel; with `AF_XDP`, in the program at the driver and where the driver is done.
    Kernel,
    /// In this process.
    User,
}

/// How packets are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Asleep.
    Block,
    /// Looking for packets for a while, then asleep.
    BusyPoll,
    /// Looking for packets all the time.
    Spin,
}

/// A thing with a short list of names.
pub trait Named: Copy + PartialEq + Sized + 'static {
    /// All there are, the default first.
    const ALL: &'static [Self];

    /// What it is called.
    fn name(self) -> &'static str;
}

impl Named for Transport {
    const ALL: &'static [Self] = &[Self::Udp, Self::Xdp];

    fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Xdp => "xdp",
        }
    }
}

impl Named for Stamps {
    const ALL: &'static [Self] = &[Self::Kernel, Self::User, Self::Hardware];

    fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Kernel => "kernel",
            Self::User => "user",
        }
    }
}

impl Named for Mode {
    const ALL: &'static [Self] = &[Self::Block, Self::BusyPoll, Self::Spin];

    fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::BusyPoll => "busy-poll",
            Self::Spin => "spin",
        }
    }
}

/// Some of them, in the order they were named, or `all`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selection<T> {
    /// Which.
    pub items: Vec<T>,
    /// Whether `all` were asked for: then what is missing is left out rather than an error.
    pub all: bool,
}

impl<T: Named> Selection<T> {
    /// Just one.
    pub fn one(item: T) -> Self {
        Self {
            items: vec![item],
            all: false,
        }
    }
}

impl<T: Named> FromStr for Selection<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self {
                items: T::ALL.to_vec(),
                all: true,
            });
        }
        let mut items = Vec::new();
        for word in text.split(',') {
            let item = T::ALL.iter().find(|item| item.name() == word);
            let item = *item.ok_or_else(|| {
                let names: Vec<&str> = T::ALL.iter().map(|item| item.name()).collect();
                format!("{word:?} is none of {} or all", names.join(", "))
            })?;
            if !items.contains(&item) {
                items.push(item);
            }
        }
        Ok(Self { items, all: false })
    }
}

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane {
    /// How datagrams travel.
    pub transport: Transport,
    /// Where they are stamped.
    pub stamps: Stamps,
    /// How they are waited for.
    pub mode: Mode,
}

impl Lane {
    /// What to ask the transport for.
    pub const fn request(self) -> StampRequest {
        match self.stamps {
            Stamps::User => StampRequest::User,
            Stamps::Kernel | Stamps::Hardware => StampRequest::Kernel,
        }
    }

    /// How the transport is to wait, if it looks for packets for `micros` µs before it sleeps.
    pub const fn wait(self, micros: u32) -> WaitMode {
        match self.mode {
            Mode::Block => WaitMode::Block,
            Mode::BusyPoll => WaitMode::BusyPoll { micros },
            Mode::Spin => WaitMode::Spin,
        }
    }

    /// Its number among all lanes by `AF_XDP`; none for others.
    pub fn xdp_number(self) -> Option<u8> {
        let place = |found: Option<usize>| found.and_then(|at| u8::try_from(at).ok());
        let stamps = place(Stamps::ALL.iter().position(|s| *s == self.stamps))?;
        let mode = place(Mode::ALL.iter().position(|m| *m == self.mode))?;
        (self.transport == Transport::Xdp).then_some(stamps * Mode::ALL.len() as u8 + mode)
    }

    /// As it is used in names of files.
    pub fn slug(self) -> String {
        self.to_string().replace('/', "-")
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            transport,
            stamps,
            mode,
        } = self;
        let stamps = match (transport, stamps) {
            (Transport::Xdp, Stamps::Kernel) => "hook",
            _ => stamps.name(),
        };
        f.pad(&format!("{}/{stamps}/{}", transport.name(), mode.name()))
    }
}

impl Serialize for Lane {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What was asked for and is not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// A transport, or a place of stamps.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// What was asked for, as lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// To be measured; the first is what the others are compared with.
    pub lanes: Vec<Lane>,
    /// Not to be had here.
    pub left_out: Vec<LeftOut>,
}

/// Why nothing can be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no such transport here.
    #[error("no AF_XDP: {0}; there is --transport udp")]
    NoXdp(String),
    /// Nothing that was asked for is to be had.
    #[error("nothing is left to measure: {0}")]
    Nothing(String),
}

impl Plan {
    /// Every combination of what was asked for. `hardware` says why a transport cannot have the
    /// network card's own stamps, if so; `xdp` why there is no AF_XDP.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(
        transports: &Selection<Transport>,
        stamps: &Selection<Stamps>,
        modes: &Selection<Mode>,
        hardware: impl Fn(Transport) -> Option<String>,
        xdp: impl FnOnce() -> Option<String>,
    ) -> Result<Self, PlanError> {
        let mut left_out = Vec::new();
        let mut paths = transports.items.clone();
        if paths.contains(&Transport::Xdp)
            && let Some(reason) = xdp()
        {
            if !transports.all {
                return Err(PlanError::NoXdp(reason));
            }
            paths.retain(|path| *path != Transport::Xdp);
            left_out.push(LeftOut {
                what: Transport::Xdp.name().to_owned(),
                reason,
            });
        }
        let mut lanes = Vec::new();
        for transport in paths {
            for &stamps in &stamps.items {
                if stamps == Stamps::Hardware
                    && let Some(reason) = hardware(transport)
                {
                    left_out.push(LeftOut {
                        what: format!("{}/{}", transport.name(), stamps.name()),
                        reason,
                    });
                    continue;
                }
                lanes.extend(modes.items.iter().map(|&mode| Lane {
                    transport,
                    stamps,
                    mode,
                }));
            }
        }
        if lanes.is_empty() {
            let reasons = left_out.iter().map(|l| format!("{}: {}", l.what, l.reason));
            let reasons: Vec<String> = reasons.collect();
            return Err(PlanError::Nothing(reasons.join("; ")));
        }
        Ok(Self { lanes, left_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(transports: &str, stamps: &str, modes: &str) -> Result<Plan, PlanError> {
        Plan::new(
            &transports.parse().unwrap(),
            &stamps.parse().unwrap(),
            &modes.parse().unwrap(),
            |_| Some("no clock in the card".to_owned()),
            || Some("no root".to_owned()),
        )
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.lanes.iter().map(Lane::to_string).collect()
    }

    #[test]
    fn lanes_come_in_the_order_they_were_named() {
        let plan = plan("udp", "user,kernel", "spin,block").unwrap();
        assert_eq!(
            names(&plan),
            [
                "udp/user/spin",
                "udp/user/block",
                "udp/kernel/spin",
                "udp/kernel/block"
            ]
        );
        assert!(plan.left_out.is_empty());
        assert_eq!(plan.lanes[1].slug(), "udp-user-block");
    }

    #[test]
    fn all_leaves_out_what_is_missing_and_says_so() {
        let plan = plan("all", "all", "all").unwrap();
        assert_eq!(plan.lanes.len(), 6);
        assert_eq!(names(&plan)[0], "udp/kernel/block");
        let out: Vec<&str> = plan.left_out.iter().map(|l| l.what.as_str()).collect();
        assert_eq!(out, ["xdp", "udp/hardware"]);
        assert_eq!(plan.left_out[1].reason, "no clock in the card");
    }

    #[test]
    fn what_alone_was_asked_for_and_is_missing_is_an_error() {
        for transports in ["xdp", "udp,xdp"] {
            let refused = plan(transports, "kernel", "block").unwrap_err().to_string();
            assert!(refused.contains("no root"), "{refused}");
        }
        assert_eq!(
            plan("udp", "hardware", "block"),
            Err(PlanError::Nothing(
                "udp/hardware: no clock in the card".to_owned()
            ))
        );
        let others = plan("udp", "hardware,user", "block").unwrap();
        assert_eq!(names(&others), ["udp/user/block"]);
    }

    #[test]
    fn each_transport_has_hardware_stamps_or_not() {
        let plan = Plan::new(
            &"udp,xdp".parse().unwrap(),
            &"hardware,kernel".parse().unwrap(),
            &Selection::one(Mode::Block),
            |transport| (transport == Transport::Xdp).then(|| "copied".to_owned()),
            || None,
        );
        let plan = plan.unwrap();
        let lanes = ["udp/hardware/block", "udp/kernel/block", "xdp/hook/block"];
        assert_eq!(names(&plan), lanes);
        assert_eq!(plan.left_out[0].what, "xdp/hardware");
    }

    #[test]
    fn lanes_by_af_xdp_are_told_apart() {
        let any = |_| Some("any".to_owned());
        let both = "udp,xdp".parse().unwrap();
        let stamps = "kernel,user".parse().unwrap();
        let modes = "block,spin".parse().unwrap();
        let plan = Plan::new(&both, &stamps, &modes, any, || None);
        let lanes = plan.unwrap().lanes;
        let names: Vec<String> = lanes[4..].iter().map(Lane::to_string).collect();
        assert_eq!(
            names,
            [
                "xdp/hook/block",
                "xdp/hook/spin",
                "xdp/user/block",
                "xdp/user/spin"
            ]
        );
        let numbers: Vec<Option<u8>> = lanes.iter().map(|lane| lane.xdp_number()).collect();
        assert_eq!(numbers[..4], [None; 4]);
        assert_eq!(numbers[4..], [Some(0), Some(2), Some(3), Some(5)]);
    }

    #[test]
    fn unknown_words_are_answered_with_the_known_ones() {
        let error = "kernal".parse::<Selection<Stamps>>().unwrap_err();
        assert_eq!(error, "\"kernal\" is none of kernel, user, hardware or all");
        assert_eq!(
            "spin,spin".parse::<Selection<Mode>>(),
            Ok(Selection::one(Mode::Spin))
        );
    }
}
