//! The control protocol: one JSON object a line, each way.
//!
//! ```text
//! → {"version":1,"request":"tracking"}
//! ← {"version":1,"reply":"tracking","taken_ns":[a,b],"tracking":{…}}
//! ← {"version":1,"error":{"code":"unknown-request","message":"…"}}
//! ```
//!
//! Unknown fields are ignored both ways, so fields can be added without a new version.

use serde::{Deserialize, Serialize};

use super::status::{ClockReading, Peer, Status, Tracking};

/// The version spoken here.
pub const VERSION: u32 = 1;

/// The longest request line, in bytes, its newline included.
pub const MAX_REQUEST: usize = 1024;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The node's clock.
    Tracking,
    /// Its neighbours.
    Peers,
    /// Both, taken at the same time.
    Status,
    /// What the node's clocks show when `CLOCK_MONOTONIC_RAW` reads so many nanoseconds, a little
    /// before or after now: lets somebody compare the nodes of one host at one instant.
    ClockAt(i64),
}

impl Request {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tracking => "tracking",
            Self::Peers => "peers",
            Self::Status => "status",
            Self::ClockAt(_) => "clock-at",
        }
    }

    /// The request as a line, with its newline.
    pub fn to_line(self) -> String {
        let word = self.word();
        let instant = match self {
            Self::ClockAt(mono_raw) => format!(",\"mono_raw_ns\":{mono_raw}"),
            Self::Tracking | Self::Peers | Self::Status => String::new(),
        };
        format!("{{\"version\":{VERSION},\"request\":\"{word}\"{instant}}}\n")
    }

    /// Reads one line, with or without its newline. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// Why it is no request.
    pub fn parse(line: &[u8]) -> Result<Self, RequestError> {
        /// The fields of a request that matter.
        #[derive(Deserialize)]
        struct Wire<'a> {
            version: u32,
            #[serde(borrow)]
            request: std::borrow::Cow<'a, str>,
            mono_raw_ns: Option<i64>,
        }
        if line.len() > MAX_REQUEST {
            return Err(RequestError::TooLong);
        }
        let wire: Wire<'_> = serde_json::from_slice(line).map_err(|_| RequestError::Malformed)?;
        if wire.version != VERSION {
            return Err(RequestError::Version);
        }
        match wire.request.as_ref() {
            "tracking" => Ok(Self::Tracking),
            "peers" => Ok(Self::Peers),
            "status" => Ok(Self::Status),
            "clock-at" => wire
                .mono_raw_ns
                .map(Self::ClockAt)
                .ok_or(RequestError::Malformed),
            _ => Err(RequestError::Unknown),
        }
    }
}

/// Why a line is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`MAX_REQUEST`]; the connection is closed after this.
    #[error("a request line has at most {MAX_REQUEST} bytes")]
    TooLong,
    /// No JSON object with the fields of a request.
    #[error("expected a line such as {{\"version\":{VERSION},\"request\":\"tracking\"}}")]
    Malformed,
    /// Another version.
    #[error("this daemon speaks version {VERSION}")]
    Version,
    /// No such request.
    #[error("no such request; there are tracking, peers, status and clock-at")]
    Unknown,
    /// The daemon could not answer.
    #[error("the daemon could not write its answer")]
    Internal,
}

impl RequestError {
    /// The word on the wire, for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Unknown => "unknown-request",
            Self::Internal => "internal",
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// [`VERSION`].
    pub version: u32,
    /// Which request is answered; absent in errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Two readings of this host's `CLOCK_MONOTONIC_RAW`, in nanoseconds: the answer was taken
    /// between them. Whoever reads the same clock can carry the virtual time on to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_ns: Option<[i64; 2]>,
    /// The node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Tracking>,
    /// Its neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<Peer>>,
    /// What the node's clocks show at the instant asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_at: Option<ClockReading>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReply>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// For programs: `malformed`, `too-long`, `version`, `unknown-request` or `internal`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Reply {
    /// The answer to `request` out of `status`, which was taken between the two readings of
    /// `CLOCK_MONOTONIC_RAW`.
    pub fn answer(request: Request, status: Status, taken_ns: [i64; 2]) -> Self {
        let Status { tracking, peers } = status;
        Self {
            version: VERSION,
            reply: Some(request.word().to_owned()),
            taken_ns: Some(taken_ns),
            tracking: (request != Request::Peers).then_some(tracking),
            peers: (request != Request::Tracking).then_some(peers),
            clock_at: None,
            error: None,
        }
    }

