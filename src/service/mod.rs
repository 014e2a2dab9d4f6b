//! The daemon: wires the rooms together with threads, sockets and queues.

pub mod privileges;
pub mod state;
