//! Where an identity sits in the key space, and what it costs to sit somewhere.
//!
//! A node's key is the result of a puzzle on its public key: a number such that the first
//! [`DIFFICULTY`] bits of BLAKE2s-256(context ‖ network ‖ public key ‖ number) are zero. Eight
//! later bytes of that hash are the key. So one more identity costs 2^[`DIFFICULTY`] hashes, and
//! one that is to sit nearest to a given key in a network of n nodes n times that: whoever tries
//! places has to solve the puzzle for each. (I. Baumgart, S. Mies, *S/Kademlia*, ICPADS 2007, has
//! two puzzles for this.) Anybody checks it with one hash.

use blake2::{Blake2s256, Digest};

use super::Key;
use crate::topology::NodeId;

/// Zero bits that a solution needs: 2¹⁶ hashes, some 0.01 s of one core. None where bytes are
/// fuzzed: nobody would find a contact.
pub const DIFFICULTY: u32 = if cfg!(fuzzing) { 0 } else { 16 };

const CONTEXT: &[u8; 16] = b"parisync place1:";

/// The key of `id` in the network with this tag if `solution` solves its puzzle.
pub fn check(network: &[u8; 8], id: &NodeId, solution: u32) -> Option<Key> {
    let hash = digest(network, id, solution);
    let [a, b, c, d, ..] = hash;
    let zeros = u32::from_be_bytes([a, b, c, d]).leading_zeros();
    (zeros >= DIFFICULTY).then(|| {
        let mut key = [0; 8];
        key.copy_from_slice(&hash[8..16]);
        Key(u64::from_be_bytes(key))
    })
}

/// The first solution of the puzzle of `id`, with its key. The same each time, so a node that
/// starts again sits where it sat. `None` if there is none in 2³² tries (one in e^16384).
pub fn solve(network: &[u8; 8], id: &NodeId) -> Option<(u32, Key)> {
    (0..=u32::MAX).find_map(|solution| Some((solution, check(network, id, solution)?)))
}

fn digest(network: &[u8; 8], id: &NodeId, solution: u32) -> [u8; 32] {
    let mut hash = Blake2s256::new();
    hash.update(CONTEXT);
    hash.update(network);
    hash.update(id.as_bytes());
    hash.update(solution.to_le_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solution_is_good_for_one_identity_in_one_network() {
        let id = NodeId::from_bytes([3; 32]);
        let (solution, key) = solve(b"network1", &id).unwrap();
        assert_eq!(check(b"network1", &id, solution), Some(key));
        assert_eq!(check(b"network2", &id, solution), None);
        assert_eq!(
            check(b"network1", &NodeId::from_bytes([4; 32]), solution),
            None
        );
        assert_eq!(check(b"network1", &id, solution + 1), None);
    }
}
