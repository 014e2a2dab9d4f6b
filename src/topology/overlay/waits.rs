//! How long things take.

use crate::time::Span;

/// Waits of an [`Overlay`](super::Overlay).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// A request is repeated after this, and given up after as long again.
    pub patience: Span,
    /// Pause between steps of upkeep while nobody fails. Varies by a quarter.
    pub upkeep: Span,
    /// The same while contacts fail, or until the node has its place.
    pub hasty: Span,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            patience: Span::from_millis(800),
            upkeep: Span::from_secs(20),
            hasty: Span::from_secs(2),
        }
    }
}
