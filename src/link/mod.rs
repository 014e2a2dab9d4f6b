//! One neighbour: samples to offset, rate and a guaranteed interval.