    /// The answer to [`Request::ClockAt`].
    pub fn reading(request: Request, reading: ClockReading) -> Self {
        Self {
            version: VERSION,
            reply: Some(request.word().to_owned()),
            taken_ns: None,
            tracking: None,
            peers: None,
            clock_at: Some(reading),
            error: None,
        }
    }

    /// A refusal.
    pub fn refusal(error: RequestError) -> Self {
        Self {
            version: VERSION,
            reply: None,
            taken_ns: None,
            tracking: None,
            peers: None,
            clock_at: None,
            error: Some(ErrorReply {
                code: error.code().to_owned(),
                message: error.to_string(),
            }),
        }
    }

    /// Appends the reply to `out` as a line.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if serde_json::to_writer(&mut *out, self).is_err() {
            out.truncate(start);
            let code = RequestError::Internal.code();
            let message = RequestError::Internal;
            out.extend_from_slice(
                format!(
                    "{{\"version\":{VERSION},\"error\":{{\"code\":\"{code}\",\"message\":\"{message}\"}}}}"
                )
                .as_bytes(),
            );
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_round_trip() {
        for request in [
            Request::Tracking,
            Request::Peers,
            Request::Status,
            Request::ClockAt(-7),
        ] {
            assert_eq!(Request::parse(request.to_line().as_bytes()), Ok(request));
        }
    }

    #[test]
    fn new_fields_are_ignored_and_escapes_understood() {
        let line = br#"{"request":"tr\u0061cking","version":1,"later":{"a":[1]}}"#;
        assert_eq!(Request::parse(line), Ok(Request::Tracking));
    }

    #[test]
    fn answers_of_earlier_releases_are_understood() {
        let old = r#"{"version":1,"reply":"clock-at","clock_at":{"mono_raw_ns":1,"virtual_ns":2,
            "clock_ns":null,"bound_ns":7}}"#;
        let reply: Reply = serde_json::from_str(old).unwrap();
        assert_eq!(reply.clock_at.unwrap().statistical_ns, None);
        let mut tracking =
            serde_json::to_value(super::super::tests::status(0, 0).tracking).unwrap();
        let fields = tracking.as_object_mut().unwrap();
        for new in ["statistical_ns", "sampled", "liar_risk", "assumed_liars"] {
            assert!(fields.remove(new).is_some(), "{new}");
        }
        let tracking: Tracking = serde_json::from_value(tracking).unwrap();
        assert_eq!((tracking.sampled, tracking.liar_risk), (0, None));
    }

    #[test]
    fn refusals_name_the_reason() {
        let parse = |text: &str| Request::parse(text.as_bytes());
        assert_eq!(parse(""), Err(RequestError::Malformed));
        assert_eq!(parse("tracking"), Err(RequestError::Malformed));
        assert_eq!(
            parse(r#"{"request":"peers"}"#),
            Err(RequestError::Malformed)
        );
        assert_eq!(
            parse(r#"{"version":-1,"request":"peers"}"#),
            Err(RequestError::Malformed)
        );
        assert_eq!(
            parse(r#"{"version":2,"request":"peers"}"#),
            Err(RequestError::Version)
        );
        assert_eq!(
            parse(r#"{"version":1,"request":"stop"}"#),
            Err(RequestError::Unknown)
        );
        assert_eq!(
            parse(&" ".repeat(MAX_REQUEST + 1)),
            Err(RequestError::TooLong)
        );
        assert_eq!(
            parse(&"[".repeat(MAX_REQUEST)),
            Err(RequestError::Malformed)
        );
    }

    #[test]
    fn refusals_are_json_lines() {
        let mut line = Vec::new();
        Reply::refusal(RequestError::Malformed).write_line(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(!line.contains(&b'\n'));
        let reply: Reply = serde_json::from_slice(&line).unwrap();
        assert_eq!(reply.error.unwrap().code, "malformed");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Request::parse(&bytes);
        }
    }
}
