use super::super::doc::{agrees, fields};
use super::*;
use proptest::prelude::*;

#[test]
fn the_document_gives_this_layout() {
    let fields = fields!(Layout:
        seq, flags, state, tx_source, rx_source,
        tx.seq, tx.error, tx.at, rx.seq, rx.error, rx.at,
        line_raw, line_virtual, line_fraction, tier_level, tier_root,
        line_rate, line_slew, line_slew_until, bound,
        prior.seq, prior.error, prior.at, promise_rate, promise_slack, promise_hold,
        local, excess,
    );
    agrees("Message", &fields, MESSAGE_LEN);
}

#[test]
fn these_are_the_bytes() {
    let message = Message {
        seq: 0x0403_0201,
        wants_reply: true,
        state: ClockState::Synchronized,
        last_tx: Some(PacketStamp {
            seq: 0x10,
            at: RawTime::from_nanos(0x20),
            error: Span::from_nanos(0x30),
            source: StampSource::Kernel,
        }),
        last_rx: Some(PacketStamp {
            seq: 0x11,
            at: RawTime::from_nanos(-1),
            error: Span::MAX,
            source: StampSource::Hardware,
        }),
        prior_rx: Some(PacketStamp {
            seq: 0x12,
            at: RawTime::from_nanos(0x80),
            error: Span::from_nanos(0x90),
            source: StampSource::Hardware,
        }),
        line: VirtualLine::new(
            RawTime::from_nanos(0x40),
            VirtualTime::from_nanos(0x50),
            Rate::from_fraction(1.0 / 1024.0),
        )
        .with_fraction(0.5)
        .with_slew_until(
            Rate::from_fraction(-1.0 / 4096.0),
            RawTime::from_nanos(0x60),
        ),
        bound: Span::from_nanos(0x70),
        tier: Tier {
            level: 3,
            root: [10, 11, 12],
        },
        promise: Promise {
            slack: Span::from_nanos(1_024),
            rate: Rate::from_fraction(1.0 / f64::from(1 << 20)),
            hold: Span::from_secs(4),
            wander: wander(5),
        },
        local: Span::from_nanos(-2),
        excess: Excess::from_code(3),
    };
    #[rustfmt::skip]
    let bytes: [u8; MESSAGE_LEN] = [
        1, 2, 3, 4,                      // seq
        0x5f, 2, 2, 3,                   // wander and flags, state, sources
        0x10, 0, 0, 0, 0x30, 0, 0, 0,    // tx.seq, tx.error
        0x20, 0, 0, 0, 0, 0, 0, 0,       // tx.at
        0x11, 0, 0, 0, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255,
        0x40, 0, 0, 0, 0, 0, 0, 0,       // line_raw
        0x50, 0, 0, 0, 0, 0, 0, 0,       // line_virtual
        0, 0, 0, 0x80, 3, 0x0a, 0x0b, 0x0c, // line_fraction, tier_level, tier_root
        0, 0, 0, 0, 0, 0, 4, 0,          // line_rate: 2^50
        0, 0, 0, 0, 0, 0, 255, 255,      // line_slew: -2^48
        0x60, 0, 0, 0, 0, 0, 0, 0,       // line_slew_until
        0x70, 0, 0, 0, 0, 0, 0, 0,       // bound
        0x12, 0, 0, 0, 0x90, 0, 0, 0,    // prior.seq, prior.error
        0x80, 0, 0, 0, 0, 0, 0, 0,       // prior.at
        0, 0, 0x10, 0, 0, 1, 32, 0,      // promise_rate: 2^20, promise_slack, promise_hold
        254, 255, 255, 255, 3, 0,        // local, excess
    ];
    let mut out = [0; MESSAGE_LEN];
    encode(&message, &mut out);
    assert_eq!(out, bytes);
    assert_eq!(decode(&bytes), Ok(message));
}

fn packet_stamp() -> impl Strategy<Value = PacketStamp> {
    let sources = [
        StampSource::User,
        StampSource::Xdp,
        StampSource::Kernel,
        StampSource::Hardware,
    ];
    let error = prop_oneof![(0..i64::from(u32::MAX)), Just(i64::MAX)];
    (
        any::<u32>(),
        any::<i64>(),
        error,
        prop::sample::select(sources.to_vec()),
    )
        .prop_map(|(seq, at, error, source)| PacketStamp {
            seq,
            at: RawTime::from_nanos(at),
            error: Span::from_nanos(error),
            source,
        })
}

