//! x

#[cfg(feature = "alloc-counter")]
pub mod alloc;
