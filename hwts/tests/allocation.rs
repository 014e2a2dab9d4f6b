//! The steady state allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use hwts::clock::{Clock, Oscillator, OscillatorSpec, RawClock, StampConverter, VirtualClock};
use hwts::sync::Newest;
use hwts::transport::{TxEvent, UdpConfig, UdpTransport};
use hwts::{Domain, Stamp};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // While a thread ends its counter may be gone already.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes to the system allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is that of the system allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn exchanging_and_converting_allocates_nothing() {
    let config = UdpConfig::new("127.0.0.1:0".parse().unwrap());
    let (mut a, mut b) = (
        UdpTransport::open(&config).unwrap(),
        UdpTransport::open(&config).unwrap(),
    );
    let mut converter = StampConverter::new(Domain::Realtime);
    let oscillator = Oscillator::new(OscillatorSpec {
        start: Domain::MonotonicRaw.now(),
        offset: 1,
        ppm: 20.0,
        walk: 1e-9,
        seed: 1,
    });
    let mut clock = VirtualClock::new(RawClock::from(oscillator.clone()), 0);
    let reader = clock.reader();
    let queue: Newest<Stamp> = Newest::new(16);
    let mut stamps = 0;

    let before = ALLOCATIONS.get();
    for round in 0..300 {
        a.send(b.local_addr(), &[0; 100]).unwrap();
        a.poll_tx(|event| {
            if let TxEvent::Stamped { stamp, .. } = event {
                queue.push(stamp);
            }
        })
        .unwrap();
        b.wait(Some(Duration::from_millis(5)), None).unwrap();
        b.receive(8, |datagram| queue.push(datagram.stamp)).unwrap();
        converter.refresh();
        while let Some(stamp) = queue.pop() {
            if let Ok(converted) = converter.convert(stamp) {
                assert!(reader.at(oscillator.at(converted.raw)) < i64::MAX);
                stamps += 1;
            }
        }
        clock.set_rate(f64::from(round) * 1e-9).unwrap();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(stamps >= 500, "{stamps}");
}
