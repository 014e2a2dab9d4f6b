//! TAI and UTC.

use crate::time::Span;

/// TAI − UTC in seconds since 2017-01-01 (IERS Bulletin C 52).
///
/// A constant for now: no leap second has been announced since, and none may be needed before
/// they are given up (CGPM 2022, resolution 4). A leap table agreed on by hosts with UTC
/// references takes its place when such references exist. This is the only place that knows it; a leap
/// second that the kernel makes is counted from here.
pub const TAI_MINUS_UTC_SECONDS: i32 = 37;

/// The same as a span: the virtual clock (TAI-like) minus UTC.
pub const TAI_MINUS_UTC: Span = Span::from_secs(TAI_MINUS_UTC_SECONDS as i64);
