//! The NTP packet (RFC 5905, section 7.3): 48 bytes ↔ fields, and what makes an answer believable.
//!
//! Pure functions of bytes: no socket, no clock, no panic whatever the bytes.

/// Bytes of a packet without extension fields.
pub const LENGTH: usize = 48;
/// The version spoken.
pub const VERSION: u8 = 4;
/// The mode of a question.
pub const CLIENT: u8 = 3;
/// The mode of an answer.
pub const SERVER: u8 = 4;

/// 1970-01-01 in seconds since 1900-01-01 (RFC 5905, figure 4).
const UNIX_EPOCH: u64 = 2_208_988_800;
/// The largest root distance a server may have (`MAXDISP`, RFC 5905, A.1.1), ns.
const MAX_DISTANCE: i64 = 16_000_000_000;

/// A timestamp: seconds since 1900 (mod 2³²) in the upper half, 2⁻³² s in the lower. 0 means
/// unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Of nanoseconds since 1970 UTC.
    pub fn from_unix(nanos: i64) -> Self {
        let since_1900 = i128::from(nanos) + i128::from(UNIX_EPOCH) * 1_000_000_000;
        let fixed = (since_1900 << 32).div_euclid(1_000_000_000);
        // Which of the eras of 136 years is left out by the format.
        Self(fixed as u64)
    }

    /// As nanoseconds since 1970 UTC, in the era that is nearest to `pivot` (of the same kind).
    /// Rounded to the nearest nanosecond.
    pub fn to_unix(self, pivot: i64) -> i64 {
        let away = self.0.wrapping_sub(Self::from_unix(pivot).0).cast_signed();
        pivot.saturating_add(fixed_to_nanos(away))
    }

    /// Time from `earlier` to this, ns; right across the turn of an era.
    pub fn since(self, earlier: Self) -> i64 {
        fixed_to_nanos(self.0.wrapping_sub(earlier.0).cast_signed())
    }
}

/// Units of 2⁻³² s as nanoseconds, rounded.
fn fixed_to_nanos(fixed: i64) -> i64 {
    ((i128::from(fixed) * 1_000_000_000 + (1 << 31)) >> 32) as i64
}

/// The short format: 16 bits of seconds, 16 of fraction, as nanoseconds.
fn short_to_nanos(short: u32) -> i64 {
    (i64::from(short) * 1_000_000_000) >> 16
}

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packet {
    /// 0 none, 1 and 2 a leap second comes, 3 the clock is not synchronized.
    pub leap: u8,
    /// 1 to 4.
    pub version: u8,
    /// What kind of packet it is.
    pub mode: u8,
    /// Hops to the reference clock; 0 marks a kiss-o'-death.
    pub stratum: u8,
    /// Binary logarithm of the polling interval in seconds.
    pub poll: i8,
    /// Binary logarithm of the clock's resolution in seconds.
    pub precision: i8,
    /// Round trip to the reference clock, short format.
    pub root_delay: u32,
    /// Error against the reference clock, short format.
    pub root_dispersion: u32,
    /// The server's own source, or the kiss code.
    pub reference_id: [u8; 4],
    /// When the server's clock was last set.
    pub reference: NtpTime,
    /// The transmit timestamp of the packet that this answers.
    pub origin: NtpTime,
    /// When that arrived.
    pub receive: NtpTime,
    /// When this left.
    pub transmit: NtpTime,
}

/// Why a datagram is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// A packet has 48 bytes at least.
    #[error("{0} bytes are too short for NTP")]
    TooShort(usize),
    /// Extension fields and authenticators come in words of four bytes (RFC 7822).
    #[error("{0} bytes are no whole number of words")]
    NotWords(usize),
}

/// Why an answer is not to be used (RFC 5905, sections 7.4, 8 and A.5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// No answer of a server.
    #[error("mode {0} is not an answer of a server")]
    Mode(u8),
    /// A version that was not asked for.
    #[error("it answers with version {0}")]
    Version(u8),
    /// Does not answer our question: forged, late or twice.
    #[error("it does not answer our question (wrong origin)")]
    Origin,
    /// The server refuses.
    #[error("it refuses with the kiss code {}", kiss(*.0))]
    Kiss([u8; 4]),
    /// The server has no time to give.
    #[error("its clock is not synchronized (leap {leap}, stratum {stratum})")]
    Unsynchronized {
        /// Its leap indicator.
        leap: u8,
        /// Its stratum.
        stratum: u8,
    },
    /// A timestamp is missing, or they are in an impossible order.
    #[error("its timestamps are missing or in an impossible order")]
    Timestamps,
    /// It is too far from its own reference.
    #[error("its root distance is {} s", *.0 / 1_000_000_000)]
    Distance(i64),
}

/// A kiss code as text; what is not printable shows as a dot.
fn kiss(code: [u8; 4]) -> String {
    let shown = code.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    });
    shown.collect()
}

impl Packet {
    /// A question that tells nothing of this host: all it holds is a number to know the answer by
    /// (draft-ietf-ntp-data-minimization).
    pub fn question(cookie: u64) -> Self {
        Self {
            version: VERSION,
            mode: CLIENT,
            transmit: NtpTime(cookie),
            ..Self::default()
        }
    }

