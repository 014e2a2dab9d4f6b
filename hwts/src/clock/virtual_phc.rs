//! Virtual clocks that stand on a hardware clock (`Documentation/ABI/testing/sysfs-ptp`).
//!
//! As long as there are any, the hardware clock runs free and refuses to be steered. Its stamps, and
//! readings of it, are as good as before.

use std::fs;

/// How many virtual clocks stand on `/dev/ptp` number `phc`; none if the kernel does not say.
pub fn virtual_clocks(phc: u32) -> Option<u32> {
    let count = fs::read_to_string(format!("/sys/class/ptp/ptp{phc}/n_vclocks")).ok()?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_clock_that_is_not_there_has_none() {
        assert_eq!(super::virtual_clocks(4_000_000), None);
    }
}
