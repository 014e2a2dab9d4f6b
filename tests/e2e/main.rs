//! End to end: real `parisync` processes in network namespaces of their own, judged by true error.
//!
//! Every process reads the same physical clock (`CLOCK_MONOTONIC_RAW`), so what each node's clock
//! shows at one instant can be compared exactly, whatever the nodes themselves believe. Each node
//! has a deliberately bad virtual oscillator; no clock of this machine is ever changed.
//!
//! Needs root and iproute2; without them each scenario says so and passes, unless
//! `PARISYNC_E2E=required` is set, as CI does. `PARISYNC_E2E_KEEP=1` keeps logs and configurations.

#![forbid(unsafe_code)]

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod support;
