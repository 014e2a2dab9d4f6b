//! Identities, sessions, packet authentication, replay, cookies.
//!
//! [`Identity`] is the node's key on disk. [`Sessions`] is a sans-io state machine: datagrams and
//! the time go in, authenticated messages, datagrams to send and events come out. What it
//! promises, and against whom, is in `docs/security.md`; the bytes are in `docs/protocol.md`.

mod cookie;
mod identity;
mod limiter;
mod limits;
mod noise;
mod replay;
mod sessions;

pub(crate) use cookie::Cookies;
pub use identity::{Identity, IdentityError};
pub use limiter::Allowance;
pub(crate) use limiter::{Budget, Limiter};
pub use limits::Limits;
pub use sessions::{
    FailReason, Incoming, PlainBuf, Refusal, SealError, SessionEvent, Sessions, Usage,
};
