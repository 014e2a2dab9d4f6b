//! The content of a time packet: [`Message`] to bytes and back.

use zerocopy::little_endian::{I16, I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ClockState, Excess, Message, PacketStamp, Promise, StampSource, Tier};
use crate::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};

/// The length of a message as this version writes it; anything that follows is an extension.
pub const MESSAGE_LEN: usize = 126;

const WANTS_REPLY: u8 = 1 << 0;
const HAS_LAST_TX: u8 = 1 << 1;
const HAS_LAST_RX: u8 = 1 << 2;
const HAS_PRIOR_RX: u8 = 1 << 3;

/// Rates go as integers in units of 2⁻⁶⁰, phase fractions in units of 2⁻³² ns.
const RATE_UNIT: f64 = 1.0 / (1_u64 << 60) as f64;
const FRACTION_UNIT: f64 = 1.0 / (1_u64 << 32) as f64;

/// Promised rates go in units of 2⁻⁴⁰, slacks of 4 ns, and the time they hold for of ⅛ s.
const PROMISE_UNIT: f64 = 1.0 / (1_u64 << 40) as f64;
const SLACK_UNIT: i64 = 4;
const HOLD_UNIT: i64 = 125_000_000;

/// The largest slack that can be promised.
pub const MOST_SLACK: Span = Span::from_nanos(SLACK_UNIT * u16::MAX as i64);

/// The wander is in the upper half of the flags, as a logarithm: 1 is this (a fraction per √s), and
/// every four steps are a factor of ten.
const WANDER_SHIFT: u32 = 4;
const LEAST_WANDER: f64 = 1e-10;
const WANDER_STEPS: f64 = 4.0;

/// No oscillator in use is off by more, so a greater rate is a lie or an error; 10 %.
const MAX_RATE: f64 = 0.1;

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MessageError {
    /// Shorter than [`MESSAGE_LEN`].
    #[error("a message of {0} bytes is too short")]
    Short(usize),
    /// Not a known clock state.
    #[error("unknown clock state {0}")]
    State(u8),
    /// Not a known stamp source.
    #[error("unknown stamp source {0}")]
    Source(u8),
    /// A rate or slew beyond 10 %.
    #[error("a rate beyond 10 % cannot be true")]
    Rate,
    /// A slew that ends before the line's origin.
    #[error("a slew that ends before it began")]
    Slew,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    seq: U32,
    flags: u8,
    state: u8,
    tx_source: u8,
    rx_source: u8,
    tx: Stamp,
    rx: Stamp,
    line_raw: I64,
    line_virtual: I64,
    line_fraction: U32,
    tier_level: u8,
    tier_root: [u8; 3],
    line_rate: I64,
    line_slew: I64,
    line_slew_until: I64,
    bound: U64,
    prior: Stamp,
    promise_rate: U32,
    promise_slack: U16,
    promise_hold: U16,
    local: I32,
    excess: I16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Stamp {
    seq: U32,
    error: U32,
    at: I64,
}

/// Lays `message` out.
///
/// Values without a place on the wire go to the nearest honest one: a stamp error of 2³² ns or
/// more and a negative bound become "unknown", rates are limited to ±10 %, and a local shift beyond
/// two seconds is none.
pub fn encode(message: &Message, out: &mut [u8; MESSAGE_LEN]) {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let line = &message.line;
    let (raw, virtual_time, fraction) = line.origin();
    let (slew, slew_until) = line.slew();
    // It shares the source of the last one; stamps of several sources are rare.
    let source = message.last_rx.map(|last| last.source);
    let prior = message.prior_rx.filter(|p| Some(p.source) == source);
    let promised = message.promise.rate.as_fraction() / PROMISE_UNIT;
    // Rounded up as well; and what holds for longer holds for a shorter time.
    let slack = message.promise.slack.as_nanos().max(0);
    let slack = (slack / SLACK_UNIT) + i64::from(slack % SLACK_UNIT > 0);
    let hold = message.promise.hold.as_nanos().max(0) / HOLD_UNIT;
    *out = zerocopy::transmute!(Layout {
        seq: U32::new(message.seq),
        flags: flag(message.wants_reply, WANTS_REPLY)
            | flag(message.last_tx.is_some(), HAS_LAST_TX)
            | flag(message.last_rx.is_some(), HAS_LAST_RX)
            | flag(prior.is_some(), HAS_PRIOR_RX)
            | wander_code(message.promise.wander) << WANDER_SHIFT,
        state: state_code(message.state),
        tx_source: source_code(message.last_tx),
        rx_source: source_code(message.last_rx),
        tx: stamp_layout(message.last_tx),
        rx: stamp_layout(message.last_rx),
        line_raw: I64::new(raw.as_nanos()),
        line_virtual: I64::new(virtual_time.as_nanos()),
        line_fraction: U32::new((fraction / FRACTION_UNIT) as u32),
        tier_level: message.tier.level,
        tier_root: message.tier.root,
        line_rate: I64::new(rate_code(line.rate())),
        line_slew: I64::new(rate_code(slew)),
        line_slew_until: I64::new(slew_until.as_nanos()),
        bound: U64::new(match message.bound {
            Span::MAX => u64::MAX,
            bound => u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX),
        }),
        prior: stamp_layout(prior),
        // Rounded up: less than is kept must not be promised.
        promise_rate: U32::new(promised.ceil() as u32),
        promise_slack: U16::new(u16::try_from(slack).unwrap_or(u16::MAX)),
        promise_hold: U16::new(u16::try_from(hold).unwrap_or(u16::MAX)),
        local: I32::new(i32::try_from(message.local.as_nanos()).unwrap_or(0)),
        excess: I16::new(message.excess.code()),
    });
}

