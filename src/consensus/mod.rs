//! Many neighbours to one correction of the virtual clock.
