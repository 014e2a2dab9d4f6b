//! The sans-io protocol machine.