/// Reads a message; bytes after [`MESSAGE_LEN`] belong to extensions nobody has defined yet and
/// are skipped, as are unknown flags.
///
/// # Errors
/// [`MessageError`] if it is too short or says what cannot be.
pub fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
    let (m, _extensions) =
        Layout::ref_from_prefix(bytes).map_err(|_| MessageError::Short(bytes.len()))?;
    let last_tx = stamp(m.flags & HAS_LAST_TX != 0, &m.tx, m.tx_source)?;
    let last_rx = stamp(m.flags & HAS_LAST_RX != 0, &m.rx, m.rx_source)?;
    // Without a last one there is none before it.
    let has_prior = m.flags & (HAS_LAST_RX | HAS_PRIOR_RX) == HAS_LAST_RX | HAS_PRIOR_RX;
    let prior_rx = stamp(has_prior, &m.prior, m.rx_source)?;
    let origin = RawTime::from_nanos(m.line_raw.get());
    let slew_until = RawTime::from_nanos(m.line_slew_until.get());
    if slew_until < origin {
        return Err(MessageError::Slew);
    }
    let line = VirtualLine::new(
        origin,
        VirtualTime::from_nanos(m.line_virtual.get()),
        rate(m.line_rate.get())?,
    )
    .with_fraction(f64::from(m.line_fraction.get()) * FRACTION_UNIT)
    .with_slew_until(rate(m.line_slew.get())?, slew_until);
    Ok(Message {
        seq: m.seq.get(),
        wants_reply: m.flags & WANTS_REPLY != 0,
        state: state(m.state)?,
        last_tx,
        last_rx,
        prior_rx,
        line,
        bound: i64::try_from(m.bound.get()).map_or(Span::MAX, Span::from_nanos),
        tier: Tier {
            level: m.tier_level,
            root: m.tier_root,
        },
        promise: Promise {
            rate: Rate::from_fraction(f64::from(m.promise_rate.get()) * PROMISE_UNIT),
            slack: Span::from_nanos(SLACK_UNIT * i64::from(m.promise_slack.get())),
            hold: Span::from_nanos(HOLD_UNIT * i64::from(m.promise_hold.get())),
            wander: wander(m.flags >> WANDER_SHIFT),
        },
        local: Span::from_nanos(i64::from(m.local.get())),
        excess: Excess::from_code(m.excess.get()),
    })
}

fn stamp_layout(stamp: Option<PacketStamp>) -> Stamp {
    let (seq, error, at) = stamp.map_or((0, 0, 0), |s| {
        let error = u32::try_from(s.error.as_nanos().max(0)).unwrap_or(u32::MAX);
        (s.seq, error, s.at.as_nanos())
    });
    Stamp {
        seq: U32::new(seq),
        error: U32::new(error),
        at: I64::new(at),
    }
}

fn stamp(present: bool, s: &Stamp, source: u8) -> Result<Option<PacketStamp>, MessageError> {
    if !present {
        return Ok(None);
    }
    Ok(Some(PacketStamp {
        seq: s.seq.get(),
        at: RawTime::from_nanos(s.at.get()),
        error: match s.error.get() {
            u32::MAX => Span::MAX,
            error => Span::from_nanos(i64::from(error)),
        },
        source: match source {
            0 => StampSource::User,
            1 => StampSource::Xdp,
            2 => StampSource::Kernel,
            3 => StampSource::Hardware,
            _ => return Err(MessageError::Source(source)),
        },
    }))
}

fn wander_code(wander: Option<f64>) -> u8 {
    // More than can be said is said as the most.
    wander.map_or(0, |wander| {
        let steps = WANDER_STEPS * (wander / LEAST_WANDER).log10();
        1 + (steps - 1e-6).ceil().clamp(0.0, 14.0) as u8
    })
}

fn wander(code: u8) -> Option<f64> {
    let steps = f64::from(code.checked_sub(1)?);
    Some(LEAST_WANDER * 10f64.powf(steps / WANDER_STEPS))
}

fn source_code(stamp: Option<PacketStamp>) -> u8 {
    match stamp.map(|s| s.source) {
        None | Some(StampSource::User) => 0,
        Some(StampSource::Xdp) => 1,
        Some(StampSource::Kernel) => 2,
        Some(StampSource::Hardware) => 3,
    }
}

const fn state_code(state: ClockState) -> u8 {
    match state {
        ClockState::Unsynchronized => 0,
        ClockState::Joining => 1,
        ClockState::Synchronized => 2,
        ClockState::Holdover => 3,
        ClockState::FreeRunning => 4,
    }
}

const fn state(code: u8) -> Result<ClockState, MessageError> {
    Ok(match code {
        0 => ClockState::Unsynchronized,
        1 => ClockState::Joining,
        2 => ClockState::Synchronized,
        3 => ClockState::Holdover,
        4 => ClockState::FreeRunning,
        _ => return Err(MessageError::State(code)),
    })
}

// NaN becomes zero in the cast.
fn rate_code(rate: Rate) -> i64 {
    (rate.as_fraction().clamp(-MAX_RATE, MAX_RATE) / RATE_UNIT).round() as i64
}

fn rate(code: i64) -> Result<Rate, MessageError> {
    let fraction = code as f64 * RATE_UNIT;
    if fraction.abs() <= MAX_RATE {
        Ok(Rate::from_fraction(fraction))
    } else {
        Err(MessageError::Rate)
    }
}

#[cfg(test)]
mod tests;