fn message() -> impl Strategy<Value = Message> {
    let states = [
        ClockState::Unsynchronized,
        ClockState::Joining,
        ClockState::Synchronized,
        ClockState::Holdover,
        ClockState::FreeRunning,
    ];
    let rate = || (-0.1_f64..=0.1).prop_map(Rate::from_fraction);
    let line = (
        any::<i64>(),
        any::<i64>(),
        any::<u32>(),
        rate(),
        rate(),
        0..i64::MAX,
    )
        .prop_map(|(raw, at, fraction, rate, slew, slewing)| {
            let raw = RawTime::from_nanos(raw);
            VirtualLine::new(raw, VirtualTime::from_nanos(at), rate)
                .with_fraction(f64::from(fraction) / 4_294_967_296.0)
                .with_slew_until(slew, raw + Span::from_nanos(slewing))
        });
    let stamp = || prop::option::of(packet_stamp());
    let bound = prop_oneof![0..i64::MAX, Just(i64::MAX)].prop_map(Span::from_nanos);
    (
        (
            any::<u32>(),
            any::<bool>(),
            prop::sample::select(states.to_vec()),
        ),
        stamp(),
        stamp(),
        line,
        bound,
        (any::<u8>(), any::<[u8; 3]>()),
        (
            packet_stamp(),
            any::<u32>(),
            (
                any::<u16>(),
                any::<u16>(),
                0..16u8,
                any::<i32>(),
                any::<i16>(),
            ),
        ),
    )
        .prop_map(
            |(
                (seq, wants_reply, state),
                last_tx,
                last_rx,
                line,
                bound,
                (level, root),
                (prior, rate, (slack, hold, code, local, more)),
            )| Message {
                seq,
                wants_reply,
                state,
                last_tx,
                last_rx,
                // It goes with the source of the last one.
                prior_rx: last_rx.map(|last: PacketStamp| PacketStamp {
                    source: last.source,
                    ..prior
                }),
                line,
                bound,
                tier: Tier { level, root },
                promise: Promise {
                    rate: Rate::from_fraction(f64::from(rate) / (1_u64 << 40) as f64),
                    slack: Span::from_nanos(4 * i64::from(slack)),
                    hold: Span::from_millis(125 * i64::from(hold)),
                    wander: wander(code),
                },
                local: Span::from_nanos(i64::from(local)),
                excess: Excess::from_code(more),
            },
        )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        message in message(),
        extension in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = [0; MESSAGE_LEN];
        encode(&message, &mut bytes);
        let decoded = decode(&[&bytes[..], &extension].concat()).unwrap();
        // Rates lose what is below 2^-61; nothing else does.
        let ulp = 1.0 / (1_u64 << 61) as f64;
        prop_assert!((decoded.line.rate() - message.line.rate()).abs().as_fraction() <= ulp);
        let (slews, slewed) = (decoded.line.slew(), message.line.slew());
        prop_assert!((slews.0 - slewed.0).abs().as_fraction() <= ulp);
        prop_assert_eq!(slews.1, slewed.1);
        prop_assert_eq!(decoded.line.origin(), message.line.origin());
        prop_assert_eq!(Message { line: message.line, ..decoded }, message);
        let mut again = [0; MESSAGE_LEN];
        encode(&decoded, &mut again);
        prop_assert_eq!(again, bytes);
        prop_assert_eq!(decode(&again), Ok(decoded));
    }

    #[test]
    fn whatever_is_decoded_is_sane(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        plausible: bool,
        raw: i64,
    ) {
        if plausible && bytes.len() >= MESSAGE_LEN {
            for (at, byte) in [(5, 4), (6, 3), (7, 3), (71, 0), (79, 0)] {
                bytes[at] &= byte;
            }
        }
        if let Ok(message) = decode(&bytes) {
            prop_assert!(message.line.rate().abs() <= Rate::from_fraction(MAX_RATE));
            prop_assert!(message.line.slew().0.abs() <= Rate::from_fraction(MAX_RATE));
            prop_assert!(message.bound >= Span::ZERO);
            let (_, fraction) = message.line.at_exact(RawTime::from_nanos(raw));
            prop_assert!((0.0..=1.0).contains(&fraction));
        }
    }
}

#[test]
fn absurd_messages_are_refused() {
    let line = VirtualLine::new(
        RawTime::from_nanos(1_000),
        VirtualTime::from_nanos(0),
        Rate::ZERO,
    );
    let message = Message {
        seq: 0,
        wants_reply: false,
        state: ClockState::Joining,
        last_tx: None,
        last_rx: None,
        prior_rx: None,
        line,
        bound: Span::MAX,
        tier: Tier::NONE,
        promise: Promise::NONE,
        local: Span::ZERO,
        excess: Excess::UNKNOWN,
    };
    let mut good = [0; MESSAGE_LEN];
    encode(&message, &mut good);
    assert_eq!(decode(&good), Ok(message));
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        decode(&bytes)
    };
    assert_eq!(with(5, 5), Err(MessageError::State(5)));
    assert_eq!(with(71, 2), Err(MessageError::Rate));
    assert_eq!(with(79, 0x80), Err(MessageError::Rate));
    assert_eq!(with(80, 0), Err(MessageError::Slew));
    let mut stamped = good;
    (stamped[4], stamped[7]) = (HAS_LAST_RX, 9);
    assert_eq!(decode(&stamped), Err(MessageError::Source(9)));
    assert_eq!(decode(&good[..95]), Err(MessageError::Short(95)));
    // A source without its stamp says nothing.
    assert_eq!(with(7, 9), Ok(message));
    assert_eq!(with(4, 0x80).map(|m| m.promise.wander), Ok(wander(8)));
    assert_eq!(with(4, HAS_PRIOR_RX), Ok(message));
}

#[test]
fn values_without_a_place_become_honest_ones() {
    let line = VirtualLine::new(
        RawTime::from_nanos(0),
        VirtualTime::from_nanos(0),
        Rate::from_fraction(f64::NAN),
    );
    let message = Message {
        seq: 0,
        wants_reply: false,
        state: ClockState::Joining,
        last_tx: Some(PacketStamp {
            seq: 0,
            at: RawTime::from_nanos(0),
            error: Span::from_secs(5),
            source: StampSource::User,
        }),
        last_rx: None,
        prior_rx: None,
        line,
        bound: Span::from_nanos(-1),
        tier: Tier::NONE,
        promise: Promise::NONE,
        local: Span::ZERO,
        excess: Excess::UNKNOWN,
    };
    let mut bytes = [0; MESSAGE_LEN];
    encode(&message, &mut bytes);
    let decoded = decode(&bytes).unwrap();
    assert_eq!(decoded.bound, Span::MAX);
    assert_eq!(decoded.last_tx.unwrap().error, Span::MAX);
    assert_eq!(decoded.line.rate(), Rate::ZERO);
}
