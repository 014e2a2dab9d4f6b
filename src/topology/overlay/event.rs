//! What the owner of an overlay is told.

use super::{Contact, Outcome};

/// Something the owner of an [`Overlay`](super::Overlay) should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<A> {
    /// A lookup has ended.
    Done(Outcome<A>),
    /// This node has its place in the structure now.
    Joined,
    /// A contact does not answer any more.
    Gone(Contact<A>),
    /// A contact that was checked answered.
    There(Contact<A>),
}

/// Totals since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages handed out.
    pub sent: u64,
    /// Messages taken in.
    pub received: u64,
    /// Requests that nobody answered.
    pub unanswered: u64,
}
