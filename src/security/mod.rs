//! Identities, sessions, packet authentication, replay, cookies.

mod identity;

pub use identity::{Identity, IdentityError};
