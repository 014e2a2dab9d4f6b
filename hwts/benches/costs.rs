//! What the pieces on the way of a sample cost.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};

use hwts::clock::{
    Clock, CrossRead, Oscillator, OscillatorSpec, RawClock, StampConverter, SystemClock,
    VirtualClock,
};
use hwts::sync::{Newest, seqlock};
use hwts::transport::{StampRequest, UdpConfig, UdpTransport};
use hwts::{Domain, Source, Stamp};

fn clocks(c: &mut Criterion) {
    let mut g = c.benchmark_group("clock");
    for domain in [Domain::Realtime, Domain::MonotonicRaw] {
        g.bench_function(format!("read {domain}"), |b| b.iter(|| domain.now()));
    }
    g.bench_function("cross-read, best of 3", |b| {
        b.iter(|| CrossRead::take(Domain::MonotonicRaw, Domain::Realtime, 3));
    });
    let oscillator = Oscillator::new(OscillatorSpec {
        start: Domain::MonotonicRaw.now(),
        offset: 5,
        ppm: 50.0,
        walk: 1e-9,
        seed: 1,
    });
    let raw = RawClock::from(oscillator.clone());
    g.bench_function("read oscillator", |b| b.iter(|| raw.now()));
    let mono = Domain::MonotonicRaw.now();
    g.bench_function("oscillator at an instant", |b| {
        b.iter(|| oscillator.at(black_box(mono)));
    });
    let (mut next, step) = (mono, 1 << 27);
    g.bench_function("oscillator, one segment on", |b| {
        b.iter(|| {
            next += step;
            oscillator.at(next)
        });
    });
    let mut converter = StampConverter::new(Domain::Realtime);
    for _ in 0..16 {
        std::thread::sleep(std::time::Duration::from_millis(11));
        converter.refresh();
    }
    let nanos = Domain::Realtime.now();
    converter.refresh();
    let stamp = Stamp {
        nanos,
        domain: Domain::Realtime,
        source: Source::Kernel,
    };
    g.bench_function("convert a stamp", |b| {
        b.iter(|| converter.convert(black_box(stamp)));
    });
    let clock = VirtualClock::new(RawClock::Monotonic, 0);
    let reader = clock.reader();
    g.bench_function("read virtual clock", |b| b.iter(|| clock.now()));
    g.bench_function("read virtual clock from elsewhere", |b| {
        b.iter(|| reader.at(black_box(mono)));
    });
    let system = SystemClock::new();
    g.bench_function("read steering state (adjtimex)", |b| {
        b.iter(|| system.read_state());
    });
    g.finish();
}

fn hand_over(c: &mut Criterion) {
    let mut g = c.benchmark_group("hand-over");
    let queue = Newest::new(1024);
    g.bench_function("queue, push and pop 64 bytes", |b| {
        b.iter(|| {
            queue.push(black_box([1_u64; 8]));
            queue.pop()
        });
    });
    let full = Newest::new(1024);
    (0..1024).for_each(|_| full.push([1_u64; 8]));
    g.bench_function("queue, push into a full one", |b| {
        b.iter(|| full.push(black_box([1_u64; 8])));
    });
    let (mut writer, reader) = seqlock([0_u64; 8]);
    g.bench_function("seqlock, write 64 bytes", |b| {
        b.iter(|| writer.write(black_box([1; 8])));
    });
    g.bench_function("seqlock, read 64 bytes", |b| b.iter(|| reader.read()));
    g.finish();
}

fn transport(c: &mut Criterion) {
    let mut g = c.benchmark_group("transport");
    for stamps in [StampRequest::Kernel, StampRequest::User] {
        let config = UdpConfig {
            stamps,
            ..UdpConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)))
        };
        let Ok(mut t) = UdpTransport::open(&config) else {
            continue;
        };
        let to = t.local_addr();
        g.bench_function(format!("send, stamp, receive 200 bytes, {stamps:?}"), |b| {
            b.iter(|| {
                let sent = t.send(to, &[0; 200]);
                let events = t.poll_tx(|event| {
                    black_box(event);
                });
                let taken = t.receive(1, |datagram| {
                    black_box(datagram);
                });
                (sent, events, taken)
            });
        });
        g.bench_function(format!("nothing to do, {stamps:?}"), |b| {
            b.iter(|| {
                let events = t.poll_tx(|event| {
                    black_box(event);
                });
                let taken = t.receive(1, |datagram| {
                    black_box(datagram);
                });
                (events, taken)
            });
        });
    }
    g.finish();
}

criterion_group!(benches, clocks, hand_over, transport);
criterion_main!(benches);
