//! The counting allocator counts what a thread allocates, and nothing else.

use std::hint::black_box;

use hwts::alloc::{Counting, Counts, this_thread};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn counts_each_way_of_allocating_on_this_thread_only() {
    let start = this_thread();
    let mut bytes = black_box(Vec::<u8>::with_capacity(100));
    assert_eq!(
        this_thread() - start,
        Counts {
            allocations: 1,
            bytes: 100
        }
    );
    bytes.reserve_exact(300);
    assert_eq!(
        this_thread() - start,
        Counts {
            allocations: 2,
            bytes: 400
        }
    );
    let zeroed = black_box(vec![0_u64; 8]);
    assert_eq!(
        this_thread() - start,
        Counts {
            allocations: 3,
            bytes: 464
        }
    );

    let before = this_thread();
    drop((bytes, zeroed));
    black_box([0_u8; 64]);
    assert_eq!(
        this_thread() - before,
        Counts::default(),
        "freeing and the stack cost nothing"
    );

    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::spawn(move || {
        receiver.recv().ok();
        let before = this_thread();
        black_box(Box::new([0_u8; 1000]));
        this_thread() - before
    });
    let before = this_thread();
    sender.send(()).unwrap();
    let other = thread.join().unwrap();
    assert_eq!(
        other,
        Counts {
            allocations: 1,
            bytes: 1000
        }
    );
    assert!(
        (this_thread() - before).bytes < 1000,
        "another thread's allocations are its own"
    );
}