    /// Reads a datagram; what follows the first 48 bytes is not looked at.
    ///
    /// # Errors
    /// See [`PacketError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PacketError> {
        let (head, rest) = bytes
            .split_first_chunk::<LENGTH>()
            .ok_or(PacketError::TooShort(bytes.len()))?;
        if rest.len() % 4 != 0 {
            return Err(PacketError::NotWords(bytes.len()));
        }
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let time = |at: usize| NtpTime(u64::from(word(at)) << 32 | u64::from(word(at + 4)));
        Ok(Self {
            leap: head[0] >> 6,
            version: head[0] >> 3 & 7,
            mode: head[0] & 7,
            stratum: head[1],
            poll: head[2].cast_signed(),
            precision: head[3].cast_signed(),
            root_delay: word(4),
            root_dispersion: word(8),
            reference_id: word(12).to_be_bytes(),
            reference: time(16),
            origin: time(24),
            receive: time(32),
            transmit: time(40),
        })
    }

    /// As bytes.
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        out[0] = self.leap << 6 | (self.version & 7) << 3 | self.mode & 7;
        out[1] = self.stratum;
        out[2] = self.poll.cast_unsigned();
        out[3] = self.precision.cast_unsigned();
        out[4..8].copy_from_slice(&self.root_delay.to_be_bytes());
        out[8..12].copy_from_slice(&self.root_dispersion.to_be_bytes());
        out[12..16].copy_from_slice(&self.reference_id);
        let times = [self.reference, self.origin, self.receive, self.transmit];
        for (k, time) in times.iter().enumerate() {
            out[16 + 8 * k..24 + 8 * k].copy_from_slice(&time.0.to_be_bytes());
        }
        out
    }

    /// Whether this is a usable answer to the question with this number.
    ///
    /// The number is looked at before anything else the packet says: a forged kiss-o'-death would
    /// otherwise silence us (RFC 8633, section 5.4).
    ///
    /// # Errors
    /// See [`Disbelief`].
    pub fn believe(&self, cookie: u64) -> Result<(), Disbelief> {
        if self.mode != SERVER {
            return Err(Disbelief::Mode(self.mode));
        }
        if self.origin != NtpTime(cookie) || cookie == 0 {
            return Err(Disbelief::Origin);
        }
        if self.version != VERSION {
            return Err(Disbelief::Version(self.version));
        }
        let (leap, stratum) = (self.leap, self.stratum);
        if stratum == 0 {
            return Err(Disbelief::Kiss(self.reference_id));
        }
        if leap == 3 || stratum > 15 {
            return Err(Disbelief::Unsynchronized { leap, stratum });
        }
        let known = self.receive != NtpTime(0) && self.transmit != NtpTime(0);
        if !known || self.transmit.since(self.receive) < 0 {
            return Err(Disbelief::Timestamps);
        }
        if self.reference != NtpTime(0) && self.transmit.since(self.reference) < 0 {
            return Err(Disbelief::Timestamps);
        }
        if self.root_distance() >= MAX_DISTANCE {
            return Err(Disbelief::Distance(self.root_distance()));
        }
        Ok(())
    }

    /// How far the server may be from its reference clock, ns: half its root delay and its root
    /// dispersion.
    pub fn root_distance(&self) -> i64 {
        short_to_nanos(self.root_delay) / 2 + short_to_nanos(self.root_dispersion)
    }

    /// The resolution of the server's clock, ns; rounded up.
    pub fn resolution(&self) -> i64 {
        (f64::from(self.precision).exp2() * 1e9).ceil().min(1e18) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer of a stratum 2 server, put together by hand after RFC 5905, figure 8.
    const ANSWER: [u8; LENGTH] = [
        0x24, 0x02, 0x06,
        0xec, // leap 0, version 4, mode 4; stratum 2; poll 6; precision −20
        0x00, 0x00, 0x08, 0x00, // root delay 2048/65536 s = 31.25 ms
        0x00, 0x00, 0x01, 0x00, // root dispersion 256/65536 s = 3.90625 ms
        0xc0, 0x00, 0x02, 0x07, // 192.0.2.7
        0xe9, 0xdb, 0xb0, 0x00, 0x00, 0x00, 0x00, 0x00, // reference
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, // origin
        0xe9, 0xdb, 0xb0, 0x10, 0x80, 0x00, 0x00, 0x00, // receive: 16.5 s later
        0xe9, 0xdb, 0xb0, 0x10, 0xc0, 0x00, 0x00, 0x00, // transmit: a quarter second later
    ];
    const COOKIE: u64 = 0x0123_4567_89ab_cdef;

    fn answer() -> Packet {
        Packet::parse(&ANSWER).unwrap()
    }

    #[test]
    fn an_answer_is_read_field_by_field() {
        let packet = answer();
        assert_eq!(
            (packet.leap, packet.version, packet.mode, packet.stratum),
            (0, 4, SERVER, 2)
        );
        assert_eq!((packet.poll, packet.precision), (6, -20));
        assert_eq!(packet.resolution(), 954);
        assert_eq!(packet.root_distance(), 15_625_000 + 3_906_250);
        assert_eq!(packet.transmit.since(packet.receive), 250_000_000);
        assert_eq!(packet.receive.since(packet.reference), 16_500_000_000);
        assert_eq!(packet.to_bytes(), ANSWER);
        assert_eq!(packet.believe(COOKIE), Ok(()));
    }

    #[test]
    fn times_are_those_of_the_rfc() {
        // RFC 5905, figure 4: 1970-01-01 is 2,208,988,800; 2000-01-01 is 3,155,673,600.
        assert_eq!(NtpTime::from_unix(0).0, 2_208_988_800 << 32);
        let millennium = NtpTime(3_155_673_600 << 32);
        assert_eq!(millennium.to_unix(0), 946_684_800_000_000_000);
        // Era 1 begins on 2036-02-07 at 06:28:16 with 0.
        let turn = 2_085_978_496_000_000_000;
        assert_eq!(NtpTime::from_unix(turn), NtpTime(0));
        assert_eq!(NtpTime(1 << 31).to_unix(turn), turn + 500_000_000);
        assert_eq!(NtpTime(u64::MAX).since(NtpTime(1 << 32)), -1_000_000_000);
    }

    #[test]
    fn times_come_back_to_the_nanosecond() {
        for nanos in [0, 1, 999_999_999, 1_700_000_000_123_456_789, -5_000_000_001] {
            assert_eq!(
                NtpTime::from_unix(nanos).to_unix(nanos + 7_000_000_000),
                nanos
            );
        }
    }

    #[test]
    fn each_reason_for_disbelief() {
        let is = |change: fn(&mut Packet), reason| {
            let mut packet = answer();
            change(&mut packet);
            assert_eq!(packet.believe(COOKIE), Err(reason));
        };
        is(|p| p.mode = 5, Disbelief::Mode(5));
        is(|p| p.version = 3, Disbelief::Version(3));
        is(|p| p.origin.0 += 1, Disbelief::Origin);
        is(
            |p| (p.stratum, p.reference_id) = (0, *b"RATE"),
            Disbelief::Kiss(*b"RATE"),
        );
        // A kiss by somebody who does not know our question is not believed.
        is(
            |p| (p.stratum, p.origin) = (0, NtpTime(1)),
            Disbelief::Origin,
        );
        let unsynchronized = |leap, stratum| Disbelief::Unsynchronized { leap, stratum };
        is(|p| p.leap = 3, unsynchronized(3, 2));
        is(|p| p.stratum = 16, unsynchronized(0, 16));
        is(|p| p.transmit = NtpTime(0), Disbelief::Timestamps);
        is(|p| p.receive = NtpTime(0), Disbelief::Timestamps);
        is(|p| p.receive.0 += 1 << 32, Disbelief::Timestamps);
        is(|p| p.reference.0 += 100 << 32, Disbelief::Timestamps);
        is(
            |p| p.root_dispersion = 16 << 16,
            Disbelief::Distance(16_015_625_000),
        );
        assert_eq!(answer().believe(0), Err(Disbelief::Origin));
        let text = Disbelief::Kiss([b'D', b'E', 0, 0xff]).to_string();
        assert!(text.ends_with("kiss code DE.."), "{text}");
    }

    #[test]
    fn too_few_bytes_or_odd_ones_are_no_packet() {
        assert_eq!(Packet::parse(&ANSWER[..47]), Err(PacketError::TooShort(47)));
        let mut long = ANSWER.to_vec();
        long.extend([0; 20]);
        assert_eq!(Packet::parse(&long), Ok(answer()));
        long.push(0);
        assert_eq!(Packet::parse(&long), Err(PacketError::NotWords(69)));
    }

    #[test]
    fn a_question_tells_nothing_but_its_number() {
        let bytes = Packet::question(COOKIE).to_bytes();
        assert_eq!(bytes[0], 0x23);
        assert_eq!(bytes[40..], COOKIE.to_be_bytes());
        assert!(bytes[1..40].iter().all(|byte| *byte == 0));
    }

    proptest! {
        #[test]
        fn any_48_bytes_are_a_packet_that_writes_the_same_bytes(bytes: [u8; 32], more: [u8; 16]) {
            let all = [bytes.as_slice(), more.as_slice()].concat();
            let packet = Packet::parse(&all).unwrap();
            prop_assert_eq!(packet.to_bytes().to_vec(), all);
            prop_assert!(packet.resolution() > 0);
            // Whatever it says, it is believed or not.
            let _ = packet.believe(packet.origin.0);
        }

        #[test]
        fn any_time_is_within_half_an_era_of_the_pivot(fixed: u64, pivot in 0..i64::MAX / 2) {
            let away = NtpTime(fixed).to_unix(pivot) - pivot;
            prop_assert!(away.abs() <= 1 << 31_u32 << 30_u32, "{away}");
            let back = NtpTime::from_unix(pivot + away).since(NtpTime(fixed));
            prop_assert!(back.abs() <= 1, "{back}");
        }
    }
}
