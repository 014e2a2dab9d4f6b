//! The virtual clock to the steering of a real one.
