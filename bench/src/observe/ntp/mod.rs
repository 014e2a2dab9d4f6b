//! A small NTP client: asks, checks the answer, says how far the server's clock is from ours.

mod client;
pub mod packet;
mod source;

pub use client::{Answer, Client, NtpError};
pub use source::NtpSource;
