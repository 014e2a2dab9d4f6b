mod adversity;
mod handshakes;
mod harness;
mod lifetime;
